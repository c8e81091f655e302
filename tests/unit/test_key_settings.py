"""What stands beside a key: read from its URI, and compared with what the environment says."""

from __future__ import annotations

import pytest

from sovgate import key_settings, uri
from sovgate.errors import ConfigError

KEY = "awskms:///alias/x"


def test_settings_come_back_as_they_were_joined() -> None:
    text = key_settings.joined(KEY, {"region": "aws:eu-central-1", "account": "111122223333"})
    assert text == f"{KEY}?region=aws:eu-central-1&account=111122223333"
    rest, found = key_settings.split(uri.parse(text, what="key"))
    assert rest == "/alias/x"
    assert found == {"region": "aws:eu-central-1", "account": "111122223333"}
    assert key_settings.joined(KEY, {}) == KEY


@pytest.mark.parametrize(
    "query",
    [
        "",
        "x",
        "colour=red",
        "account=1",
        "account=111122223333&account=111122223333",
        "&",
        "account=",
        "account=111122223333&account=",
    ],
)
def test_what_is_no_setting_of_that_key_is_refused(query: str) -> None:
    with pytest.raises(ConfigError) as caught:
        key_settings.split(uri.parse(f"{KEY}?{query}", what="key"))
    assert caught.value.reason == "bad-uri"
    assert caught.value.fix


def test_rule_29_a_value_of_another_form_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        key_settings.check("awskms", "account", "hunter2-is-my-password")
    assert "hunter2" not in f"{caught.value.what}{caught.value.why}{caught.value.fix}"


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("https://bao.eu:8200", True),
        ("https://BAO.eu:8200/", True),
        (" https://bao.eu:8200/v1 ", True),
        ("", True),
        ("https://bao.eu", False),
        ("http://bao.eu:8200", False),
        ("https://bao.us:8200", False),
        ("bao.eu:8200", False),
        ("https://user:canary@bao.us", False),
    ],
)
def test_rule_36_an_address_of_the_environment_is_compared_and_never_used(
    monkeypatch: pytest.MonkeyPatch, said: str, same: bool
) -> None:
    monkeypatch.setenv("SOME_ADDR", said)
    key = "hashivault://churn"
    if same:
        key_settings.refuse_other_address("https://bao.eu:8200", "SOME_ADDR", key=key)
        return
    with pytest.raises(ConfigError) as caught:
        key_settings.refuse_other_address("https://bao.eu:8200", "SOME_ADDR", key=key)
    assert caught.value.reason == "address-elsewhere"
    assert caught.value.exit_code == 3
    assert "SOME_ADDR" in caught.value.what
    assert "canary" not in str(caught.value.why)


def test_what_is_no_address_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAMESPACE", "eu/")
    key_settings.refuse_other("eu", "SOME_NAMESPACE", key="hashivault://churn")
    with pytest.raises(ConfigError):
        key_settings.refuse_other("us", "SOME_NAMESPACE", key="hashivault://churn")
