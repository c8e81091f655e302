"""docs/formats.md shows what the vectors of records, gates and legal words hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sovgate import strict
from sovgate.cli import COMMANDS
from sovgate.formats import legal, provenance, testresult
from sovgate.gates.registry import GATES
from sovgate.stages.commit import commit

ROOT = Path(__file__).resolve().parents[2]
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
VECTORS = json.loads((ROOT / "tests" / "vectors" / "records.json").read_text(encoding="utf-8"))


def test_the_worked_examples_are_the_vectors() -> None:
    for name in ("training-record", "gate", "legal"):
        assert strict.canonical(VECTORS[name]).decode() in FORMATS
    assert VECTORS["commitment"]["value"] in FORMATS


def test_the_vectors_read_back() -> None:
    record = provenance.parse(VECTORS["training-record"])
    assert record.predicate() == VECTORS["training-record"]
    assert testresult.parse(VECTORS["gate"]).predicate() == VECTORS["gate"]
    assert legal.parse(VECTORS["legal"]).predicate() == VECTORS["legal"]


def test_the_commitment_of_the_vector(tmp_path: Path) -> None:
    vector = VECTORS["commitment"]
    for name, text in vector["files"].items():
        (tmp_path / name).write_text(text)
    made = commit(
        tmp_path,
        key=strict.b64decode(vector["key"]),
        dataset=vector["dataset"],
        epoch=vector["epoch"],
    )
    assert made.value == vector["value"] == VECTORS["legal"]["commitment"]


def test_every_gate_has_its_heading() -> None:
    page = (ROOT / "docs" / "gates.md").read_text(encoding="utf-8")
    assert {name for name in GATES if f"\n### {name}\n" in page} == set(GATES)


def test_commands_in_the_pages_are_there() -> None:
    for name in ("gates.md", "records.md"):
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert set(re.findall(r"^sovgate ([a-z]+)", page, re.MULTILINE)) <= set(COMMANDS)
