"""What the functions of `import sovgate` take and answer: frozen records, and nothing but data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model whose evidence, or whose files, lie elsewhere; to be given in place of its path.

    evidence      the folder of its evidence; None: as the project says, or beside the model
    follow_links  its links are followed to files below this folder; None: none is
    """

    path: AnyPath
    evidence: AnyPath | None = None
    follow_links: AnyPath | None = None


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A model that was signed.

    manifest   the model's identity, "sha256:…"
    signature  where the signature was written
    key_id     SHA-256 of the public key (DER SPKI), hex
    """

    model: Path
    manifest: str
    signature: Path
    key_id: str
    algorithm: str
    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A model whose signed files are what a trusted signer signed; it holds no others, but for
    those that the call itself allowed.

    signer    its name: that of the entry in sovgate.yaml, or of the key's file
    unsafe    options of that entry without which the signer would not be trusted
    unsigned  where files may lie that nobody signed, as the call said: paths, or "." for anywhere
    """

    model: Path
    manifest: str
    signature: Path
    signer: str
    key_id: str
    files: int
    bytes: int
    unsafe: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checked:
    """An action that policy allows.

    permits   what lets it pass: "border (sovgate.yaml:12)", "same-zone"
    warnings  rules that would deny if they were not in mode "warn"
    case      digest of the facts that were decided on, "sha256:…"; `policy` of the rules
    """

    action: str
    question: str
    permits: tuple[str, ...]
    warnings: tuple[str, ...]
    case: str
    policy: str


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A release in a zone's store; of a dry run, what it would be (then `record` is None).

    zone         where it was pushed to
    release      pinned, "NAME/VERSION@sha256:…": what to hand to `pull`
    crossed      bytes of ciphertext and evidence that were written, or would be
    left_behind  statements that did not travel along, each with the reason
    already      it was there before, the same and whole
    record       SHA-256 of the release record in the store, hex
    audit_head   head of this run in the audit log; note it
    """

    zone: str
    release: str
    manifest: str
    store: str
    crossed: int
    left_behind: tuple[str, ...]
    already: bool
    dry_run: bool
    record: str | None
    audit_head: str | None


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A release that was verified, allowed and decrypted.

    release  pinned, "NAME/VERSION@sha256:…"
    pinned   it was asked for by its pin; if not, the store chose among what was signed
    already  the model was there and verifies: only what was missing was written
    receipt  SHA-256 of the receipt, hex
    """

    release: str
    manifest: str
    model: Path
    evidence: Path
    source: str
    pinned: bool
    already: bool
    receipt: str
    audit_head: str
