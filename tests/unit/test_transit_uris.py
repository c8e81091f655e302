"""`openbao://` and `hashivault://`: what a URI says, and what none may say. Asks nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovgate.errors import ConfigError
from sovgate.key_settings import SETTINGS, joined
from sovgate.keys import registry
from tests.effort import examples

AT = "address=https://bao.example.eu:8200"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (f"openbao://churn?{AT}", "bao.example.eu:8200/transit/churn"),
        (f"hashivault://churn?{AT}", "bao.example.eu:8200/transit/churn"),
        (f"openbao://churn?{AT}/", "bao.example.eu:8200/transit/churn"),
        ("openbao://churn?address=https://BAO.Example.EU", "bao.example.eu/transit/churn"),
        ("openbao://churn?address=https://bao.example.eu:443", "bao.example.eu/transit/churn"),
        (
            "openbao://churn?address=https://[2001:db8:0:0:0:0:0:1]:8200",
            "[2001:db8::1]:8200/transit/churn",
        ),
        (
            "openbao://churn?address=https://[2001:0db8::0001]:8200",
            "[2001:db8::1]:8200/transit/churn",
        ),
        (f"openbao://churn?{AT}&namespace=ml/eu/", "bao.example.eu:8200/ml/eu/transit/churn"),
        (f"openbao://churn?{AT}&namespace=root", "bao.example.eu:8200/transit/churn"),
        (f"openbao://churn?{AT}&mount=ml/eu/transit", "bao.example.eu:8200/ml/eu/transit/churn"),
        (f"openbao://churn?{AT}&version=3", "bao.example.eu:8200/transit/churn"),
        (f"openbao://churn?{AT}&login=jwt&role=ci&profile=eu", "bao.example.eu:8200/transit/churn"),
        (f"openbao://a.b-c_d?{AT}", "bao.example.eu:8200/transit/a.b-c_d"),
    ],
)
def test_a_key_has_one_spelling(uri: str, path: str) -> None:
    assert registry.canonical(uri, Path()) == f"transit:https://{path}"


@pytest.mark.parametrize(
    "uri",
    [
        "openbao://churn",
        "openbao://?" + AT,
        "openbao://a/b?" + AT,
        "openbao://../churn?" + AT,
        "openbao://.churn?" + AT,
        "openbao://churn.?" + AT,
        "openbao://chürn?" + AT,
        "openbao://churn%2fx?" + AT,
        f"openbao://churn?{AT}&mount=../sys",
        f"openbao://churn?{AT}&mount=a/../b",
        f"openbao://churn?{AT}&mount=a//b",
        f"openbao://churn?{AT}&mount=sys",
        f"openbao://churn?{AT}&mount=auth/token",
        f"openbao://churn?{AT}&mount=ns/sys",
        f"openbao://churn?{AT}&mount=ns/auth/token",
        f"openbao://churn?{AT}&mount=a/b/cubbyhole/c",
        f"openbao://churn?{AT}&namespace=team/identity",
        f"openbao://churn?{AT}&namespace=../x",
        f"openbao://churn?{AT}&namespace=a/./b",
        f"openbao://churn?{AT}&version=0",
        f"openbao://churn?{AT}&version=-1",
        f"openbao://churn?{AT}&version=latest",
        f"openbao://churn?{AT}&login=ldap",
        f"openbao://churn?{AT}&login=jwt",
        f"openbao://churn?{AT}&token=s.x",
        f"openbao://churn?{AT}&{AT}",
        "openbao://churn?address=http://bao.example.eu",
        "openbao://churn?address=https://user:pass@bao.example.eu",
        "openbao://churn?address=https://bao.example.eu/v1",
        "openbao://churn?address=ftp://bao.example.eu",
        "openbao://bao.example.eu:8200/churn",
        "hashivault://user:pass@churn?" + AT,
    ],
)
def test_what_leads_elsewhere_or_nowhere_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.check(uri, Path())
    assert caught.value.fix
    assert "pass" not in f"{caught.value.what}{caught.value.why}"


@settings(max_examples=examples(), deadline=None)
@given(
    name=st.text(max_size=40),
    more=st.dictionaries(st.sampled_from(sorted(SETTINGS["openbao"])), st.text(max_size=60)),
)
def test_every_text_is_a_key_or_an_error_of_ours(name: str, more: dict[str, str]) -> None:
    uri = joined(f"openbao://{name}", {"address": "https://bao.example.eu", **more})
    try:
        spelt = registry.canonical(uri, Path())
    except ConfigError:
        return
    assert spelt is not None
    assert spelt.startswith("transit:https://")
    assert ".." not in spelt.split("/")
