"""Statements about what moves, audit entry, sequence claim: their hand-made vectors."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import Malformed
from sovgate.formats import transfer
from sovgate.formats.auditentry import Entry, object_name, parse_object_name
from sovgate.formats.partrecord import PartRecord
from sovgate.formats.promotion import Promotion
from sovgate.formats.publickey import ZonePublicKey
from sovgate.formats.receipt import Receipt
from sovgate.formats.transfer import Claim, Transfer, chunk_name, record_name, sequence_name
from sovgate.records import Release

VECTORS = Path(__file__).parent.parent / "vectors"
FORMATS: dict[str, Any] = {
    "transfer": Transfer,
    "part": PartRecord,
    "receipt": Receipt,
    "promotion": Promotion,
    "public-key": ZonePublicKey,
    "audit": Entry,
}
#: Fields that earlier versions did not write.
LATER = ("release-file",)


def vector(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return document


def parse(name: str, predicate: Any) -> Any:
    subject = vector(name)["subject"]
    return FORMATS[name].parse(predicate, name=subject["name"], manifest=subject["sha256"])


def changed(base: Any, case: dict[str, Any]) -> Any:
    base = copy.deepcopy(base)
    *above, last = [int(s) if s.isdigit() else s for s in case["at"].split(".")]
    place = base
    for step in above:
        place = place[step]
    if "to" in case:
        place[last] = case["to"]
    else:
        del place[last]
    return base


@pytest.mark.parametrize("name", FORMATS)
def test_a_good_document_reads_and_writes_to_the_same_bytes(name: str) -> None:
    document = vector(name)
    record = parse(name, document["base"])
    written = strict.canonical(record.predicate())
    assert written == strict.canonical(document["base"])
    assert hashlib.sha256(written).hexdigest() == document["canonical-sha256"]
    assert parse(name, strict.loads(written)) == record


@pytest.mark.parametrize("name", FORMATS)
def test_the_worked_example_of_the_documentation_is_the_vector(name: str) -> None:
    page = (VECTORS.parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(\{\n.*?\n\})\n```", page, re.DOTALL)
    assert vector(name)["base"] in [json.loads(block) for block in blocks]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, id=f"{name}-{case['name']}")
        for name in FORMATS
        for case in vector(name)["refused"]
    ],
)
def test_a_bad_document_is_refused(name: str, case: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        parse(name, changed(vector(name)["base"], case))
    assert caught.value.reason == case["reason"]
    assert caught.value.exit_code == 11


def _paths(value: Any, above: str = "") -> list[str]:
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in items:
        path = f"{above}.{key}" if above else str(key)
        found.append(path)
        if isinstance(below, (dict, list)):
            found += _paths(below, path)
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_every_field_is_required_and_typed(name: str) -> None:
    base = vector(name)["base"]
    lists = (".0", ".1")
    for path in _paths(base):
        for wrong in ({"at": path, "to": 1.5}, {"at": path, "to": [[]]}, {"at": path}):
            if (path.endswith(lists) or path in LATER) and "to" not in wrong:
                continue  # a shorter list is another good document; so is what came later
            with pytest.raises(Malformed):
                parse(name, changed(base, wrong))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_arbitrary_documents_are_refused_and_nothing_else(value: Any) -> None:
    for name in FORMATS:
        with pytest.raises(Malformed):
            parse(name, value)


def test_a_claim_reads_and_writes_to_the_same_bytes() -> None:
    claim = Claim(release=Release(model="churn", version="1.0.0"), manifest="1" * 64, sequence=7)
    data = claim.emit()
    assert data == (
        b'{"format":"sovgate.sequence/v0","manifest":"' + b"1" * 64 + b'",'
        b'"release":"churn/1.0.0","sequence":7}'
    )
    assert Claim.parse(data) == claim


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_every_changed_byte_of_a_claim_is_refused_or_says_something_else(flip: int) -> None:
    claim = Claim(release=Release(model="churn", version="1.0.0"), manifest="1" * 64, sequence=7)
    data = claim.emit()
    for position in range(len(data)):
        spoilt = bytearray(data)
        spoilt[position] ^= flip
        try:
            assert Claim.parse(bytes(spoilt)) != claim
        except Malformed:
            continue
    for cut in range(len(data)):
        with pytest.raises(Malformed):
            Claim.parse(data[:cut])


def test_names_in_the_store() -> None:
    release = Release(model="churn", version="1.0.0", pin="1" * 64)
    assert record_name(release) == "releases/churn/1.0.0.json"
    assert chunk_name("a" * 64) == "chunks/sha256/" + "a" * 64
    assert transfer.object_name("a" * 64) == "objects/sha256/" + "a" * 64
    assert sequence_name("churn", 12) == "sequences/churn/000000000012.json"
    assert object_name("0" * 32, 12) == "audit/" + "0" * 32 + "/0012.json"
    assert parse_object_name("audit/" + "0" * 32 + "/0012.json") == ("0" * 32, 12)


@pytest.mark.parametrize(
    "name",
    [
        "audit/" + "0" * 32 + "/012.json",
        "audit/" + "0" * 32 + "/00012.json",
        "audit/" + "0" * 31 + "/0012.json",
        "audit/" + "0" * 32 + "/0012.json.bak",
        "audit/0012.json",
        "audit/" + "0" * 32 + "/٠٠١٢.json",
    ],
)
def test_rule_28_two_names_for_one_audit_entry_cannot_be(name: str) -> None:
    with pytest.raises(Malformed):
        parse_object_name(name)
