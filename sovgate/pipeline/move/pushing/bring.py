"""Brings a release's chunks into its zone's store: from a model, read once, or from a copy of it.

What makes the parts of them is handed back, and is called when policy has said its last word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from sovgate.errors import InternalError
from sovgate.pipeline.move.pushing.asked import Asked
from sovgate.pipeline.move.pushing.resuming import Keeping
from sovgate.records import Advance

if TYPE_CHECKING:
    from sovgate.blocks import Blocks
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.part import Closed, Finished
    from sovgate.formats.plan import Plan
    from sovgate.keys._api import Signer
    from sovgate.stages import transfer


def bring(
    asked: Asked, signer: Signer, kept: Keeping, advance: Advance | None
) -> tuple[transfer.Written, Callable[[], Closed]]:
    """What was written, and what makes the parts of it. Raises as `send` and stores do."""
    from sovgate.formats.part import Closed
    from sovgate.stages import transfer

    outgoing = asked.outgoing
    if outgoing.copy is None:
        return _sent(asked, signer, kept, advance)
    copy = outgoing.copy
    parts = copy.sealed.parts
    closed = Closed(
        parts=parts,
        lists=tuple(copy.read(part.list, "chunk list") for part in parts),
        tables=tuple(copy.read(part.keytable, "key table") for part in parts),
    )
    chunks = [one for listed in copy.listed(outgoing.manifest) for one in listed.chunks]
    written = transfer.carry(copy.get_chunk, asked.store, chunks, advance=advance)
    return written, lambda: closed


def _sent(
    asked: Asked, signer: Signer, kept: Keeping, advance: Advance | None
) -> tuple[transfer.Written, Callable[[], Closed]]:
    from sovgate.formats.part import Closed
    from sovgate.formats.plan import Plan
    from sovgate.formats.wrap import Context
    from sovgate.stages import transfer
    from sovgate.stages.encrypt import close_part, require_no_git, send

    manifest, root = asked.outgoing.manifest, asked.outgoing.root
    if root is None or asked.seen is None:
        raise InternalError("a push has neither a model nor an encrypted copy")
    require_no_git(manifest)
    plan = Plan.of(manifest)
    looked = asked.seen.looked  # what was looked into is what is hashed, and leaves
    context = Context(zone=asked.to.name, release=str(asked.release), manifest=manifest.digest)
    parts: list[Callable[[], Finished]] = []
    with kept.sending(signer, plan) as bound:
        for number, units in enumerate(plan.parts(), start=1):
            only, last = plan.only(units), number == len(plan.parts())
            found = None if last else kept.closed(number)
            if found is not None:
                if not found.covers(looked):  # what is said of its files now is to be shown anew
                    send(manifest, only, root, [], looked=looked, advance=advance)
                elif advance is not None:
                    advance(only.size)
                parts.append(partial(_same, found.finished))
                continue
            (sent,) = send(manifest, only, root, [bound], looked=looked, advance=advance)
            close = partial(close_part, sent, plan, number, asked.recipient, context)
            if not last:  # the last one is closed when policy has said its last word
                finished = close()
                kept.close_part(finished, _looked_of(only, manifest, looked))
                close = partial(_same, finished)
            parts.append(close)
    written = transfer.Written(objects=len(kept.sizes), bytes=sum(kept.sizes), skipped=kept.skipped)
    return written, lambda: Closed.of([close() for close in parts])


def _same(finished: Finished) -> Finished:
    return finished


def _looked_of(only: Plan, manifest: Manifest, looked: Mapping[str, Blocks]) -> dict[str, Blocks]:
    """What was read of the files that are in a part, those of equal content too."""
    inside = {content.digest for content in only.contents}
    names = (one.name for one in manifest.resources if one.digest in inside)
    return {name: looked[name] for name in names}
