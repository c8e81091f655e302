"""PKCS#11 URIs: what RFC 7512 lets one say, what is refused, and that no PIN is ever repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import uri as uris
from sovgate.errors import ConfigError
from sovgate.formats.pkcs11uri import Module, Pkcs11Uri, escape, parse

KEY = "pkcs11:token=eu;object=sign"


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value


def test_what_p11tool_prints_is_read() -> None:
    read = parse(
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=e3b163bbbef5336d;"
        "token=eu%20hsm;id=%01%ab;object=sign;type=private"
    )
    assert read == Pkcs11Uri(
        token="eu hsm",
        manufacturer="SoftHSM project",
        serial="e3b163bbbef5336d",
        model="SoftHSM v2",
        label="sign",
        id=b"\x01\xab",
    )


def test_what_stands_beside_it_is_read() -> None:
    read = parse(
        f"{KEY}?module-path=/usr/lib/softhsm/libsofthsm2.so&module-sha256={'ab' * 32}"
        "&module-variable=SOFTHSM2_CONF%3D/etc/softhsm2.conf&pin-source=file:/run/secrets/pin"
        "&public-key=keys/eu%20sign.pem"
    )
    assert read.module == Module(
        path="/usr/lib/softhsm/libsofthsm2.so",
        sha256="ab" * 32,
        variable=("SOFTHSM2_CONF", "/etc/softhsm2.conf"),
    )
    assert read.pin_source == "/run/secrets/pin"
    assert read.public_key == "keys/eu sign.pem"
    assert read.key == KEY  # neither module nor PIN is part of what a key is called


def test_a_key_has_one_spelling() -> None:
    assert parse("pkcs11:object=%73ign;token=%65u").key == KEY
    assert parse("pkcs11:object=sign;token=eu;type=public").key == KEY
    assert parse("pkcs11:token=a%2fb;object=c%3Bd").key == "pkcs11:token=a%2Fb;object=c%3Bd"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("pkcs11:", "no token"),
        ("pkcs11://token=eu;object=a", "no //"),
        ("pkcs11:token=eu", "no key in its token"),
        ("pkcs11:object=sign", "no token"),
        ("pkcs11:token=eu;token=us;object=a", "twice"),
        ("pkcs11:token=eu;object=a;object=b", "twice"),
        (f"{KEY}?pin-source=file:/a&pin-source=file:/b", "twice"),
        ("pkcs11:token=eu;object=a;", "no NAME=VALUE"),
        ("pkcs11:token=eu;;object=a", "no NAME=VALUE"),
        ("pkcs11:token=eu;object", "no NAME=VALUE"),
        ("pkcs11:token=eu;object=a?", "no NAME=VALUE"),
        (f"{KEY}?pin-source=", "empty"),
        ("pkcs11:token=;object=a", "empty"),
        ("pkcs11:token=eu;id=", "empty"),
        ("pkcs11:Token=eu;object=a", "not known"),
        ("pkcs11:token=eu;object=a;x-colour=red", "not known"),
        ("pkcs11:tok%65n=eu;object=a", "no NAME=VALUE"),
        (f"{KEY}?colour=red", "not known"),
        (f"{KEY}?max-slots=1", "not known"),
        ("pkcs11:token=eu hsm;object=a", "characters"),
        ("pkcs11:token=eü;object=a", "characters"),
        ("pkcs11:token=e%u;object=a", "characters"),
        ("pkcs11:token=e%4;object=a", "characters"),
        ("pkcs11:token=eu/a;object=a", "characters"),
        ("pkcs11:token=eu#a;object=a", "characters"),
        ("pkcs11:token=eu;object=%ff", "UTF-8"),
        ("pkcs11:token=eu;object=%00", "control"),
        ("pkcs11:token=eu;object=a%0ab", "control"),
        ("pkcs11:token=eu;object=a%E2%80%AE", "control"),
        ("pkcs11:token=eu%20;object=a", "space"),
        (f"pkcs11:token={'e' * 33};object=a", "32 bytes"),
        (f"pkcs11:token=eu;serial={'1' * 17};object=a", "16 bytes"),
        (f"pkcs11:token=eu;object={'a' * 257}", "256 bytes"),
        ("pkcs11:token=eu;object=a;type=secret-key", "type"),
        ("pkcs11:token=eu;object=a;type=cert", "type"),
        ("pkcs11:slot-id=3;token=eu;object=a", "numbered anew"),
        ("pkcs11:library-version=3;token=eu;object=a", "module-sha256"),
        (f"{KEY}?module-name=softhsm", "folders that nobody named"),
        (f"{KEY}?module-path=softhsm.so", "absolute"),
        (f"{KEY}?module-path=//a/b.so", "absolute"),
        (f"{KEY}?module-path=/a/../b.so", "absolute"),
        (f"{KEY}?module-path=/a.so&module-sha256={'AB' * 32}", "64 hex"),
        (f"{KEY}?module-sha256={'ab' * 32}", "no module-path"),
        (f"{KEY}?module-variable=A%3Db", "no module-path"),
        (f"{KEY}?module-path=/a.so&module-variable=LD_PRELOAD%3D/b.so", "loads other code"),
        (f"{KEY}?module-path=/a.so&module-variable=PATH%3D/b", "loads other code"),
        (f"{KEY}?module-path=/a.so&module-variable=novalue", "NAME=VALUE"),
        (f"{KEY}?pin-source=/run/pin", "file:"),
        (f"{KEY}?pin-source=file:pin", "file:"),
        (f"{KEY}?pin-source=file:/a/../b", "file:"),
        (f"{KEY}?pin-source=https://a/pin", "file:"),
        (f"{KEY}?pin-source=|/usr/bin/pin", "program"),
        (f"{KEY}?pin-source=%7C/usr/bin/pin", "program"),
        (f"{KEY}?pin-source=file://host/pin", "file:"),
    ],
)
def test_what_is_not_meant_is_refused(text: str, why: str) -> None:
    error = refused(text)
    assert error.reason == "bad-uri"
    assert why in str(error.why)
    assert error.fix


def test_three_slashes_are_a_file_too() -> None:
    assert parse(f"{KEY}?pin-source=file:///run/pin").pin_source == "/run/pin"


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY}?pin-value=CANARY",
        f"{KEY}?PIN-VALUE=CANARY",
        f"{KEY}?pin%2Dvalue=CANARY",
        f"{KEY}?pin%2dval%75e=CANARY",
        f"{KEY}?pin=CANARY",
        f"{KEY}?user-pin=CANARY",
        f"{KEY};pin-value=CANARY",
        f"{KEY}?pin-source=CANARY",
        f"{KEY}?colour=CANARY",
        f"{KEY}?module-path=CANARY",
        f"{KEY}?module-path=/a.so&module-variable=CANARY",
        f"{KEY};colour=CANARY",
        f"{KEY};CANARY",
        f"{KEY}?CANARY",
        f"{KEY};serial=CANARYCANARYCANARY",
    ],
)
def test_rule_29_no_value_is_repeated_in_an_error(text: str) -> None:
    """Whoever writes a PIN under a wrong name does not find it in the log."""
    with pytest.raises(ConfigError) as caught:
        parse(uris.parse(text, what="key").text)
    error = caught.value
    assert "CANARY" not in f"{error} {error.what} {error.why} {error.fix} {error.details}"


@pytest.mark.parametrize(
    "text", [f"{KEY}?pin-value=1", f"{KEY}?pin%2Dvalue=1", f"{KEY}?PIN_VALUE=1", "pkcs11:pin=1"]
)
def test_rule_29_a_pin_is_refused_before_a_uri_is_shown_anywhere(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        uris.parse(text, what="key")
    assert caught.value.reason == "secret-in-uri"


labels = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8
)


@given(labels, labels, st.none() | st.binary(min_size=1, max_size=256))
def test_what_is_written_is_read_again(token: str, label: str, number: bytes | None) -> None:
    written = Pkcs11Uri(token=token, label=label, id=number)
    if token.isprintable() and label.isprintable():
        assert parse(written.key) == written
        assert parse(written.key).key == written.key


@given(st.text(max_size=60) | st.text("pkcs1:;=?&%token objectidpin-sur/file0aA", max_size=60))
def test_nothing_but_a_key_or_a_refusal_comes_of_any_text(text: str) -> None:
    for tried in (text, f"pkcs11:{text}", f"{KEY};{text}", f"{KEY}?{text}"):
        try:
            read = parse(tried)
        except ConfigError as error:
            assert error.reason in ("bad-uri", "secret-in-uri")
        else:
            assert parse(read.key).key == read.key


@given(st.binary(max_size=40))
def test_an_id_is_bytes_of_any_kind(number: bytes) -> None:
    if number:
        assert parse(f"pkcs11:token=eu;id={escape(number)}").id == number


@pytest.mark.parametrize("scheme", ["PKCS11", "Pkcs11", "pkCS11"])
def test_rule_29_a_pin_after_a_scheme_in_capital_letters_is_no_path_to_show(scheme: str) -> None:
    with pytest.raises(ConfigError) as caught:
        uris.parse(f"{scheme}:token=x;object=y?pin-value=CANARY", what="key")
    assert "CANARY" not in f"{caught.value.what}{caught.value.why}{caught.value.fix}"
    assert uris.parse(f"{scheme}:token=x", what="key").scheme == scheme  # which nobody serves
    named = uris.parse(f"./{scheme}:token=x", what="key")
    assert named.scheme == "file"
