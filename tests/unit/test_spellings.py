"""RULES 43: a statement is what was signed and by whom, however its bundle is spelt. Another
spelling of what a project has set aside is set aside with it, and what counts counts once."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sovgate.formats.bundle import Bundle
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.pipeline.decide.binding import About, Weighed, weigh
from sovgate.pipeline.project import Project
from tests.signers import KeySigner
from tests.unit.test_binding import EU, HOME, MODEL, TRUSTED, future, raw, sealed


def weighed(*datas: bytes, aside: tuple[bytes, ...] = (), signature: str | None = None) -> Weighed:
    named = {hashlib.sha256(one).hexdigest(): ("a clock was wrong", "line 3") for one in aside}
    project = cast(Project, SimpleNamespace(set_aside=named, former=lambda: ()))
    now = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp())
    about = About(manifest=MODEL, release=None, now=now, signature=signature)
    return weigh([raw(data) for data in datas], trusted=TRUSTED, about=about, project=project)


def again(data: bytes, **material: Any) -> bytes:
    """The same payload and signature in a bundle that says something more around them."""
    value = json.loads(data)
    value["verificationMaterial"] |= material or {"tlogEntries": []}
    return json.dumps(value, indent=1).encode()


def signed(data: bytes, signer: KeySigner, change: tuple[bytes, bytes] = (b"", b"")) -> bytes:
    """The payload of a bundle, changed or not, signed by whoever."""
    payload = Bundle.parse(data).payload.replace(*change)
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    return Bundle(payload=payload, signature=signature, hint=signer.public_key.oms_hint).emit()


def test_rule_43_another_spelling_of_what_is_set_aside_is_set_aside_too() -> None:
    record = future()
    found = weighed(record, record + b"\n", again(record), aside=(record,))
    assert found.unclear == ()
    assert len(found.aside) == 3
    assert all("a clock was wrong" in one.reason for one in found.found.rejected)


@pytest.mark.parametrize(
    "other",
    [
        signed(future(), EU),
        signed(future(), HOME, (b"2099-01-01", b"2099-01-02")),
        again(signed(future(), EU)),
    ],
    ids=["another signer", "another payload", "another signer, spelt again"],
)
def test_rule_43_nothing_else_is_set_aside_with_it(other: bytes) -> None:
    record = future()
    (unclear,) = weighed(record, other, aside=(record,)).unclear
    assert unclear.sha256 == hashlib.sha256(other).hexdigest()
    assert len(weighed(other, aside=(record,)).unclear) == 1


def test_rule_43_a_statement_of_another_tool_counts_once_in_all_its_spellings() -> None:
    payload = json.dumps(json.loads(Bundle.parse(sealed()).payload), indent=2).encode()
    signature = HOME.sign(pae(PAYLOAD_TYPE, payload))
    hint = HOME.public_key.oms_hint
    one = Bundle(payload=payload, signature=signature, hint=hint).emit()
    for named in (one, again(one)):
        digest = hashlib.sha256(named).hexdigest()
        found = weighed(one, again(one), signature=digest)
        assert found.unclear == ()
        assert [item.sha256 for item in found.found.evidence] == [digest]
        assert len(found.found.records) == 1
        (double,) = found.found.rejected
        assert double.reason.startswith(f"duplicate: it says what {digest} says")
    both = weighed(one, signed(one, EU))  # two signers are two statements
    assert len(both.found.records) == 2
