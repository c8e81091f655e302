"""Where the folder of --parts may lie, and which part in it a shard does not write over.

Reads that folder, and asks the store for a record.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, UsageError
from sovgate.files import read_bounded
from sovgate.formats.partrecord import DOCUMENT, MAX_BYTES
from sovgate.pipeline.move.pushing.resuming import state_folder
from sovgate.pipeline.move.shards.folder import open_part

if TYPE_CHECKING:
    from sovgate.pipeline.move.pushing.asked import Asked
    from sovgate.pipeline.move.shards.share import Shard


def require_apart(folder: Path, model: Path, asked: Asked, state: Path | None) -> None:
    """Key tables do not lie where the model is read, nor in the store before policy's last word;
    and no kept key lies where the parts are, which go to other machines.

    Raises UsageError, reasons "parts-inside", "state-inside".
    """
    real = Path(os.path.realpath(folder))
    held = {"model": model}
    if asked.store.uri.startswith("file://"):
        held["store of the destination"] = Path(asked.store.uri.removeprefix("file://"))
    for what, root in held.items():
        if real.is_relative_to(os.path.realpath(root)):
            raise UsageError(
                f"{str(folder)!r} lies in the {what}",
                why="the model would no longer be what was signed"
                if what == "model"
                else "key tables would be there before policy has decided about the whole model "
                "(rule 44)",
                fix="name a folder elsewhere with --parts",
                reason="parts-inside",
            )
    kept = state_folder(state)
    if kept is not None and Path(os.path.realpath(kept)).is_relative_to(real):
        raise UsageError(
            f"{str(kept)!r} lies in the folder of the parts",
            why="keys to the store would be where the parts are copied and brought together",
            fix="name a folder elsewhere with --state, e.g. --state /var/lib/sovgate",
            reason="state-inside",
        )


def refuse_others(shard: Shard, asked: Asked) -> None:
    """A part for another zone, or of another release that is not in the store yet, is not written
    over: what it carries would have to be sent again.

    Raises UsageError, reasons "parts-of-zone", "parts-of-release"; StoreError.
    """
    from sovgate.formats.transfer import record_name

    path = shard.folder / DOCUMENT.format(shard.number)
    try:
        data = read_bounded(path, most=MAX_BYTES, what="part")
        there = open_part(data, asked.zone.name, asked.trusted)
    except SovgateError:
        return  # none, or none that anybody could join
    folder = str(shard.folder)
    if there.destination.zone != asked.to.name:
        raise UsageError(
            f"{folder!r} holds the part of that shard for zone {there.destination.zone}",
            why="zones share no key, so each has parts of its own, of the same names",
            fix=f"name a folder for each zone: --parts {shlex.quote(folder)}-{asked.to.name}",
            reason="parts-of-zone",
        )
    if there.release != asked.release and asked.store.stat(record_name(there.release)) is None:
        raise UsageError(
            f"{folder!r} holds the part of that shard of {there.release}",
            why="its parts are not joined yet, and those of two releases have the same names",
            fix=f"name a folder for each release: --parts {shlex.quote(folder)}-"
            f"{asked.release.version}; or join that one first; or remove its parts there",
            reason="parts-of-release",
        )
