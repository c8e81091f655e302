"""What lies beside a model: statements by their names, and whatever else may bind it (RULES 30).

A training record binds under any name, in any folder below and in any spelling. Reads evidence
folders.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, VerificationFailed
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.stages import attest

if TYPE_CHECKING:
    from sovgate.stages.attest import Folders, RawEvidence


def read_records(folders: Folders, manifest: str) -> tuple[RawEvidence, ...]:
    """`folders.read()`, and what else lies there and may be a training record about `manifest`.

    Raises as that does.
    """
    found = {raw.sha256: raw for raw in folders.read()}
    for folder in (folders.folder, *folders.others):
        for raw in attest.read_below(folder):
            if raw.sha256 not in found and may_bind(raw, manifest):
                found[raw.sha256] = raw
    return tuple(found.values())


#: What whoever writes one more record is told.
ALL_COUNT = (
    "every record that a trusted key signed counts, and the data of all of them bind the model"
)


def records_about(folders: Folders, manifest: str, *, drafts: bool = True) -> tuple[Path, ...]:
    """Files that read as records about this manifest, whoever signed them, and drafts of such.

    Only to be told to a person: nothing is verified, and what cannot be read is passed over.
    """
    from sovgate.formats import foreign

    found: dict[str, Path] = {}
    for folder in (folders.folder, *folders.others):
        for read, raws, below in (
            (foreign.statement, attest.read, folder),
            (Statement.parse, attest.read_unsigned, folder / attest.UNSIGNED),
        )[: 2 if drafts else 1]:
            with contextlib.suppress(SovgateError):
                for raw in raws(folder):
                    with contextlib.suppress(SovgateError):
                        said = read(raw.data)
                        if (said.role, said.subject_sha256) == ("provenance", manifest):
                            found.setdefault(raw.sha256, below / raw.name)
    return tuple(found.values())


def may_bind(raw: RawEvidence, manifest: str) -> bool:
    """Whether it may be a signed training record about `manifest`, whoever signed it, or a gate's
    result of another version."""
    from sovgate.formats import doubtful, foreign

    if raw.unread is not None:
        return True
    try:
        said = foreign.statement(raw.data)
    except VerificationFailed:
        return not _is_draft(raw.data) and (
            doubtful.may_be_record(raw.data, raw.name, manifest)
            or doubtful.may_be_result(raw.data, manifest)
        )
    return (said.role, said.subject_sha256) == ("provenance", manifest)


def require_readable(raw: RawEvidence) -> None:
    """Raises VerificationFailed, reason "limits", where a file is too large to travel along."""
    if raw.unread is not None:
        raise VerificationFailed(
            f"the evidence {raw.name!r} is too large to travel with the model",
            why=f"{raw.unread}; it may be a training record, so the model does not go without it",
            fix="remove it from the evidence folder, if it is no evidence of this model",
            reason="limits",
        )


def _is_draft(data: bytes) -> bool:
    """A statement that nobody has signed binds nobody."""
    try:
        Statement.parse(data)
    except VerificationFailed:
        return False
    return True


def check_carried(data: bytes, role: str, predicate_type: str, manifest: str) -> None:
    """A statement that came along is what it is said to be, and about this model (RULES 6).

    What cannot be read comes along as a training record, since it may be one: it binds the model.
    Raises VerificationFailed "wrong-role", "evidence-subject".
    """
    from sovgate.formats import foreign

    try:
        found = foreign.statement(data)
    except VerificationFailed:
        if (role, predicate_type) == ("provenance", PREDICATE_TYPES["provenance"]):
            return
        raise
    if (found.role, found.predicate_type) != (role, predicate_type):
        raise VerificationFailed(
            f"a statement of role {found.role} came along as one of role {role}",
            why=f"its predicate type is {found.predicate_type[:200]}",
            fix="ask its source to send it again",
            reason="wrong-role",
        )
    attest.check_subject(found, manifest)


def about_others(others: Sequence[tuple[str, str]], manifest: str) -> VerificationFailed:
    """What is raised where evidence is about other models: (name, manifest) of all of it."""
    names = ", ".join(repr(name) for name, _ in others[:50])
    one = len(others) == 1
    return VerificationFailed(
        f"the evidence {names} is about another model"
        if one
        else f"{len(others)} statements of the evidence are about another model: {names}",
        why=f"{'its subject is' if one else 'the first is about'} {others[0][1]}; this model is "
        f"{manifest}",
        fix="sign the model again, which moves them to old/ in its evidence folder: "
        "sovgate sign MODEL --key URI",
        reason="evidence-subject",
    )
