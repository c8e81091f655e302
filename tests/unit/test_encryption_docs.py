"""docs/formats.md, section "Encrypted model", shows what the vectors hold."""

from __future__ import annotations

import json
from pathlib import Path

from sovgate.formats import plan

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
VECTORS = json.loads((ROOT / "tests" / "vectors" / "encryption.json").read_text(encoding="utf-8"))
CHUNKS = json.loads((ROOT / "tests" / "vectors" / "chunks.json").read_text(encoding="utf-8"))


def test_the_worked_examples_are_the_vectors():
    for text in (VECTORS["context"]["canonical"], VECTORS["commit"]):
        assert text in PAGE, text


def test_the_worked_chunk_and_table_are_the_vectors():
    short = next(vector for vector in CHUNKS["chunks"] if vector["name"] == "forty-two")
    part = CHUNKS["part"]
    shortened = part["ad"].replace(part["list"]["sha256"], f"{part['list']['sha256'][:8]}…")
    shortened = shortened.replace(part["manifest"], f"{part['manifest'][:4]}…")
    for text in (short["ad"], short["chunk"], f"{short['sha256'][:16]}…", shortened):
        assert text in PAGE, text
    assert f"{plan.MAX_CHUNKS:,} chunks" in PAGE and f"up to {plan.MAX_PARTS} parts" in PAGE


def test_each_reason_is_in_the_table():
    for reason in (
        "wrong-key",
        "wrapped-key",
        "parts",
        "chunk-list",
        "keytable",
        "damaged",
        "digest-mismatch",
        "manifest-mismatch",
        "zone-mismatch",
        "missing-object",
        "evidence-subject",
    ):
        assert f"`{reason}`" in PAGE
