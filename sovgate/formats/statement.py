"""in-toto Statement v1 with one subject, and the closed table of roles. Bytes <-> record, no I/O.

A role is read from the predicate type, never from a file name, and none passes for another
(RULES 3). Every statement but the OMS signature names the manifest digest as its subject.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import InternalError, Malformed, VerificationFailed
from sovgate.records import ROLES

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
SPDX = "https://spdx.dev/Document"
MAX_NAME = 512

#: What each role's statements are written as.
PREDICATE_TYPES: dict[str, str] = {
    "signature": "https://model_signing/signature/v1.0",
    "sbom": "https://cyclonedx.org/bom",
    "provenance": "https://slsa.dev/provenance/v1",
    "gate": "https://in-toto.io/attestation/test-result/v0.1",
    "decision": "https://slsa.dev/verification_summary/v1",
    "transfer": "https://sovgate.dev/transfer/v0",
    "part": "https://sovgate.dev/part/v0",
    "receipt": "https://sovgate.dev/receipt/v0",
    "promotion": "https://sovgate.dev/promotion/v0",
    "public-key": "https://sovgate.dev/public-key/v0",
    "audit": "https://sovgate.dev/audit/v0",
    "legal": "https://sovgate.dev/legal/v0",
    "waiver": "https://sovgate.dev/waiver/v0",
}
#: What each predicate type is read as.
_ROLE_OF: dict[str, str] = {kind: role for role, kind in PREDICATE_TYPES.items()} | {SPDX: "sbom"}
#: Of OMS whoever reads v1.0 reads every v1.*: a minor version adds optional fields alone.
_OMS_V1 = re.compile(r"https://model_signing/signature/v1\.(0|[1-9][0-9]{0,5})", re.ASCII)

#: What a document of the one kind of SBOM says at its top, and none of the other kind.
_CYCLONEDX_HEADS = frozenset({"bomFormat", "serialNumber", "metadata", "components", "services"})
_SPDX_HEADS = frozenset({"spdxVersion", "SPDXID", "spdxId"})

if set(PREDICATE_TYPES) != set(ROLES):
    raise InternalError("the tables of roles differ")


_START = b'{"_type":"' + STATEMENT_TYPE.encode() + b'","predicate":{'


def role_of(predicate_type: str) -> str:
    """Raises VerificationFailed, reason "unknown-predicate"."""
    role = _role(predicate_type)
    if role is None:
        raise VerificationFailed(
            f"the predicate type {predicate_type[:200]!r} has no role here",
            why=f"the known types are {', '.join(_ROLE_OF)}",
            reason="unknown-predicate",
        )
    return role


def _role(predicate_type: str) -> str | None:
    return "signature" if _OMS_V1.fullmatch(predicate_type) else _ROLE_OF.get(predicate_type)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """`subject_sha256` is the manifest digest, but for OMS, where it is the OMS root."""

    subject_name: str
    subject_sha256: str
    predicate_type: str
    predicate: dict[str, strict.JSON]

    @property
    def role(self) -> str:
        return role_of(self.predicate_type)

    @property
    def other_kind(self) -> str | None:
        """What an SBOM says that only one of the other kind would: it is read as both, or neither.

        None where it is of one kind, the one that its predicate type names.
        """
        cyclonedx = self.predicate_type == PREDICATE_TYPES["sbom"]
        heads = _SPDX_HEADS if cyclonedx else _CYCLONEDX_HEADS
        for name in self.predicate:
            if name in heads or (cyclonedx and name.startswith("@")):
                return name
        return None

    def payload(self) -> bytes:
        """The one spelling: canonical JSON. Raises InternalError for what has none (fractions)."""
        return strict.canonical(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": self.subject_name, "digest": {"sha256": self.subject_sha256}}],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Raises Malformed; VerificationFailed "unknown-predicate".

        Spelling is free, since other tools write statements too; `is_canonical` tells ours.
        Fractions are admitted in the predicates of SBOMs and OMS signatures alone, whose formats
        are not ours.
        """
        value = _loads(payload)
        top = strict.Fields(value, "statement")
        top.exactly("_type", STATEMENT_TYPE)
        predicate_type = top.text("predicateType", max_length=512)
        role_of(predicate_type)
        subjects = list(top.objects("subject"))
        predicate = top.raw("predicate")
        top.done()
        if len(subjects) != 1:
            raise Malformed(f"the statement has {len(subjects)} subjects, not one")
        name = subjects[0].text("name", max_length=MAX_NAME)
        digest = subjects[0].object("digest")
        sha256 = digest.sha256("sha256")
        digest.done()
        subjects[0].done()
        if not name:
            raise Malformed("the statement's subject has no name")
        if type(predicate) is not dict:
            raise Malformed("the statement's predicate is not an object")
        return cls(
            subject_name=name,
            subject_sha256=sha256,
            predicate_type=predicate_type,
            predicate=predicate,
        )

    def is_canonical(self, payload: bytes) -> bool:
        """Whether `payload`, which this was parsed from, is spelled as `payload()` would."""
        try:
            return payload.startswith(_START) and self.payload() == payload
        except InternalError:
            return False


def _loads(payload: bytes) -> strict.JSON:
    value = strict.loads(payload, floats=True)
    kind = value.get("predicateType") if type(value) is dict else None
    if type(kind) is not str or _role(kind) not in ("sbom", "signature"):
        _refuse_fractions(value)
    return value


def _refuse_fractions(root: strict.JSON) -> None:
    stack = [root]
    while stack:
        value = stack.pop()
        if type(value) is dict:
            stack.extend(value.values())
        elif type(value) is list:
            stack.extend(value)
        elif type(value) is float:
            raise Malformed("the statement holds a fraction", why="fractions travel as strings")
