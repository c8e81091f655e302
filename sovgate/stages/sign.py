"""Signs a model that was read: an OMS bundle that model_signing verifies too. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovgate.formats.oms import Oms
from sovgate.stages.inventory import Inventory, refuse_git
from sovgate.stages.seal import seal

if TYPE_CHECKING:
    from sovgate.keys._api import Signer


def sign(taken: Inventory, signer: Signer) -> bytes:
    """The bundle's bytes, sizes in each resource.

    Raises VerificationFailed "git-name", "limits"; KeyServiceError.
    """
    refuse_git(resource.name for resource in taken.manifest.resources)
    oms = Oms.of(taken.manifest, subject_name=taken.name, ignored=taken.ignored)
    return seal(oms.statement(), signer)
