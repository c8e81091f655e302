"""The records that sovgate.yaml becomes. Frozen, typed; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sovgate.errors import ConfigError, Where
from sovgate.formats.sections import did_you_mean
from sovgate.formats.yaml12 import Document
from sovgate.regions import Region


@dataclass(frozen=True, kw_only=True)
class ZoneKeys:
    """Key URIs as written; relative paths start at the project's folder."""

    sign: str | None
    sign_public: str | None
    encrypt: str | None
    encrypt_public: str | None


@dataclass(frozen=True, kw_only=True)
class CommitStyle:
    """How commits are to look. `message` is a line in which {release}, {zone} and {subject} are
    filled in; `author` is a name and an address.
    """

    message: str | None = None
    author: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class GitOps:
    """`key`: how the zone's pods name its decryption key; None where as the project does."""

    repo: str
    path: str
    kind: str
    via: str
    branch: str
    deployment: str | None
    containers: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    key: str | None = None
    commit: CommitStyle = CommitStyle()


@dataclass(frozen=True, kw_only=True)
class ZoneConfig:
    """`place` is what the catalogue, or the file itself, says of `region`.

    `verify_first`: of a push from here or to here each file is hashed before the first is sent.
    `reuse`: a push to here names chunks of earlier ones again, and its sender keeps their keys.
    """

    name: str
    region: str
    place: Region
    store: str | None
    keys: ZoneKeys
    require: str
    verify_first: bool
    reuse: bool
    gitops: GitOps | None


@dataclass(frozen=True, kw_only=True)
class DatasetRef:
    """`stays_in`: None is unknown, which denies; () is free. The manifest's own word intersects."""

    name: str
    manifest: str | None
    category: str | None
    stays_in: tuple[str, ...] | None
    lifts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BorderRule:
    allow: tuple[tuple[str, str], ...]
    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CertificateTrust:
    """`san` is None exactly where `unsafe-any-subject` says that anybody's name will do."""

    root: str
    san: str | None
    authority_leaf: bool

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The opt-ins of this entry, as they are written in the file."""
        found = (
            (self.san is None, "unsafe-any-subject"),
            (self.authority_leaf, "unsafe-authority-leaf"),
        )
        return tuple(name for used, name in found if used)


@dataclass(frozen=True, kw_only=True)
class KeylessTrust:
    """An identity that an issuer vouches for; `trusted_root` is a path, Sigstore's file."""

    identity: str
    issuer: str
    trusted_root: str


@dataclass(frozen=True, kw_only=True)
class TrustEntry:
    """Who may say what. Exactly one of `key`, `certificate` and `keyless` is set.

    `until` is set for a former signer: only what is shown to be older than that is its word.
    """

    name: str
    key: str | None
    certificate: CertificateTrust | None
    may: frozenset[str]
    zone: str | None
    until: datetime | None = None
    keyless: KeylessTrust | None = None


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """`at_least` and `at_most` are decimal text.

    test_set, baseline, positive  what it is measured on; digests are lower-case hex
    """

    name: str
    at_least: str | None
    at_most: str | None
    dataset: str | None
    before: str
    test_set: str | None = None
    baseline: str | None = None
    positive: str | None = None


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """A training record, by the SHA-256 of its file, that binds this project no longer; and why."""

    record: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """`expect` are ids of the project's own rules that `rules` must yield."""

    presets: tuple[str, ...]
    rules: str | None
    mode: str
    engine: str
    pickles: str = "refuse"
    expect: tuple[str, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    zone: str
    keep: str | None


@dataclass(frozen=True, kw_only=True)
class ProjectFile:
    """The file itself: where it lies, the SHA-256 of its bytes, and its lines."""

    path: Path
    sha256: str
    document: Document


@dataclass(frozen=True, kw_only=True)
class ProjectConfig:
    """sovgate.yaml as records; `file` is what they were read from."""

    model: str
    pattern: str | None
    zones: Mapping[str, ZoneConfig]
    datasets: Mapping[str, DatasetRef]
    border: Mapping[str, BorderRule]
    trust: tuple[TrustEntry, ...] | None
    gates: Mapping[str, GateConfig]
    policy: PolicyConfig
    audit: AuditConfig | None
    file: ProjectFile

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def document(self) -> Document:
        return self.file.document

    @property
    def evidence(self) -> str | None:
        """Where NAME.evidence of each model lies; None: beside the model."""
        named: str | None = self.document.value.get("evidence")
        return named

    def where(self, dotted: str) -> Where:
        """`where("zones.eu.store")`, `where("trust.0")`: the line, or that of the nearest above."""
        steps = tuple(int(s) if s.isdigit() else s for s in dotted.split("."))
        return self.document.where(steps)

    def zone(self, name: str) -> ZoneConfig:
        """Raises ConfigError, reason "unknown-zone"."""
        if name in self.zones:
            return self.zones[name]
        raise ConfigError(
            f"there is no zone {name[:80]!r} in {self.document.name}",
            fix=did_you_mean(name, list(self.zones)),
            where=self.where("zones"),
            reason="unknown-zone",
        )
