"""verify: the bundle beside the model, the keys that are trusted, and the files themselves."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import ConfigError, Malformed, UsageError, VerificationFailed
from sovgate.pipeline import key_option
from sovgate.pipeline.places import evidence_found, reads_model
from sovgate.records import DEFAULTS, Options
from sovgate.stages import attest, inventory
from sovgate.stages.inventory import plain_path
from sovgate.stages.verify import Scope, Trusted, VerifiedModel, verify_model

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What model_signing calls a signature, if it is not told otherwise.
THEIRS = "model.sig"


@dataclass(frozen=True, kw_only=True)
class Unsigned:
    """Where files may lie that are not signed: at these paths below the model's root, or anywhere.

    RULES 2: a caller's own words; nothing that was signed frees a file.
    """

    paths: tuple[str, ...] = ()
    anywhere: bool = False


NONE = Unsigned()


@reads_model
def verify(
    model: Path,
    *,
    signature: Path | None = None,
    pin: str | None = None,
    key: str | None = None,
    unsigned: Unsigned = NONE,
    options: Options = DEFAULTS,
) -> tuple[VerifiedModel, Path]:
    """Verify `model` by one public key, or by the project's trust for the role `signature`.

    `pin` is the manifest digest that it must have, "sha256:…" (RULES 25: a step that takes a model
    from a folder which others can write takes its digest from elsewhere).

    Returns what verified, and the path of the bundle that was read.
    Raises as `verify.verify_model` does, and reason "other-manifest"; UsageError where model or
    signature are missing.
    """
    wanted = None if pin is None else _pinned(pin)
    trusted = signers(key, options.project)
    ignore = tuple(_left_out(path) for path in unsigned.paths)
    path, data = _bundle(evidence_found(model, options), signature)
    scope = Scope(signature=path, ignore=ignore, ignore_unsigned=unsigned.anywhere)
    try:
        verified = verify_model(
            model, data, trusted, scope, advance=options.progress, total=options.expect
        )
    except Malformed as error:
        error.fix = error.fix or f"{str(path)!r} is damaged or no signature: get it again"
        raise
    except VerificationFailed as error:
        if error.reason == "wrong-signer" and key is not None and "keyless" not in str(error.fix):
            error.fix = "if you trust who signed it, name that signer's public key with --key"
        raise
    if wanted is not None and verified.manifest.digest != wanted:
        raise VerificationFailed(
            f"{verified.root.name!r} is signed by {verified.signer.name}, but is another model",
            why=f"its manifest digest is sha256:{verified.manifest.digest}, asked for was "
            f"sha256:{wanted}",
            fix="fetch the model that was asked for, or ask for this one",
            reason="other-manifest",
        )
    return verified, path


def _pinned(text: str) -> str:
    match = re.fullmatch(r"sha256:([0-9a-f]{64})", text)
    if match is None:
        raise UsageError(
            f"--manifest {text[:80]!r} is not a digest",
            fix="write it as sign prints it: sha256: and 64 lower-case hex digits",
            reason="bad-digest",
        )
    return match[1]


def _left_out(text: str) -> str:
    """A path of --ignore-paths in its one spelling. Raises UsageError."""
    path = plain_path(text)
    if path is None or set(path) & set("*?["):
        raise UsageError(
            f"--ignore-paths {text[:80]!r} is not a path below the model",
            why="a path starts at the model's own folder, and is not a pattern",
            fix="name a file or a folder of the model, for example --ignore-paths notes.txt",
            reason="bad-path",
        )
    return path


def _bundle(folders: attest.Folders, named: Path | None) -> tuple[Path, bytes]:
    """The signature that was named, or ours, or the one that other tools left with the model.

    They call it `model.sig`, in the model or beside it, or `NAME.sig` beside it. Raises UsageError,
    reason "several-signatures" where it is not clear which is meant.
    """
    if named is not None or folders.signed:
        return folders.read_signature(named)
    root = inventory.resolved(folders.model)
    places = [root.parent / f"{root.name}.sig", root.parent / THEIRS]
    if root.is_dir():
        places.insert(0, root / THEIRS)
    found = [place for place in places if os.path.lexists(place) and place != root]
    if len(found) > 1:
        raise UsageError(
            "there is more than one signature with the model",
            why=", ".join(str(place) for place in found),
            fix="name the one to verify with --signature",
            reason="several-signatures",
        )
    return folders.read_signature(found[0] if found else None)


def signers(key: str | None, project: Path | None) -> Sequence[Trusted]:
    """Who may have signed: the holder of `key` alone, else whom sovgate.yaml trusts."""
    if key is not None:
        public = key_option.public(key, project)
        if not public.can_verify:
            raise UsageError(
                f"{key!r} is a key of type {public.algorithm}, which signs no models",
                fix="name the signer's ECDSA key",
                reason="unsupported-key",
            )
        entry = Trusted(name=Path(key).name, key=public, may=frozenset({"signature"}))
        return (entry,)
    from sovgate.pipeline.project import open_project

    try:
        opened = open_project(project)
    except ConfigError as error:
        if error.reason == "no-project" and project is None:
            raise UsageError(
                "the signer is not named",
                why="no --key is named, and there is no sovgate.yaml here or above",
                fix="name the signer's public key: --key signer.pub.pem",
                reason="no-key",
            ) from error
        raise
    return opened.trusted()
