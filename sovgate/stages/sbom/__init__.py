"""SBOM of a model: reads headers, never tensors, and writes CycloneDX 1.7 and SPDX 3.

A stage: `inspect` opens files for reading; the writers are pure. Nothing of the model is loaded.
"""

from __future__ import annotations

from sovgate.stages.sbom._described import Described
from sovgate.stages.sbom.inspection import Inspected, Licence, inspect
from sovgate.stages.sbom.libraries import Library, from_environment, from_lock, merged

__all__ = [
    "Described",
    "Inspected",
    "Library",
    "Licence",
    "from_environment",
    "from_lock",
    "inspect",
    "merged",
]
