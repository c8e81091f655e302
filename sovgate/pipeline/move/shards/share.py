"""Which share of a model a machine sends: i of n, and what the plan deals to it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, UsageError
from sovgate.formats.plan import MAX_PARTS

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.plan import Plan
    from sovgate.pipeline.move.pushing.asked import Asked


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Share `number` of `of` of a model, from 1; `folder` is where the parts come together."""

    model: Path
    number: int
    of: int
    folder: Path

    @classmethod
    def parse(cls, text: str, model: Path, folder: Path) -> Shard:
        """`i/n`. Raises UsageError, reason "bad-shard"."""
        first, slash, second = text.partition("/")
        if not slash or not all(_is_number(one) for one in (first, second)):
            raise _bad(text)
        shard = cls(model=model, number=int(first), of=int(second), folder=folder)
        if not 1 <= shard.number <= shard.of <= MAX_PARTS:
            raise _bad(text)
        return shard


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3


def _bad(text: str) -> UsageError:
    return UsageError(
        f"{text[:40]!r} is no shard",
        why=f"a shard is i/n, i from 1 to n, and n at most {MAX_PARTS}",
        fix="for example --shard 1/4 on the first of four machines",
        reason="bad-shard",
    )


def refuse_reuse(asked: Asked) -> None:
    """Each machine would need the one ledger of chunks that were sent before, and its keys.

    Raises ConfigError, reason "shards-and-reuse".
    """
    if asked.to.reuse:
        to = asked.to.name
        raise ConfigError(
            f"shards are not sent to zone {to}, which uses chunks of earlier releases again",
            why=f"zones.{to}.store.reuse is true, and the ledger of those chunks is on one machine",
            fix="push from that machine, without --shard and --join; or remove reuse",
            where=asked.opened.config.where(f"zones.{to}.store"),
            reason="shards-and-reuse",
        )


@dataclass(frozen=True, kw_only=True)
class Work:
    """The units that are this machine's: `only` some of the `plan`."""

    shard: Shard
    plan: Plan
    only: Plan

    @classmethod
    def of(cls, manifest: Manifest, shard: Shard) -> Work:
        from sovgate.formats.plan import Plan

        plan = Plan.of(manifest)
        return cls(shard=shard, plan=plan, only=plan.only(plan.deal(shard.of)[shard.number - 1]))

    @property
    def chunks(self) -> int:
        return sum(unit.chunks for unit in self.only.units)
