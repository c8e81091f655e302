"""What is known of a model's contents where several machines looked into its files. No I/O.

Each file that has bytes is in one shard, so what they found adds up. Whatever else is known counts
too, and of two words the worse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sovgate.errors import VerificationFailed
from sovgate.formats.partrecord import MAX_CLAIMS, Facts, Found
from sovgate.pipeline.decide.contents import Contents

if TYPE_CHECKING:
    from sovgate.formats.case import Fact

#: By the name of the fact that counts, that of the fact which names the first.
_FIRST = {"pickles": "pickle", "secrets": "secret", "remote_code": "remote_code_file"}


def told(known: Contents) -> Facts:
    """What a part says. Raises VerificationFailed, reason "limits"."""
    if len(known.claims) > MAX_CLAIMS:
        raise VerificationFailed(
            f"the files of this shard name more than {MAX_CLAIMS} base models",
            why="no record could cover them all",
            fix="take what is no part of the model out of its folder, and sign it again",
            reason="limits",
        )
    found = {}
    for count, first in _FIRST.items():
        number, name = known[count], known[first]
        found[count] = Found(
            count=number if isinstance(number, int) else 0,
            first=name if isinstance(name, str) else None,
        )
    return Facts(
        pickles=found["pickles"],
        secrets=found["secrets"],
        remote_code=found["remote_code"],
        claims=known.claims,
    )


def together(parts: Sequence[Facts]) -> Contents:
    """What all shards of a model found."""
    facts: dict[str, Fact] = {}
    for count, first in _FIRST.items():
        found: list[Found] = [getattr(part, count) for part in parts]
        facts[count] = sum(one.count for one in found)
        facts[first] = next((one.first for one in found if one.count), None)
    claims = dict.fromkeys(claim for part in parts for claim in part.claims)
    return Contents(facts, tuple(claims))


def worst(one: Contents, other: Contents) -> Contents:
    """Of each fact the larger count, with what it names; a count that nobody knows is smaller than
    any. The claims of both."""
    facts: dict[str, Fact] = {}
    for count, first in _FIRST.items():
        number, less = one[count], other[count]
        more = one if isinstance(number, int) else other
        if isinstance(number, int) and isinstance(less, int) and less > number:
            more = other
        facts[count], facts[first] = more[count], more[first]
    return Contents(facts, tuple(dict.fromkeys((*one.claims, *other.claims))))
