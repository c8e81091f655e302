"""The encrypted copy that a push sends: given, kept from an earlier run, or made anew.

Encryption to a public key authenticates nobody: only a copy that the source's own key signed is
sent (RULES 31). Reads and writes the outbox, and reads the model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.config import OWN_ROLES
from sovgate.errors import InternalError, VerificationFailed
from sovgate.files import read_bounded
from sovgate.pipeline.move.outbox import Kept, Outbox
from sovgate.records import Advance
from sovgate.strict import MAX_BYTES

if TYPE_CHECKING:
    from sovgate.formats.sealed import Sealed
    from sovgate.formats.spki import PublicKey
    from sovgate.pipeline.decide.contents import Seen
    from sovgate.pipeline.move.outgoing import Outgoing
    from sovgate.stages.encrypt import ZoneKey
    from sovgate.stages.trust import Trusted


@dataclass(frozen=True, kw_only=True)
class Copy:
    """`folder` holds its blobs; `unused` says why what an earlier run left was not used."""

    sealed: Sealed
    folder: Path
    reused: bool = False
    unused: str | None = None


def makers(trusted: Sequence[Trusted], zone: str) -> tuple[PublicKey, ...]:
    """Whose copies `zone` sends: its own key's, and those of who may say `transfer` from it."""
    return tuple(
        entry.key
        for entry in trusted
        if entry.certificate is None
        and entry.zone == zone
        and ("transfer" in entry.may or entry.may == OWN_ROLES)
    )


def encrypted_copy(
    outgoing: Outgoing,
    outbox: Outbox,
    key: ZoneKey,
    keys: Sequence[PublicKey],
    seen: Seen | None,
    advance: Advance | None,
) -> Copy:
    """`keys` are those whose copies are used; `seen` the model's files as they were looked at.

    Raises VerificationFailed (the model is not what was signed), KeyServiceError, DiskError.
    """
    from sovgate.stages.encrypt import seal_model

    if outgoing.sealed is not None and outgoing.folder is not None:
        return Copy(sealed=outgoing.sealed, folder=outgoing.folder)
    if outgoing.root is None or seen is None:
        raise InternalError("a push has neither a model nor an encrypted copy")
    kept = outbox.kept(outgoing.manifest.digest, key.recipient.key_id, keys)
    if kept.sealed is not None and kept.sealed.signature != outgoing.signature_sized:
        kept = Kept(why="the model was signed again since it was made")
    if kept.sealed is not None:
        seen.require_signed(advance)
        return Copy(sealed=kept.sealed, folder=outbox.folder, reused=True)
    outbox.remove()
    made = seal_model(
        outgoing.manifest,
        outgoing.root,
        outgoing.signature,
        [key],
        outbox.release,
        outbox.path,
        advance=advance,
    )
    seen.require_unchanged()
    return Copy(sealed=made[key.zone], folder=outbox.folder, unused=kept.why)


def require_maker(sealed: Sealed, folder: Path, home: str, trusted: Sequence[Trusted]) -> None:
    """What `encrypt` made is sent from `home` only if that zone's key signed it.

    Raises VerificationFailed, reasons "unsigned-copy", "wrong-maker".
    """
    from sovgate.stages.encrypt import SIGNATURE_NAME, check_maker

    fix = (
        f"push the model itself; or encrypt it again: sovgate encrypt MODEL --zone {home} "
        f"--to {sealed.zone} --release {sealed.release} -o DIR"
    )
    path = folder / SIGNATURE_NAME
    if not os.path.lexists(path):
        raise VerificationFailed(
            f"nobody signed the encrypted copy in {str(folder)!r}",
            why=f"anybody who has the public key of zone {sealed.zone} can have made it",
            fix=fix,
            reason="unsigned-copy",
        )
    made = read_bounded(path, most=MAX_BYTES, what="signature of an encrypted copy")
    try:
        check_maker(sealed.canonical(), made, makers(trusted, home))
    except VerificationFailed as error:
        raise VerificationFailed(
            f"the encrypted copy in {str(folder)!r} was not made by the key of zone {home}",
            why=error.why or error.what,
            fix=fix,
            reason=error.reason,
        ) from error
