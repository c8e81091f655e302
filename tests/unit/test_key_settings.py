"""What stands beside a key: read from its URI, and compared with what the environment says."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate import key_settings, uri
from sovgate.errors import ConfigError
from sovgate.keys import registry
from sovgate.stores import registry as stores
from sovgate.transport import client
from tests.commands import run

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


@pytest.mark.parametrize(
    "host",
    [
        *("a..b", ".a.b", "a.b.", "a-.b", "-a.b", f"{'a' * 64}.b", f"{'a.' * 127}b", "bäo.example"),
        # What a resolver takes for an address of this machine, or of another.
        *("0x7f.1", "0x7f000001", "127.1", "2130706433", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5"),
        *("bao.0x10", "10.0.0.256", "[::ffff:7f00:1]", "[fe80::1%25eth0]", "[::1", "[1:2]"),
    ],
)
def test_a_host_that_is_none_or_has_two_spellings_is_refused(host: str) -> None:
    for scheme in ("openbao", "azurekms", "gcpkms"):
        with pytest.raises(ConfigError) as caught:
            key_settings.check(scheme, "address", f"https://{host}")
        assert caught.value.reason == "bad-uri"
    with pytest.raises(ConfigError):
        client.origin(f"https://{host}", what="store")


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ("https://[0:0:0:0:0:0:0:1]", "https://[::1]"),
        ("http://[0::1]:80", "http://[::1]:80"),
        ("https://[2001:DB8::A]:8200", "https://[2001:db8::a]:8200"),
        ("https://BAO.Example", "https://bao.example"),
        ("https://10.0.0.1/", "https://10.0.0.1"),
        ("https://xn--bo-yja.example", "https://xn--bo-yja.example"),
    ],
)
def test_an_address_has_one_spelling(written: str, spelt: str) -> None:
    assert client.origin(written, what="store") == spelt


@pytest.mark.parametrize(
    "scheme", ["AWSKMS", "OpenBao", "Hashivault", "AzureKMS", "GcpKms", "FILE"]
)
def test_a_scheme_in_capital_letters_is_no_path(scheme: str, tmp_path: Path) -> None:
    """Nor does a folder by that name make it one."""
    (tmp_path / f"{scheme}:x").write_text("no key")
    for text in (f"{scheme}://x", f"{scheme}:x"):
        with pytest.raises(ConfigError) as caught:
            registry.open_public(text, tmp_path)
    assert caught.value.reason == "unknown-scheme"
    assert f"did you mean {scheme.lower()!r}" in str(caught.value.fix)
    assert all(f"{known}:" in str(caught.value.why) for known in registry.SCHEMES)
    with pytest.raises(ConfigError) as caught:
        stores.open_store("S3://x", tmp_path)
    assert caught.value.reason == "unknown-scheme"
    (tmp_path / "sovgate.yaml").write_text(
        "version: 1\nmodel: m\nzones:\n  eu:\n    region: aws:eu-central-1\n"
        f"    keys: {{sign: '{scheme}:x'}}\n"
    )
    done = run("lint", cwd=tmp_path)
    assert done.returncode == 3
    assert "scheme-without-adapter" in done.stdout
    assert "openbao:" in done.stdout


def test_what_is_no_address_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAMESPACE", "eu/")
    key_settings.refuse_other("eu", "SOME_NAMESPACE", key="hashivault://churn")
    with pytest.raises(ConfigError):
        key_settings.refuse_other("us", "SOME_NAMESPACE", key="hashivault://churn")
