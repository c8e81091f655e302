"""`sovgate push --shard` and `--join`: one release by several machines."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sovgate.cli._base import LocalPath, option
from sovgate.cli._emit import Report, details
from sovgate.cli._progress import human_bytes, human_seconds
from sovgate.errors import UsageError
from sovgate.records import Options, Release

if TYPE_CHECKING:
    from sovgate.pipeline.move.results import Pushed, Sharded

F = TypeVar("F", bound=Callable[..., Any])


def shard_options(function: F) -> F:
    for add in (
        option(
            "--parts",
            type=LocalPath(),
            metavar="DIR",
            help="Where each shard leaves its part, and where --join finds them.",
        ),
        option(
            "--join",
            type=click.IntRange(min=1, max=256),
            metavar="N",
            help="Make the release of the parts of N shards, which were sent before. Reads no file "
            "of the model.",
        ),
        option(
            "--shard",
            metavar="I/N",
            help="Send only share I of N of the model, 1/N to N/N on as many machines, and leave a "
            "part in --parts. The release is there when they are joined.",
        ),
    ):
        function = add(function)
    return function


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What of a model a push is of: all of it, `shard` (i/n) of it, or `count` parts to join."""

    source: Path | None
    shard: str | None = None
    count: int | None = None
    parts: Path | None = None

    @property
    def words(self) -> str:
        """For whoever looks at the progress."""
        return "pushing" if self.count is None else "joining"

    def push(
        self,
        *,
        release: Release,
        zone: str,
        to: Sequence[str],
        signature: Path | None,
        options: Options,
    ) -> tuple[Pushed, ...] | Sharded:
        """Raises as `pipeline.move.push.push` does."""
        if self.count is not None and self.parts is not None:
            from sovgate.pipeline.move.shards.join import Join, push_joined

            joined = push_joined(
                Join(model=self.source, count=self.count, folder=self.parts),
                release=release,
                zone=zone,
                to=self._alone(to),
                signature=signature,
                options=options,
            )
            return (joined,)
        if self.source is None:
            raise UsageError(
                "the model to push is not named",
                fix="name its folder or file: sovgate push MODEL --release …",
                reason="missing-argument",
            )
        if self.shard is not None and self.parts is not None:
            from sovgate.pipeline.move.shards.shard import push_shard
            from sovgate.pipeline.move.shards.share import Shard

            return push_shard(
                Shard.parse(self.shard, self.source, self.parts),
                release=release,
                zone=zone,
                to=self._alone(to),
                signature=signature,
                options=options,
            )
        from sovgate.pipeline.move.push import push_each

        return push_each(
            self.source, release=release, zone=zone, to=to, signature=signature, options=options
        )

    @staticmethod
    def _alone(to: Sequence[str]) -> str:
        if len(to) > 1:
            raise UsageError(
                "a part is for one zone",
                why="zones share no key, and a part has keys",
                fix="run --shard and --join once for each zone, with a folder of its own: "
                + ", ".join(f"--to {zone} --parts DIR/{zone}" for zone in to),
                reason="shard-of-zones",
            )
        return to[0]


def shared_by(
    source: Path | None, shard: str | None, join: int | None, parts: Path | None
) -> Sharing:
    """What fits together. Raises UsageError."""
    if shard is not None and join is not None:
        raise UsageError(
            "a push is of one shard, or joins the parts of all",
            fix="leave out --shard or --join",
            reason="shard-and-join",
        )
    named = "--shard" if shard is not None else "--join" if join is not None else None
    if named is not None and parts is None:
        raise UsageError(
            f"{named} needs the folder of the parts",
            fix="name it with --parts DIR: the same for all shards, or brought together before "
            "they are joined",
            reason="no-parts",
        )
    if named is None and parts is not None:
        raise UsageError(
            "--parts is for --shard and --join",
            fix="say --shard I/N to send a share of the model, or --join N to join what was sent",
            reason="no-shard",
        )
    return Sharing(source=source, shard=shard, count=join, parts=parts)


def told(done: Sharded) -> Report:
    """What a push of one shard did."""
    moved, part, size = done.moved, done.part, done.size
    target, shard = moved.destination, f"shard {part.number}/{part.of} of {moved.release}"
    files = f"{size.files} file{'' if size.files == 1 else 's'}, {human_bytes(size.bytes)}"
    dry_run = part.sha256 is None
    if dry_run:
        headline = f"would send {shard}, {files}, to zone {target.zone}; nothing was written"
    elif part.already:
        headline = f"{shard} was sent to zone {target.zone} before, and is whole there"
    else:
        headline = f"sent {shard}, {files}, to zone {target.zone}"
    notes = []
    if done.resumed:
        notes.append(f"{done.resumed} chunks were there already, and not sent again")
    if not dry_run:
        there = "its part is there" if part.of == 1 else f"all {part.of} parts are there"
        notes.append(
            f"when {there}: sovgate push MODEL --release {moved.release} "
            f"--zone {moved.source.zone} --to {target.zone} --join {part.of} "
            f"--parts {shlex.quote(str(part.folder))}"
        )
    return Report(
        command="push",
        headline=headline,
        rows=(
            ("release", moved.pinned),
            (
                "to",
                f"zone {target.zone}, {target.provider_region}, {target.country}, {moved.run_by}",
            ),
            ("store", moved.store),
            *details(("for key", f"{done.recipient[0]} ({done.recipient[1]})")),
            (
                "crosses" if dry_run else "crossed",
                f"{size.objects} chunks, {human_bytes(size.crossed)} of ciphertext",
            ),
            ("part", f"{part.number} of {part.of}, in {part.folder}"),
            *(("decision", line) for line in done.decisions),
            *([] if done.audit_head is None else [("audit-head", done.audit_head)]),
            *details(("took", ", ".join(f"{name} {human_seconds(s)}" for name, s in done.steps))),
        ),
        outputs={
            "release": moved.pinned,
            "purl": moved.release.purl,
            "manifest": f"sha256:{moved.manifest}",
            "record": "",
            "audit-head": done.audit_head or "",
        },
        data={
            "release": str(moved.release),
            "manifest": moved.manifest,
            "record": None,
            "part": {
                "number": part.number,
                "of": part.of,
                "folder": str(part.folder),
                "sha256": part.sha256,
            },
            "already": part.already,
            "dry-run": dry_run,
            "from": vars(moved.source),
            "to": vars(target),
            "store": moved.store,
            "recipient": {"key-id": done.recipient[0], "algorithm": done.recipient[1]},
            "files": size.files,
            "bytes": size.bytes,
            "objects": size.objects,
            "resumed": done.resumed,
            "crossed": size.crossed,
            "decisions": list(done.decisions),
            "audit-head": done.audit_head,
            "steps": [{"step": name, "seconds": round(s, 6)} for name, s in done.steps],
        },
        notes=tuple(notes),
    )
