"""The functions that `import sovgate` offers, with frozen records for answers (docs/library.md).

Reads no environment variable for what decides whom to trust; all else is the pipeline's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from sovgate.errors import PolicyDenied, SovgateError, UsageError, disk_error
from sovgate.library.answers import (
    AnyPath,
    Checked,
    Model,
    Pulled,
    Pushed,
    Signed,
    Verified,
)
from sovgate.records import Action, Options, Release
from sovgate.transport import runs

if TYPE_CHECKING:
    from sovgate.pipeline.move import results

__all__ = [
    "Checked",
    "Model",
    "Pulled",
    "Pushed",
    "Signed",
    "Verified",
    "check",
    "pull",
    "push",
    "sign",
    "verify",
]


def sign(
    model: AnyPath | Model,
    *,
    key: str | None = None,
    zone: str | None = None,
    project: AnyPath = ".",
    signature: AnyPath | None = None,
) -> Signed:
    """Sign a model with a key URI, or with the key of a zone of the project.

    Raises UsageError, ConfigError, VerificationFailed (a model that may not be signed),
    KeyServiceError, DiskError.
    """
    from sovgate.pipeline.make import sign as pipeline

    with _errors():
        path, options = _asked(model, _signing_in(_path(project, "project"), key))
        made = pipeline.sign(
            path,
            key=key,
            zone=zone,
            signature=_named(signature, "signature"),
            options=options,
        )
    return Signed(
        model=made.model,
        manifest=f"sha256:{made.manifest.digest}",
        signature=made.path,
        key_id=made.by.key_id,
        algorithm=made.by.algorithm,
        files=len(made.manifest.resources),
        bytes=made.manifest.total,
    )


def verify(
    model: AnyPath | Model,
    *,
    key: str | None = None,
    project: AnyPath = ".",
    manifest: str | None = None,
    signature: AnyPath | None = None,
    ignore_unsigned: Sequence[AnyPath] | bool = False,
) -> Verified:
    """Verify a model by one public key, or else by what the project trusts for models.

    `manifest`, "sha256:…", refuses every other model, though a trusted signer signed it.
    `ignore_unsigned`: paths below the model where files may lie that nobody signed, or True:
    anywhere. What was signed is checked all the same.

    Raises VerificationFailed, UsageError, ConfigError, DiskError. A return means that it verified.
    """
    from sovgate.pipeline.move import verify as pipeline

    if isinstance(ignore_unsigned, str | os.PathLike):
        ignore_unsigned = [ignore_unsigned]
    named = () if isinstance(ignore_unsigned, bool) else ignore_unsigned
    with _errors():
        place, options = _asked(model, _path(project, "project"))
        paths = tuple(_text(path, "ignore_unsigned") for path in named)
        verified, path = pipeline.verify(
            place,
            key=key,
            pin=manifest,
            signature=_named(signature, "signature"),
            unsigned=pipeline.Unsigned(paths=paths, anywhere=ignore_unsigned is True),
            options=options,
        )
    return Verified(
        model=verified.root,
        manifest=f"sha256:{verified.manifest.digest}",
        signature=path,
        signer=verified.signer.name,
        key_id=verified.signer.key.key_id,
        files=len(verified.manifest.resources),
        bytes=verified.manifest.total,
        unsafe=verified.signer.unsafe,
        unsigned=(".",) if ignore_unsigned is True else paths,
    )


def check(
    model: AnyPath | Model,
    *,
    zone: str,
    to: str | None = None,
    action: Action = "transfer",
    release: str | None = None,
    project: AnyPath = ".",
) -> Checked:
    """Ask policy about an action of `zone`, as `push`, `pull` and `promote` ask again themselves.

    A denial is raised, so that nobody takes it for a yes: PolicyDenied, whose `data` is the whole
    decision. Raises also UsageError, ConfigError, VerificationFailed, EngineError, StoreError.
    """
    from sovgate.pipeline.decide import check as pipeline

    with _errors():
        path, options = _asked(model, _path(project, "project"))
        asked = pipeline.Asked(action=action, zone=zone, to=to, release=release)
        decision = pipeline.check(path, asked, options=options).decision
        try:
            decision.require()
        except PolicyDenied as error:
            error.data = {"decision": decision.json()}
            raise
    return Checked(
        action=decision.case.action,
        question=decision.question,
        permits=tuple(f"{p.id} ({p.where})" if p.where else p.id for p in decision.permits),
        warnings=tuple(f"{deny.rule}: {deny.message}" for deny in decision.warnings),
        case=f"sha256:{decision.basis.case_sha256}",
        policy=f"sha256:{decision.basis.policy_sha256}",
    )


@overload
def push(
    model: AnyPath | Model,
    *,
    release: str,
    zone: str,
    to: str,
    project: AnyPath = ".",
    state: AnyPath | None = None,
    verify_first: bool = False,
    dry_run: bool = False,
) -> Pushed: ...
@overload
def push(
    model: AnyPath | Model,
    *,
    release: str,
    zone: str,
    to: list[str] | tuple[str, ...],
    project: AnyPath = ".",
    state: AnyPath | None = None,
    verify_first: bool = False,
    dry_run: bool = False,
) -> tuple[Pushed, ...]: ...
def push(
    model: AnyPath | Model,
    *,
    release: str,
    zone: str,
    to: str | list[str] | tuple[str, ...],
    project: AnyPath = ".",
    state: AnyPath | None = None,
    verify_first: bool = False,
    dry_run: bool = False,
) -> Pushed | tuple[Pushed, ...]:
    """Decide, encrypt, and upload a signed model from `zone` to the store of zone `to`; or to those
    of several, named in a list or tuple, with one read of the model. Then there is one answer a
    zone, in that order, and while one zone refuses nothing is sent to any.

    `state`: the folder where keys are kept until the release is written (None: the user's own);
    `verify_first`: hash all files before the first byte is sent.
    Safe to run again after any error: what was done stays done, and nothing half is visible.
    Raises UsageError, ConfigError, PolicyDenied, VerificationFailed, ResidencyMismatch,
    EngineError, KeyServiceError, StoreError, DiskError.
    """
    from sovgate.pipeline.move import push as pipeline

    with _errors():
        path, options = _asked(model, _path(project, "project"), dry_run)
        options = replace(options, state=_named(state, "state"), verify_first=verify_first)
        done = pipeline.push_each(
            path,
            release=Release.parse(release),
            zone=zone,
            to=(to,) if isinstance(to, str) else tuple(to),
            options=options,
        )
    found = tuple(_pushed(one) for one in done)
    return found[0] if isinstance(to, str) else found


def _pushed(done: results.Pushed) -> Pushed:
    return Pushed(
        zone=done.moved.destination.zone,
        release=done.moved.pinned,
        manifest=f"sha256:{done.moved.manifest}",
        store=done.moved.store,
        crossed=done.size.crossed,
        left_behind=done.left_behind,
        already=done.written.already,
        dry_run=done.dry_run,
        record=done.written.record,
        audit_head=done.written.audit_head,
    )


def pull(
    release: str,
    *,
    zone: str,
    output: AnyPath,
    project: AnyPath = ".",
    evidence: AnyPath | None = None,
) -> Pulled:
    """Fetch a release from the store of `zone`, verify it, decide, decrypt it to `output`.

    `evidence`: the folder for the model's evidence, where it is not to lie beside `output`.
    Name the release with its pin, "NAME/VERSION@sha256:…"; without one the store chooses.
    Raises UsageError, ConfigError, NotFound, PolicyDenied, VerificationFailed, ResidencyMismatch,
    Inconclusive, EngineError, KeyServiceError, StoreError, DiskError.
    """
    from sovgate.pipeline.move import pull as pipeline

    with _errors():
        done = pipeline.pull(
            Release.parse(release),
            zone=zone,
            output=_path(output, "output"),
            options=Options(
                project=_path(project, "project"), evidence=_named(evidence, "evidence")
            ),
        )
    return Pulled(
        release=done.moved.pinned,
        manifest=f"sha256:{done.moved.manifest}",
        model=done.output,
        evidence=done.evidence,
        source=done.moved.source.zone,
        pinned=done.pinned,
        already=done.already,
        receipt=done.proof.receipt,
        audit_head=done.proof.audit_head,
    )


def _text(given: AnyPath, name: str) -> str:
    """A path as text. One that is empty is a value that was not set, and not the folder we are in:
    that would be signed, keys too. Raises UsageError."""
    text = os.fspath(given)
    if text and "\0" not in text:
        return text
    raise UsageError(
        f"the path {name} is empty" if not text else f"the path {name} holds a NUL byte",
        fix='give the path; "." is the folder where the program runs',
        reason="bad-path",
    )


def _path(given: AnyPath, name: str) -> Path:
    return Path(_text(given, name))


def _named(given: AnyPath | None, name: str) -> Path | None:
    return None if given is None else _path(given, name)


def _asked(
    model: AnyPath | Model, project: Path | None, dry_run: bool = False
) -> tuple[Path, Options]:
    if not isinstance(model, Model):
        model = Model(path=model)
    options = Options(
        project=project,
        dry_run=dry_run,
        evidence=_named(model.evidence, "evidence"),
        follow_links=_named(model.follow_links, "follow_links"),
    )
    return _path(model.path, "model"), options


def _signing_in(project: Path, key: str | None) -> Path | None:
    """With a key no project is needed: then one only says which secrets no model may hold."""
    here = project == Path() and not (project / "sovgate.yaml").exists()
    return None if here and key is not None else project


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """The operating system's refusals as ours, as the command line has them."""
    try:
        with runs.run():
            yield
    except SovgateError:
        raise
    except OSError as error:
        raise disk_error(error, "go on") from error
