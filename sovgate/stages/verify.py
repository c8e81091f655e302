"""Verifies a model against its signature, or says which files differ. Reads the model alone.

First the signature, then the list of names, then the bytes: what is wrong cheaply is said at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import VerificationFailed
from sovgate.formats.manifest import Manifest
from sovgate.formats.oms import GIT_NAMES, Oms
from sovgate.records import Advance, Sized
from sovgate.stages import inventory
from sovgate.stages.trust import Trusted, Verified, open_statement

__all__ = [
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
    """A model whose files are those that the signer signed. `root` is its resolved path."""

    manifest: Manifest
    signer: Trusted
    signature: Sized
    root: Path


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
    advance: Advance | None = None,
    *,
    total: Callable[[int], None] | None = None,
    signature: Path | None = None,
    allow_ignored: frozenset[str] = frozenset(),
    strict_git: bool = False,
) -> VerifiedModel:
    """Show that the model at `path` is the one that was signed: no file more, less, or changed.

    `signature` is the bundle's own path, left out if it lies inside the model. `allow_ignored` are
    signed `ignore_paths`, beyond git's and the signature, that the caller puts up with (RULES 2).
    `strict_git` as in `inventory.take`.

    Raises VerificationFailed, reasons of `open_signature`, and "ignored-paths", "wrong-kind",
    "extra-file", "missing-file", "changed-file", "changed-while-reading"; Inconclusive where the
    digests cannot be computed here.
    """
    signed = open_signature(bundle, trusted)
    found = _listed(path, signed.oms, signature, allow_ignored, strict_git)
    if total is not None:
        total(found.total)
    taken = inventory.read(found, algorithm=signed.oms.algorithm, advance=advance)
    _compare_bytes(signed.oms, taken)
    return VerifiedModel(
        manifest=taken.manifest, signer=signed.signer, signature=signed.signature, root=taken.root
    )


def verify_listing(
    path: str | os.PathLike[str],
    bundle: bytes,
    trusted: Sequence[Trusted],
    *,
    signature: Path | None = None,
    allow_ignored: frozenset[str] = frozenset(),
    strict_git: bool = False,
) -> VerifiedModel | None:
    """`verify_model` for a caller that reads the bytes itself and compares each file's digest.

    The signature, the names and the sizes are verified; no byte is read. None where the bundle does
    not carry what that takes (another tool's): then `verify_model` is needed. Raises as that does.
    """
    signed = open_signature(bundle, trusted)
    manifest = signed.oms.manifest()
    if manifest is None:
        return None
    found = _listed(path, signed.oms, signature, allow_ignored, strict_git)
    return VerifiedModel(
        manifest=manifest, signer=signed.signer, signature=signed.signature, root=found.root
    )


def _listed(
    path: str | os.PathLike[str],
    oms: Oms,
    signature: Path | None,
    allow_ignored: frozenset[str],
    strict_git: bool,
) -> inventory.Survey:
    found = _survey(path, oms, signature, allow_ignored)
    if strict_git:
        inventory.refuse_git(entry.name for entry in found.entries)
    if found.kind != oms.kind:
        raise VerificationFailed(
            f"{found.root.name!r} is a {found.kind}, but a {oms.kind} was signed",
            fix=f"name the {oms.kind} that was signed",
            reason="wrong-kind",
        )
    _compare_names(oms, found)
    return found


def _survey(
    path: str | os.PathLike[str], oms: Oms, signature: Path | None, allowed: frozenset[str]
) -> inventory.Survey:
    # What OMS leaves out at the root is looked at all the same if the signer listed it.
    listed = {item.name.split("/", 1)[0] for item in oms.items}
    skip = frozenset(GIT_NAMES) - listed
    inside = inventory.signature_inside(inventory.resolved(path), signature)
    beyond = [p for p in oms.ignore_paths if p not in GIT_NAMES and p != inside]
    refused = [p for p in beyond if p not in allowed]
    if refused:
        raise VerificationFailed(
            "the signature leaves files of the model out",
            why=f"ignored paths: {', '.join(repr(p[:80]) for p in refused[:SHOWN])}",
            fix="sign the model again without them",
            reason="ignored-paths",
        )
    return inventory.survey(path, signature=signature, skip=skip, ignore=tuple(beyond))


def _compare_names(oms: Oms, found: inventory.Survey) -> None:
    signed = {item.name: item for item in oms.items}
    there = {entry.name: entry for entry in found.entries}
    extra = [name for name in there if name not in signed]
    missing = [name for name in signed if name not in there]
    sized = [
        name
        for name, item in signed.items()
        if item.size is not None and name in there and there[name].size != item.size
    ]
    _differ(extra, missing, sized, "the bytes of the other files were not compared")


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
        "sign it again" + ("; take files that are no part of it out of it" if extra else ""),
        reason="changed-file" if changed else "missing-file" if missing else "extra-file",
        details=tuple(lines),
    )
