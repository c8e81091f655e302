"""Verifies a model against its signature, or says which files differ. Reads the model alone.

First the signature, then the list of names, then the bytes: what is wrong cheaply is said at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sovgate.errors import VerificationFailed
from sovgate.formats import leftovers
from sovgate.formats.manifest import Manifest
from sovgate.formats.oms import GIT_NAMES, Oms
from sovgate.records import Advance, Sized
from sovgate.stages import inventory
from sovgate.stages.inventory import Scope
from sovgate.stages.trust import Trusted, Verified, open_statement

__all__ = [
    "Scope",
    "SignedModel",
    "Trusted",
    "Verified",
    "VerifiedModel",
    "model_manifest",
    "open_signature",
    "open_statement",
    "verify_listing",
    "verify_model",
]

#: All of a folder but git's names at its root, and a file under the name that was signed.
WHOLE = Scope()
#: How many differing files an error names.
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class SignedModel:
    """What a trusted signer said about a model; the files are not looked at yet."""

    oms: Oms
    signer: Trusted
    signature: Sized


@dataclass(frozen=True, kw_only=True)
class VerifiedModel:
    """A model whose files are those that the signer signed. `root` is its resolved path.

    `oms_root` is what OMS tools know the signature by; it identifies no model (RULES 1).
    `left_out` are leftovers of tools that the signer named, and that are there.
    """

    manifest: Manifest
    signer: Trusted
    signature: Sized
    root: Path
    oms_root: str
    left_out: tuple[str, ...] = ()


def open_signature(bundle: bytes, trusted: Sequence[Trusted]) -> SignedModel:
    """Raises VerificationFailed as `open_statement` and `Oms.parse` do."""
    verified = open_statement(bundle, trusted, role="signature")
    return SignedModel(
        oms=Oms.parse(verified.statement),
        signer=verified.signer,
        signature=Sized(sha256=verified.sha256, size=len(bundle)),
    )


def model_manifest(bundle: bytes, trusted: Sequence[Trusted]) -> Manifest | None:
    """The signed model's manifest before its bytes are here; None if another tool signed it."""
    return open_signature(bundle, trusted).oms.manifest()


def verify_model(
    path: str | os.PathLike[str],
    bundle: bytes,
    trusted: Sequence[Trusted],
    scope: Scope = WHOLE,
    *,
    advance: Advance | None = None,
    total: Callable[[int], None] | None = None,
) -> VerifiedModel:
    """Show that the model at `path` is the one that was signed: no file more, less, or changed.

    Raises VerificationFailed, reasons of `open_signature`, and "ignored-paths", "wrong-kind",
    "extra-file", "missing-file", "changed-file", "changed-while-reading"; Inconclusive where the
    digests cannot be computed here.
    """
    signed = open_signature(bundle, trusted)
    oms, found = _listed(path, signed.oms, scope)
    if total is not None:
        total(found.total)
    taken = inventory.read(
        found, algorithm=oms.algorithm, shard_size=oms.shard_size, advance=advance
    )
    _compare_bytes(oms, taken)
    return _verified(signed, taken.manifest, found)


def verify_listing(
    path: str | os.PathLike[str],
    bundle: bytes,
    trusted: Sequence[Trusted],
    scope: Scope = WHOLE,
) -> VerifiedModel | None:
    """`verify_model` for a caller that reads the bytes itself and compares each file's digest.

    The signature, the names and the sizes are verified; no byte is read. None where the bundle does
    not carry what that takes (another tool's): then `verify_model` is needed. Raises as that does.
    """
    signed = open_signature(bundle, trusted)
    manifest = signed.oms.manifest()
    if manifest is None:
        return None
    _, found = _listed(path, signed.oms, scope)
    return _verified(signed, manifest, found)


def _verified(signed: SignedModel, manifest: Manifest, found: inventory.Survey) -> VerifiedModel:
    return VerifiedModel(
        manifest=manifest,
        signer=signed.signer,
        signature=signed.signature,
        root=found.root,
        oms_root=signed.oms.root,
        left_out=tuple(path for path in found.ignored if leftovers.lies_in(path)),
    )


def _listed(path: str | os.PathLike[str], oms: Oms, scope: Scope) -> tuple[Oms, inventory.Survey]:
    """What was signed, read for the kind of model that is there, and what is there."""
    found = _survey(path, oms, scope)
    if found.kind == "file":
        oms = oms.as_file(None if scope.any_name else found.name) or oms
    if found.kind != oms.kind:
        named = oms.as_file() if found.kind == "file" else None
        if named is not None:
            raise VerificationFailed(
                f"{found.name[:160]!r} was not signed under this name",
                why=f"the signature is of one file, {oms.items[0].name[:160]!r}",
                fix="if it is that file, give it that name",
                reason="wrong-kind",
            )
        raise VerificationFailed(
            f"{found.root.name!r} is a {found.kind}, but a {oms.kind} was signed",
            fix=f"name the {oms.kind} that was signed",
            reason="wrong-kind",
        )
    _compare_names(oms, found)
    signed = {item.name for item in oms.items}
    entries = tuple(entry for entry in found.entries if entry.name in signed)
    if scope.strict_git:  # of what is moved; litter that the signer left out stays where it is
        inventory.refuse_git(entry.name for entry in entries)
        inventory.refuse_unfinished(found)
    return oms, replace(found, entries=entries)


def _survey(path: str | os.PathLike[str], oms: Oms, scope: Scope) -> inventory.Survey:
    signed = {item.name for item in oms.items}
    # With each signed file the folders that lead to it: what is signed is looked at in any case.
    needed = {name[:at] for name in signed for at in _cuts(name)} | signed

    def leave(name: str) -> bool:
        if name in needed:
            return False
        return scope.ignore_unsigned or any(inventory.below(name, p) for p in scope.ignore)

    skip = frozenset(GIT_NAMES) - needed
    looks = leave if scope.ignore or scope.ignore_unsigned else None
    litter = _litter(oms)

    def leftover(name: str) -> bool:
        return bool(litter) and name not in needed and any(inventory.below(name, p) for p in litter)

    return inventory.survey(
        path, signature=scope.signature, skip=skip, leave=looks, leftover=leftover
    )


def _litter(oms: Oms) -> list[str]:
    """RULES 2: what a signer left out may be there where it is litter of tools, by its name."""
    paths = [path for text in oms.ignore_paths if (path := inventory.plain_path(text))]
    return [path for path in paths if leftovers.lies_in(path)]


def _cuts(name: str) -> list[int]:
    return [at for at, letter in enumerate(name) if letter == "/"]


def _compare_names(oms: Oms, found: inventory.Survey) -> None:
    signed = {item.name: item for item in oms.items}
    there = {entry.name: entry for entry in found.entries}
    extra, ignored = _unsigned([name for name in there if name not in signed], oms)
    missing = [name for name in signed if name not in there]
    sized = [
        name
        for name, item in signed.items()
        if item.size is not None and name in there and there[name].size != item.size
    ]
    _differ(extra, missing, sized, "the bytes of the other files were not compared")
    if ignored:
        raise VerificationFailed(
            "the signature leaves out files of the model",
            why=f"anything could have been put there: {_some(ignored)}",
            fix="take them out of the model; if they are as they should be, name them with "
            "--ignore-paths",
            reason="ignored-paths",
        )


def _unsigned(names: list[str], oms: Oms) -> tuple[list[str], list[str]]:
    """Files that are there and not signed: strangers, and those that the signer left out by name.

    RULES 2: what a signer leaves out is refused too where it exists; litter is gone already.
    """
    paths = [path for text in oms.ignore_paths if (path := inventory.plain_path(text))]
    extra: list[str] = []
    ignored: list[str] = []
    for name in names:
        left_out = any(inventory.below(name, path) for path in paths)
        (ignored if left_out else extra).append(name)
    return extra, ignored


def _some(names: list[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(repr(name[:160]) for name in names[:SHOWN]) + more


def _compare_bytes(oms: Oms, taken: inventory.Inventory) -> None:
    there = taken.foreign or {r.name: r.digest for r in taken.manifest.resources}
    _differ([], [], [item.name for item in oms.items if there[item.name] != item.digest])


def _differ(
    extra: list[str], missing: list[str], changed: list[str], note: str | None = None
) -> None:
    if not (extra or missing or changed):
        return
    lines = []
    for names, word in ((changed, "changed"), (missing, "missing"), (extra, "not signed")):
        lines += [f"{word}: {name[:160]!r}" for name in names[:SHOWN]]
        if len(names) > SHOWN:
            lines.append(f"{word}: {len(names) - SHOWN} more")
    if made := [name for name in extra if leftovers.lies_in(name)]:
        lines.append(f"tools leave such files in folders: remove {_some(made)}, or sign again")
    if note:
        lines.append(note)
    words = [
        f"{len(names)} {word}"
        for names, word in ((changed, "changed"), (missing, "missing"), (extra, "not signed"))
        if names
    ]
    raise VerificationFailed(
        "the model is not the one that was signed",
        why=f"files: {', '.join(words)}",
        fix="get the model again from where it was signed, or, if the difference is meant, "
        "sign it again" + ("; remove the files that do not belong to it" if extra else ""),
        reason="changed-file" if changed else "missing-file" if missing else "extra-file",
        details=tuple(lines),
    )
