"""data commit: the commitment of a data set, computed where it lies, into its manifest."""

from __future__ import annotations

import io
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from sovgate.errors import ConfigError, SovgateError, UsageError, VerificationFailed
from sovgate.files import atomic_write, create_only, read_bounded
from sovgate.formats import commitment, dataset
from sovgate.pipeline.project import open_project
from sovgate.records import Advance
from sovgate.strict import b64decode, b64encode


@dataclass(frozen=True, kw_only=True)
class CommittedData:
    dataset: str
    manifest: Path
    value: str
    epoch: str
    files: int
    bytes: int
    changed: bool


def commit_data(
    data: Path,
    *,
    name: str,
    epoch: str,
    key: Path,
    project: Path | None,
    advance: Advance | None = None,
) -> CommittedData:
    """Commit to the data at `data` as data set `name`; write it into the manifest it declares.

    Comments and order of the manifest are kept. Raises ConfigError (no such data set, no manifest,
    bad key file), UsageError, DiskError.
    """
    from sovgate.stages.commit import commit

    opened = open_project(project)
    declared = opened.config.datasets.get(name)
    if declared is None or declared.manifest is None:
        raise ConfigError(
            f"data set {name[:80]!r} has no manifest in {opened.config.document.name}",
            fix=f"declare datasets.{name[:80]}.manifest",
            where=opened.config.where(f"datasets.{name}" if declared else "datasets"),
            reason="unknown-dataset",
        )
    path = opened.base / declared.manifest
    before = read_bounded(path, most=dataset.MAX_BYTES, what="dataset manifest")
    manifest = dataset.parse(before, declared.manifest)
    made = commit(data, key=_key(key), dataset=manifest.id, epoch=epoch, advance=advance)
    after = _written(before, made.value, epoch, made.bytes)
    dataset.parse(after, declared.manifest)  # what we wrote must read
    if after != before:
        atomic_write(path, after)
    return CommittedData(
        dataset=name,
        manifest=path,
        value=made.value,
        epoch=epoch,
        files=made.files,
        bytes=made.bytes,
        changed=after != before,
    )


def make_key(out: Path) -> None:
    """Write a new commitment key (0600). Never overwrites. Raises UsageError, DiskError."""
    if not create_only(
        out, b64encode(os.urandom(commitment.KEY_BYTES)).encode() + b"\n", mode=0o600
    ):
        raise UsageError(
            f"{str(out)!r} already exists",
            why="a key is never overwritten",
            fix="name another file with -o",
            reason="output-exists",
        )


def _key(path: Path) -> bytes:
    """32 bytes in base64 on one line, as `data key` writes them."""
    try:
        text = read_bounded(path, most=1024, what="commitment key").decode("ascii").strip()
        key = b64decode(text)
    except (VerificationFailed, UnicodeDecodeError):  # too large, or not base64
        key = b""
    except UsageError as error:
        error.fix = (
            f"check the path; a new key is made by: sovgate data key -o {shlex.quote(str(path))}"
        )
        raise
    if len(key) != commitment.KEY_BYTES:
        raise ConfigError(
            f"{str(path)!r} is not a commitment key",
            why="it must hold 32 bytes as base64, on one line",
            fix="sovgate data key -o FILE",
            reason="bad-key",
        )
    return key


def _written(before: bytes, value: str, epoch: str, size: int) -> bytes:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 4096
    try:
        tree = editor.load(before)
        tree["commitment"] = {"scheme": commitment.SCHEME, "epoch": epoch, "value": value}
        tree["bytes"] = size
        out = io.BytesIO()
        editor.dump(tree, out)
    except (YAMLError, SovgateError) as error:
        raise ConfigError("the dataset manifest cannot be edited", why=str(error)[:200]) from error
    return out.getvalue()
