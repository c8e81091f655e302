"""A command starts fast because of what it does not import. bench/start_up.py says how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.imports import imported
from tests.signers import KeySigner

#: Measured: jsonschema 84 ms, CycloneDX 82, importlib.metadata 43, rich 42.
NEVER = (
    "cyclonedx",
    "importlib.metadata",
    "jsonschema",
    "numpy",
    "regorus",
    "rich",
    "subprocess",
    "boto3",
    "botocore",
)
PROJECT = """\
version: 1
model: churn
zones:
  home: {region: "aws:us-east-1", keys: {sign: "file:sign.pem"}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed model, keys and a project."""
    folder, signer = tmp_path_factory.mktemp("start"), KeySigner()
    (folder / "churn").mkdir()
    (folder / "churn" / "w.bin").write_bytes(bytes(1000))
    (folder / "sign.pem").touch(mode=0o600)
    (folder / "sign.pem").write_bytes(signer.private_pem)
    (folder / "sign.pub.pem").write_bytes(signer.public_key.pem)
    (folder / "sovgate.yaml").write_text(PROJECT, encoding="utf-8")
    imported("sign", "churn", "--key", "sign.pem", cwd=folder)
    return folder


@pytest.mark.parametrize(
    ("words", "most", "not_even"),
    [
        (["--help"], 100, ("cryptography", "json", "pathlib", "yaml")),
        (["verify", "--help"], 140, ("cryptography", "yaml")),
        (["verify", "churn", "--key", "sign.pub.pem"], 230, ("yaml",)),
        (["verify", "churn"], 265, ()),
    ],
    ids=["help", "help of a command", "verify by key", "verify by project"],
)
def test_a_command_imports_little(
    place: Path, words: list[str], most: int, not_even: tuple[str, ...]
) -> None:
    names = imported(*words, cwd=place)
    assert "sovgate.cli" in names
    assert [name for name in names if name.startswith((*NEVER, *not_even))] == []
    assert len(names) <= most, sorted(names)
