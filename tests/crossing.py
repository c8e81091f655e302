"""A project with two zones and a signed model, to push and pull for real: files, keys, folders."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats.provenance import TrainingRecord
from sovgate.formats.statement import PREDICATE_TYPES, Statement
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.make.record import Training, record
from sovgate.records import Options, Release
from sovgate.stages import attest, inventory, sign
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store

__all__ = ["Crossing", "Statement", "TrainingRecord", "make_crossing", "tree"]

YAML = """\
version: 1
model: churn
zones:
  home:
    region: aws:us-east-1
    keys: {sign: keys/home.pem}
  eu:
    region: aws-eusc:eusc-de-east-1
    store: eu-store
    keys: {sign: keys/eu.pem, encrypt: keys/eu-enc.pem, encrypt-public: keys/eu-enc.pub.pem}
datasets:
  public: {category: public, stays-in: []}
  kyc: {category: personal, stays-in: [US]}
border:
  weights: {allow: [home -> eu]}
  metadata: {allow: [home -> eu]}
"""
FILES = {
    "model.bin": bytes(range(256)) * 40,
    "config.json": b'{"layers": 2}',
    "sub/twin.json": b'{"layers": 2}',
    "empty": b"",
}


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """`base` is the project's folder; `model` the signed model of zone home."""

    base: Path
    model: Path

    @property
    def store(self) -> Store:
        return open_store("eu-store", self.base)

    @property
    def manifest(self) -> str:
        return inventory.take(self.model).manifest.digest

    @property
    def release(self) -> Release:
        return Release(model="churn", version="1.0.0")

    def sign(self, *datasets: str) -> None:
        """Sign the model and record which data is behind it."""
        shutil.rmtree(attest.evidence_dir(self.model), ignore_errors=True)
        signer = registry.open_signer("keys/home.pem", self.base)
        path = attest.signature_path(self.model)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sign.sign(inventory.take(self.model), signer))
        record(
            self.model,
            Training(datasets=datasets or ("public",)),
            key=str(self.base / "keys" / "home.pem"),
            options=Options(project=self.base),
        )

    def evidence(self, role: str, predicate: dict[str, Any], about: str | None = None) -> Path:
        signer = registry.open_signer("keys/home.pem", self.base)
        statement = Statement(
            subject_name="churn",
            subject_sha256=about or self.manifest,
            predicate_type=PREDICATE_TYPES[role],
            predicate=predicate,
        )
        folder = attest.evidence_dir(self.model)
        return attest.add(folder, role, attest.seal(statement, signer))

    def edit(self, old: str, new: str) -> None:
        path = self.base / "sovgate.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def objects(self, prefix: str) -> list[str]:
        return list(self.store.list(prefix))

    def run(self, *arguments: object) -> tuple[int, str]:
        """A command, as at a desk in the project's folder: exit code, and what it printed."""
        both = io.StringIO()
        return self._run(both, both, arguments), both.getvalue()

    def _run(self, out: io.StringIO, err: io.StringIO, arguments: tuple[object, ...]) -> int:
        from sovgate.cli import main

        with (
            contextlib.chdir(self.base),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stop,
        ):
            main([str(argument) for argument in arguments])
        code = stop.value.code
        return code if isinstance(code, int) else 1

    def json(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        out, err = io.StringIO(), io.StringIO()
        found = self._run(out, err, (*arguments, "--format", "json"))
        assert found == code, out.getvalue() + err.getvalue()
        document: dict[str, Any] = json.loads(out.getvalue())
        return document

    def sbom(self) -> None:
        """Sign what the model is made of."""
        self.json("sbom", self.model, "--key", "keys/home.pem")

    def push(self, *more: object, release: str = "churn/1.0.0", code: int = 0) -> dict[str, Any]:
        return self.json(
            "push",
            self.model,
            "--release",
            release,
            "--zone",
            "home",
            "--to",
            "eu",
            *more,
            code=code,
        )

    def pull(self, *more: object, release: str = "churn/1.0.0", code: int = 0) -> dict[str, Any]:
        return self.json("pull", release, "--zone", "eu", "-o", "pulled", *more, code=code)


def make_crossing(base: Path, files: dict[str, bytes] | bytes | None = None) -> Crossing:
    """`files` as bytes makes a model that is one file."""
    base.mkdir(parents=True, exist_ok=True)
    (base / "sovgate.yaml").write_text(YAML)
    for name, kind, algorithm in [
        ("home", "sign", "ec-p256"),
        ("eu", "sign", "ec-p256"),
        ("eu-enc", "encrypt", "ec-p256"),
    ]:
        generate(kind, out=base / "keys" / f"{name}.pem", algorithm=algorithm)
    model = base / "model"
    if isinstance(files, bytes):
        model.write_bytes(files)
    else:
        for name, data in (files or FILES).items():
            path = model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    made = Crossing(base=base, model=model)
    made.sign()
    return made
