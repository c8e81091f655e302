"""SBOM of a model: reads headers, never tensors, and writes CycloneDX 1.7 and SPDX 3.

A stage: `inspect` opens files for reading; the writers are pure. Nothing of the model is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sovgate.formats.manifest import Manifest
from sovgate.stages.sbom._described import Described
from sovgate.stages.sbom.inspection import Inspected, Licence, find_pickles, inspect, unchanged
from sovgate.stages.sbom.libraries import Library, from_environment, from_lock, merged

__all__ = [
    "Described",
    "Inspected",
    "Library",
    "Licence",
    "find_pickles",
    "from_environment",
    "from_lock",
    "inspect",
    "merged",
    "pickles",
    "unchanged",
]


class ReadModel(Protocol):
    """A model that was read: `inventory.Inventory`."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def root(self) -> Path: ...
    @property
    def kind(self) -> str: ...


def pickles(inventory: ReadModel) -> list[str]:
    """Names of the model's files that are pickles, sorted: a fact for the policy case.

    Raises DiskError, VerificationFailed. Loads nothing.
    """
    names = (resource.name for resource in inventory.manifest.resources)
    return sorted(find_pickles(inventory.root, inventory.kind, names))
