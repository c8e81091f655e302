"""What may not be in a model at all, asked by every command that makes evidence or moves a model.

RULES 38: stand-ins and sets that lack a part (11), secrets and the project itself (10). Reads the
model's files and the key files that the project names; writes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.blocks import SMALLEST
from sovgate.errors import PolicyDenied, SovgateError, VerificationFailed
from sovgate.files import read_bounded
from sovgate.formats import secrets
from sovgate.formats.manifest import FILE_NAME
from sovgate.links import mounted_secret

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.formats.statement import Statement
    from sovgate.pipeline.project import Project
    from sovgate.stages.attest import Folders
    from sovgate.stages.sbom import Inspected

#: The rule that says the same of what is to cross, and the reason of the error.
NO_SECRETS = "no-secrets"
FIX = (
    "take it out of the model, and replace that key or token wherever it is used: who ever got "
    "this model has it"
)
_PROJECT_FIX = "put the model into a folder of its own, and name that"
_UNPACK_FIX = (
    "put the files that are packed in it into the model's folder, where each is looked through, or "
    "take it out of the model"
)
_TOLD_AS = {"provenance": "the training record", "sbom": "the SBOM", "gate": "the gate's result"}
#: No key file is larger. So its digest is that of its first block.
_MAX_KEY = SMALLEST
_EVIDENCE = ".evidence"
#: What the tools of Hugging Face keep below `~/.cache/huggingface/hub`.
_SNAPSHOT = re.compile(r"(?P<above>(?:[^/]+/)?models--[^/]+/)?snapshots/[^/]+(?=/)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Secret:
    """`name` is the file as a person knows it, `what` completes "it holds …"."""

    name: str
    line: int | None
    what: str
    fix: str = FIX

    def __str__(self) -> str:
        place = self.name if self.line is None else f"{self.name}, line {self.line}"
        return f"{place}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A model that was looked through: what its files say, and what of it is a secret."""

    inspected: Inspected
    secrets: tuple[Secret, ...]


def examine(
    root: Path,
    manifest: Manifest,
    opened: Project | None,
    only: Collection[str] | None = None,
) -> Admitted:
    """Look through the files of a model that is known, or through `only` some of them. Raises as
    `sbom.inspect` does.
    """
    names = [resource.name for resource in manifest.resources]
    return _examine(root, manifest.kind, names, opened, only)


def _examine(
    root: Path,
    kind: str,
    names: list[str],
    opened: Project | None,
    only: Collection[str] | None = None,
) -> Admitted:
    from sovgate.stages.sbom import inspect

    _refuse_cache(names)
    inspected = inspect(root, kind, names, only)
    return Admitted(inspected=inspected, secrets=find_secrets(root, inspected, opened))


def _refuse_cache(names: list[str]) -> None:
    """A hub's cache that was copied as a whole: each file twice, in every revision there is."""
    inside = next((one for one in map(_SNAPSHOT.match, names) if one is not None), None)
    if inside is None:
        return
    above = inside["above"] or ""
    if any(name.startswith((f"{above}blobs/", f"{above}refs/")) for name in names):
        raise VerificationFailed(
            "this is the cache of a hub, not a model",
            why=f"{above}snapshots/ holds the revisions of a model, and blobs/ and refs/ what the "
            "hub's tools keep beside them",
            fix=f"name the folder of the revision: {inside[0]}",
            reason="not-a-model",
        )


def admit(model: Path, opened: Project | None, *, signature: Path | None = None) -> Inspected:
    """For a first step: before anything is made of the model at `model`.

    What `sign` would refuse is refused here, so that no evidence is made for what cannot be signed.
    Raises VerificationFailed, reasons of `sbom.inspect`, "git-name" and "unfinished-download";
    PolicyDenied, reason "no-secrets".
    """
    from sovgate.stages import inventory

    found = inventory.survey(model, signature=signature)
    inventory.refuse_git(entry.name for entry in found.entries)
    inventory.refuse_unfinished(found)
    admitted = _examine(found.root, found.kind, [entry.name for entry in found.entries], opened)
    refuse(admitted)
    return admitted.inspected


def admit_unsigned(folders: Folders, opened: Project, signature: Path | None) -> None:
    """For what moves a signed model: of one without a signature it is said first what is in it.

    What lacks a signature because `sign` refused it would else be told to be signed. Raises as
    `admit` does.
    """
    if signature is None and not folders.signed:
        admit(folders.model, opened)


def refuse(admitted: Admitted) -> None:
    """PolicyDenied where there is a secret; all of them are named."""
    if not admitted.secrets:
        return
    first, *others = admitted.secrets
    project = any(one.fix == _PROJECT_FIX for one in admitted.secrets)
    holds = "may hold" if first.fix == _UNPACK_FIX else "holds"
    raise PolicyDenied(
        f"the model {holds} a secret: {first}",
        why="whoever receives the model would have it",
        fix=_PROJECT_FIX if project else first.fix,
        reason=NO_SECRETS,
        details=tuple(f"and {one}" for one in others[:20]),
        data={"secrets": [str(one) for one in admitted.secrets[:1000]]},
    )


def refuse_told(statement: Statement, source: str | None = None) -> None:
    """Before evidence is written or signed: PolicyDenied, "no-secrets", where it holds a secret.

    `source` is the file that it came from; without one it is what the command was told.
    """
    found = _told(statement)
    if found is not None:
        what = source or _TOLD_AS.get(statement.role, f"the statement of role {statement.role}")
        raise PolicyDenied(
            f"{what} {'holds' if source else 'would hold'} a secret: {found}",
            why="evidence is kept, and travels with the model in the clear",
            fix="leave it out, or change the file that says it; if somebody else can have seen it, "
            "replace that key or token wherever it is used",
            reason=NO_SECRETS,
        )


def refuse_carried(name: str, data: bytes, statement: Statement | None) -> None:
    """The same of evidence that would travel; `statement` is None where it cannot be read."""
    from sovgate.formats import disclosed

    found = disclosed.in_bundle(data) if statement is None else _told(statement)
    if found is not None:
        raise PolicyDenied(
            f"the evidence {name} holds a secret: {found}",
            why="it would travel with the model in the clear",
            fix=f"remove {name} from the model's evidence and write it again without the secret "
            "(sovgate record, sbom, gate, attest); encrypt again what was encrypted; replace that "
            "key or token wherever it is used: who ever got the evidence has it",
            reason=NO_SECRETS,
        )


def refuse_text(what: str, text: str, *, kept: str) -> None:
    """The same of a text that somebody typed; `kept` says where it would stay."""
    from sovgate.formats import disclosed

    found = disclosed.in_value({"text": text}, commitments=True)
    if found is not None:
        raise PolicyDenied(
            f"{what} holds a secret: {found.removesuffix(' in text')}",
            why=f"it would stay in {kept}",
            fix="write it without that; if somebody else can have seen it, replace that key or "
            "token wherever it is used",
            reason=NO_SECRETS,
        )


def _told(statement: Statement) -> str | None:
    """Documents of other tools hold digests in base64, which look like commitment keys."""
    from sovgate.formats import disclosed

    return disclosed.in_value(statement.predicate, commitments=statement.role != "sbom")


def find_secrets(root: Path, inspected: Inspected, opened: Project | None) -> tuple[Secret, ...]:
    """What belongs to a project, keys that it names, and what the list of secrets knows."""
    found: dict[str, Secret] = {}
    for name in inspected.states:
        shown = root.name if name == FILE_NAME else name
        what = _own(shown, inspected.states[name], opened)
        if what is not None:
            found[name] = Secret(name=shown, line=None, what=what, fix=_PROJECT_FIX)
    for name, what in _named_keys(inspected, opened):
        found[name] = Secret(name=root.name if name == FILE_NAME else name, line=None, what=what)
    for name, (what, line) in inspected.secrets.items():
        named = found.get(name)
        if named is not None and named.fix == FIX:
            found[name] = replace(named, line=line, what=f"{what}, {named.what}")
        shown = root.name if name == FILE_NAME else name
        fix = _UNPACK_FIX if what in secrets.UNKNOWN else FIX
        found.setdefault(name, Secret(name=shown, line=line, what=what, fix=fix))
    # Those to be taken out come first: a key in a project folder is worse than the project file.
    return tuple(sorted(found.values(), key=lambda one: (one.fix != FIX, one.name)))


def _own(shown: str, state: os.stat_result, opened: Project | None) -> str | None:
    from sovgate.config import FILE_NAME as PROJECT

    *folders, base = shown.split("/")
    path = opened.config.path if opened is not None else None
    if base.lower() == PROJECT or (path is not None and _same(state, path)):
        return "the project file, which has keys and settings beside it"
    if any(folder.endswith(_EVIDENCE) and folder != _EVIDENCE for folder in folders):
        return "a file of an evidence folder"
    if ".sovgate" in folders:
        return "what the project keeps for itself"
    return None


def _same(state: os.stat_result, path: Path) -> bool:
    try:
        other = path.stat()
    except OSError:
        return False
    return (state.st_dev, state.st_ino) == (other.st_dev, other.st_ino)


def _named_keys(inspected: Inspected, opened: Project | None) -> Iterator[tuple[str, str]]:
    """Files of the model that are a secret key of the project, as another link or as a copy."""
    keys = _keys(opened) if opened is not None else {}
    for name, state in inspected.states.items():
        looked = inspected.looked[name]
        for what, (data, other) in keys.items():
            linked = (state.st_dev, state.st_ino) == (other.st_dev, other.st_ino)
            copied = looked.size == len(data) and looked.digests.get(0) == _digest(data)
            if linked or copied:
                yield name, what
                break


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _keys(opened: Project) -> Mapping[str, tuple[bytes, os.stat_result]]:
    """What each secret key, and what opens one, is called -> its file's bytes and state.

    One that is not here cannot be in the model either, but by a name of the list of secrets.
    """
    from sovgate import key_settings, uri

    found = {}
    for zone in opened.config.zones.values():
        # Under the name of a public half a secret may lie as well, by a slip.
        for use in ("sign", "encrypt", "sign_public", "encrypt_public"):
            text = getattr(zone.keys, use)
            if text is None:
                continue
            named = f"zones.{zone.name}.keys.{use.replace('_', '-')}"
            try:
                parsed = uri.parse(text, what="key")
                path, what = key_settings.secret_file(parsed), f"the PIN of {named}"
                if parsed.scheme == "file":
                    what = f"the secret key {named}"
                    path = mounted_secret(parsed.rest, opened.base) or opened.base / parsed.rest
                if path is None:
                    continue
                data, state = read_bounded(path, most=_MAX_KEY, what="key"), path.stat()
            except (OSError, SovgateError):
                continue
            if b"PUBLIC KEY-----" not in data and data:
                found[what] = (data, state)
    return found
