"""Keys in tokens: what is found, what is refused, and that a module's failure is a clean no.

Two real modules behind a shim that fails on demand (tests/tokens.py). The conformance suite has
what every key service must do; here is what only tokens do.
"""

from __future__ import annotations

import gc
import hashlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sovgate.errors import ConfigError, KeyServiceError, SovgateError, VerificationFailed
from sovgate.formats.wrap import Context
from sovgate.key_settings import vouch
from sovgate.keys import registry
from sovgate.keys.pkcs11 import process
from sovgate.uri import parse
from tests import components, tokens
from tests.pace import until
from tests.tokens import PIN, Token

CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
KEY = bytes(range(32))
KINDS: dict[str, Callable[[Path], Token]] = {"nss": tokens.nss, "softhsm": tokens.softhsm}
_made: dict[str, Token] = {}


@pytest.fixture(params=sorted(KINDS))
def token(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Token:
    return _token(request.param, tmp_path_factory)


@pytest.fixture
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Token:
    return _token("softhsm", tmp_path_factory)


def _token(kind: str, factory: pytest.TempPathFactory) -> Token:
    if kind not in _made:
        made = components.found(KINDS[kind], factory.mktemp(kind))
        made.make(
            {"label": "sign", "kind": "ec-p256", "id": "01"},
            {"label": "rsa", "kind": "rsa-2048", "id": "02"},
            {"label": "twin", "kind": "ec-p256", "id": "03"},
            {"label": "twin", "kind": "ec-p256", "id": "04"},
            {"label": "half", "kind": "ec-p256", "id": "05", "no-public": True},
            {"label": "k256", "kind": "secp256k1" if kind == "softhsm" else "ec-p256", "id": "06"},
        )
        _made[kind] = made
    return _made[kind]


@pytest.fixture(autouse=True)
def pin(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what an earlier test's error still holds open is let go."""
    monkeypatch.setenv("SOVGATE_PIN", PIN)
    gc.collect()


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    project = tmp_path / "project"
    project.mkdir()
    return project


def refusal(open_it: Callable[[], object]) -> SovgateError:
    with pytest.raises(SovgateError) as caught:
        open_it()
    error = caught.value
    assert PIN not in f"{error} {error.why} {error.fix} {error.details} {error.data}"
    return error


def named(text: str) -> str:
    vouch(parse(text, what="key"), Path("/etc"))
    return text


# --- finding one key -------------------------------------------------------------------------


def test_a_key_is_found_by_label_by_id_and_by_the_serial_of_its_token(
    token: Token, base: Path
) -> None:
    by_label = registry.open_public(token.uri("sign"), base)
    head = token.uri("sign").split(";")[0]
    by_id = registry.open_public(named(f"{head};id=%01{token.settings()}"), base)
    assert by_label == by_id
    serial = refusal(
        lambda: registry.open_public(named(f"pkcs11:serial=0;id=%01{token.settings()}"), base)
    )
    assert serial.reason == "no-token"
    assert token.label.replace(" ", "%20") in str(serial.why)


def test_two_keys_of_one_label_are_refused_until_one_is_named(token: Token, base: Path) -> None:
    error = refusal(lambda: registry.open_signer(token.uri("twin"), base))
    assert (error.reason, error.exit_code) == ("two-keys", 20)
    assert "%03" in str(error.why)
    assert "%04" in str(error.why)
    uri = named(token.uri("twin").replace("object=twin", "object=twin;id=%03"))
    signer = registry.open_signer(uri, base)
    signer.public_key.verify(b"m", signer.sign(b"m"))


def test_a_key_that_is_not_there_is_told(token: Token, base: Path) -> None:
    error = refusal(lambda: registry.open_signer(token.uri("nobody"), base))
    assert (error.reason, error.exit_code) == ("no-such-key", 20)


def test_two_tokens_of_one_label_are_refused(base: Path, tmp_path: Path) -> None:
    components.found(tokens.softhsm, tmp_path / "t")
    two = tokens.softhsm(tmp_path / "t")
    error = refusal(lambda: registry.open_signer(two.uri("sign"), base))
    assert error.reason == "two-tokens"
    assert "serial=" in str(error.fix)


def test_a_public_half_that_the_token_lacks_can_stand_beside_the_key(
    softhsm: Token, token: Token, base: Path
) -> None:
    error = refusal(lambda: registry.open_signer(softhsm.uri("half"), base))
    assert error.reason == "no-public-half"
    other = registry.open_public(token.uri("sign"), base)
    (base / "half.pem").write_bytes(other.pem)
    signer = registry.open_signer(softhsm.uri("half", **{"public-key": "half.pem"}), base)
    assert refusal(lambda: signer.sign(b"m")).reason == "bad-signature"  # it is another's
    error = refusal(
        lambda: registry.open_signer(softhsm.uri("twin", **{"public-key": "half.pem"}), base)
    )
    assert error.reason == "two-keys"


def test_a_public_half_beside_the_key_is_compared_with_the_tokens(token: Token, base: Path) -> None:
    rsa = registry.open_public(token.uri("rsa"), base)
    (base / "other.pem").write_bytes(rsa.pem)
    for open_it in (registry.open_signer, registry.open_public, registry.open_recipient):
        error = refusal(lambda o=open_it: o(token.uri("sign", **{"public-key": "other.pem"}), base))
        assert (error.reason, error.exit_code) == ("wrong-key", 20)


def test_a_key_that_only_its_certificate_names_is_found(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NSS's own tools make them."""
    folder = tmp_path / "nss"
    mine = components.found(tokens.nss, folder)
    tokens.certified(folder, "by-certificate", "-k", "ec", "-q", "nistp256")
    tokens.certified(folder, "wraps", "-k", "rsa", "-g", "2048")
    signer = registry.open_signer(mine.uri("by-certificate"), base)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    recipient = registry.open_recipient(mine.uri("wraps"), base)
    identity = registry.open_identity(mine.uri("wraps"), base)
    assert identity.unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY
    monkeypatch.delenv("SOVGATE_PIN")  # certificates are there for all to see
    del signer, recipient, identity
    assert registry.open_public(mine.uri("wraps"), base).algorithm == "rsa-2048"


# --- what each token can do ------------------------------------------------------------------


def test_softhsm_cannot_open_rsa_and_says_what_can(softhsm: Token, base: Path) -> None:
    error = refusal(lambda: registry.open_identity(softhsm.uri("rsa"), base))
    assert (error.reason, error.exit_code) == ("unsupported-key-use", 3)
    assert "SHA-1" in str(error.why)
    assert "P-256" in str(error.fix)


def test_what_is_wrapped_for_the_public_file_opens_in_the_token(token: Token, base: Path) -> None:
    """The formats are those of key files: a sender needs the PEM alone."""
    public = registry.open_public(token.uri("sign"), base)
    (base / "eu.pub.pem").write_bytes(public.pem)
    recipient = registry.open_recipient("eu.pub.pem", base)
    identity = registry.open_identity(token.uri("sign"), base)
    assert (identity.key_id, identity.algorithm) == (recipient.key_id, recipient.algorithm)
    for _ in range(8):
        assert identity.unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_a_point_that_is_not_on_the_curve_never_reaches_the_token(token: Token, base: Path) -> None:
    identity = registry.open_identity(token.uri("sign"), base)
    token.log.unlink(missing_ok=True)
    wrapped = registry.open_recipient(token.uri("sign"), base).wrap(KEY, CONTEXT)
    for bad in (b"\x04" + bytes(64), b"\x02" + wrapped[1:33] + bytes(32), wrapped[:64] + b"\0"):
        with pytest.raises(VerificationFailed):
            identity.unwrap(bad + wrapped[65:], CONTEXT)
    assert "derive" not in token.calls()


def test_a_curve_that_is_not_ours_is_refused(softhsm: Token, base: Path) -> None:
    error = refusal(lambda: registry.open_signer(softhsm.uri("k256"), base))
    assert error.reason == "unsupported-key-use"


def test_a_key_whose_secret_lies_open_is_refused(softhsm: Token, base: Path) -> None:
    softhsm.make(
        {
            "label": "open",
            "kind": "ec-p256",
            "private": {"SENSITIVE": False, "EXTRACTABLE": True},
        },
        {"label": "wrappable", "kind": "ec-p256", "private": {"EXTRACTABLE": True}},
    )
    error = refusal(lambda: registry.open_signer(softhsm.uri("open"), base))
    assert (error.reason, error.exit_code) == ("bare-key", 20)
    assert registry.open_signer(softhsm.uri("wrappable"), base)


# --- the PIN ---------------------------------------------------------------------------------


def test_a_wrong_pin_is_tried_once_and_never_again(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = components.found(tokens.softhsm, tmp_path / "t")
    mine.make({"label": "sign", "kind": "ec-p256"})
    monkeypatch.setenv("SOVGATE_PIN", "0000-wrong")
    for _ in range(3):
        error = refusal(lambda: registry.open_signer(mine.uri("sign"), base))
        assert (error.reason, error.exit_code) == ("pin-wrong", 20)
        assert "SOVGATE_PIN was refused" in str(error.why)  # whichever call a command tells of
        assert "0000-wrong" not in f"{error} {error.why} {error.fix}"
    assert mine.calls().count("login") == 1
    assert mine.calls().count("open") == 1
    assert mine.calls()[-1] == "finalize"


@pytest.mark.parametrize(
    ("fault", "reason"), [("final-try", "pin-last-try"), ("locked", "pin-locked")]
)
def test_a_token_near_its_lock_is_not_tried(
    softhsm: Token, base: Path, fault: str, reason: str
) -> None:
    softhsm.log.unlink(missing_ok=True)
    error = refusal(lambda: registry.open_signer(softhsm.uri("sign", fault), base))
    assert (error.reason, error.exit_code) == (reason, 20)
    assert "login" not in softhsm.calls()


def test_without_a_pin_only_public_halves_are_told(
    token: Token, base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SOVGATE_PIN")
    monkeypatch.setenv("CI", "true")
    error = refusal(lambda: registry.open_signer(token.uri("sign"), base))
    assert error.reason == "pin-missing"
    assert "SOVGATE_PIN" in str(error.fix)
    token.log.unlink(missing_ok=True)
    assert registry.open_public(token.uri("sign"), base)
    assert "login" not in token.calls()
    pin = tmp_path / "pin"
    pin.write_text(f"{PIN}\n")
    pin.chmod(0o600)
    assert registry.open_signer(token.uri("sign", **{"pin-source": f"file:{pin}"}), base)


def test_rule_29_what_a_module_prints_reaches_nobody(
    softhsm: Token, base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    signer = registry.open_signer(softhsm.uri("sign", "talks"), base)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    said = capfd.readouterr()
    assert PIN not in said.out + said.err + repr(signer)


def test_rule_29_the_pin_is_in_no_argument_and_no_environment_of_the_modules_process(
    softhsm: Token, base: Path
) -> None:
    signer = registry.open_signer(softhsm.uri("sign"), base)
    found = 0
    for number in os.listdir("/proc"):  # noqa: PTH208 (names alone)
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes()
            environment = Path(f"/proc/{number}/environ").read_bytes()
        except OSError:
            continue
        if b"pkcs11/worker.py" in command and str(softhsm.module).encode() in command:
            found += 1
            assert PIN.encode() not in command + environment
            assert environment.split(b"=")[0] == b"SHIM"  # and nothing of ours
            assert environment.count(b"\0") <= 1
    assert found
    assert signer


def test_a_key_that_wants_the_pin_at_each_use_gets_it(softhsm: Token, base: Path) -> None:
    softhsm.make(
        {"label": "always", "kind": "ec-p256", "private": {"ALWAYS_AUTHENTICATE": True}},
    )
    signer = registry.open_signer(softhsm.uri("always"), base)
    for message in (b"one", b"two"):
        signer.public_key.verify(message, signer.sign(message))
    assert softhsm.calls().count("login") == 3


# --- sessions --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["none", "failed-sign", "removed-sign", "other-signature"])
def test_a_session_is_read_only_and_closed_whatever_happened(
    token: Token, base: Path, fault: str
) -> None:
    token.log.unlink(missing_ok=True)
    signer = registry.open_signer(token.uri("sign", fault), base)
    try:
        signer.sign(b"m")
    except KeyServiceError:
        assert fault != "none"
    del signer
    calls = token.calls()
    assert calls.count("open") == calls.count("close") == 1
    assert "open-to-write" not in calls
    assert calls[-1] == "finalize"


def test_keys_of_one_token_share_a_session(token: Token, base: Path) -> None:
    token.log.unlink(missing_ok=True)
    held = [registry.open_signer(token.uri("sign"), base) for _ in range(3)]
    held.append(registry.open_signer(token.uri("twin").replace("twin", "twin;id=%03"), base))
    assert token.calls().count("login") == 1
    assert len({signer.sign(b"m") for signer in held}) == 4


# --- modules that fail -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash-sign", "no-answer"),
        ("exit-sign", "no-answer"),
        ("failed-sign", "service"),
        ("removed-sign", "token-gone"),
        ("other-signature", "bad-signature"),
        ("short-signature", "bad-signature"),
    ],
)
def test_a_module_that_fails_gives_no_signature(
    softhsm: Token, base: Path, fault: str, reason: str
) -> None:
    signer = registry.open_signer(softhsm.uri("sign", fault), base)
    error = refusal(lambda: signer.sign(b"m"))
    assert (error.reason, error.exit_code) == (reason, 20)
    if reason == "no-answer":  # and no second try of what ended its process
        assert refusal(lambda: signer.sign(b"m")).reason == "no-answer"


def test_an_old_signature_in_place_of_a_new_one_is_seen(softhsm: Token, base: Path) -> None:
    signer = registry.open_signer(softhsm.uri("sign", "same-signature"), base)
    signer.sign(b"one")
    assert refusal(lambda: signer.sign(b"two")).reason == "bad-signature"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash-initialize", "no-answer"),
        ("exit-initialize", "no-answer"),
        ("failed-initialize", "module-not-loaded"),
        ("crash-find", "no-answer"),
        ("failed-find", "service"),
        ("no-mechanisms", "no-mechanism"),
    ],
)
def test_a_module_that_fails_opens_no_key(
    softhsm: Token, base: Path, fault: str, reason: str
) -> None:
    error = refusal(lambda: registry.open_signer(softhsm.uri("sign", fault), base))
    assert (error.reason, error.exit_code) == (reason, 20)
    assert error.fix


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("failed-derive", "service"), ("crash-derive", "no-answer"), ("removed-derive", "token-gone")],
)
def test_a_module_that_fails_unwraps_nothing(
    token: Token, base: Path, fault: str, reason: str
) -> None:
    error = refusal(lambda: registry.open_identity(token.uri("sign", fault), base))
    assert (error.reason, error.exit_code) == (reason, 20)


def test_a_token_that_opens_to_other_bytes_is_another_key(base: Path, token: Token) -> None:
    if token.label != "NSS Certificate DB":
        return  # SoftHSM opens no RSA
    error = refusal(lambda: registry.open_identity(token.uri("rsa", "other-plaintext"), base))
    assert (error.reason, error.exit_code) == ("wrong-key", 20)


def test_a_module_that_hangs_is_ended(
    softhsm: Token, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = registry.open_signer(softhsm.uri("sign", "hang-sign"), base)
    monkeypatch.setattr(process, "TIMEOUT", 0.2)
    error = refusal(lambda: signer.sign(b"m"))
    assert (error.reason, error.exit_code) == ("timed-out", 20)


def test_a_module_that_hangs_does_not_outlive_who_asked_it(softhsm: Token) -> None:
    """A killed command ends nothing itself: the module's own process sees that nobody is left."""
    ours, theirs = socket.socketpair()
    name, _, value = softhsm.variable("hang-initialize").partition("=")
    script = Path(process.__file__).with_name("worker.py")
    command = [sys.executable, "-I", "-S", str(script), str(softhsm.module), process._packages()]
    softhsm.log.unlink(missing_ok=True)
    with subprocess.Popen(command, stdin=theirs.fileno(), env={name: value}) as hung:
        theirs.close()
        until(lambda: "hangs" in softhsm.calls(), "the module to hang")
        ours.close()
        until(lambda: hung.poll() is not None, "the process of the module to end")


# --- which module ----------------------------------------------------------------------------


def test_rule_36_a_module_that_no_project_file_names_is_not_loaded(
    softhsm: Token, base: Path
) -> None:
    digest = hashlib.sha256(softhsm.module.read_bytes()).hexdigest()
    # Other words than those that `uri` vouched for, each a way to load other code.
    for more in ("&module-sha256=" + digest, ""):
        text = softhsm.uri("sign") + more
        text = text.replace("SHIM%3Dnone", "SHIM%3Dtyped") if not more else text
        error = refusal(lambda t=text: registry.open_signer(t, base))
        assert (error.reason, error.exit_code) == ("module-not-in-project", 3)


def test_a_key_without_a_module_is_told_where_one_is_named(base: Path) -> None:
    error = refusal(lambda: registry.open_signer("pkcs11:token=eu;object=sign", base))
    assert (error.reason, error.exit_code) == ("no-module", 3)
    assert "module-path" in str(error.fix)


def test_a_module_is_pinned_by_its_digest(softhsm: Token, base: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(softhsm.module.read_bytes()).hexdigest()
    assert registry.open_signer(softhsm.uri("sign", **{"module-sha256": digest}), base)
    error = refusal(
        lambda: registry.open_signer(softhsm.uri("sign", **{"module-sha256": "ab" * 32}), base)
    )
    assert (error.reason, error.exit_code) == ("module-digest", 11)
    assert digest in str(error.why)


@pytest.fixture
def copied(softhsm: Token, tmp_path: Path) -> Callable[[Path], str]:
    """The URI of the key, with the module copied to a place."""

    def at(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(softhsm.module.read_bytes())
        return named(softhsm.uri("sign").replace(str(softhsm.module), str(path)))

    return at


def test_a_module_in_the_project_is_not_loaded(base: Path, copied: Callable[[Path], str]) -> None:
    uri = copied(base / "lib" / "module.so")
    error = refusal(lambda: registry.open_signer(uri, base))
    assert (error.reason, error.exit_code) == ("module-in-project", 3)


def test_a_module_in_a_repository_is_not_loaded(
    base: Path, tmp_path: Path, copied: Callable[[Path], str]
) -> None:
    uri = copied(tmp_path / "checkout" / "lib" / "module.so")
    assert registry.open_signer(uri, base)
    (tmp_path / "checkout" / ".git").mkdir()
    error = refusal(lambda: registry.open_signer(uri, base))
    assert (error.reason, error.exit_code) == ("module-in-project", 3)


def test_a_modules_settings_in_the_project_or_a_repository_load_nothing(
    softhsm: Token, base: Path, tmp_path: Path
) -> None:
    """p11-kit's and OpenSC's settings name further code, so a branch must not bring them."""
    for place in (base / "settings", tmp_path / "checkout" / "settings"):
        place.mkdir(parents=True)
        (tmp_path / "checkout" / ".git").mkdir(parents=True, exist_ok=True)
        uri = named(softhsm.uri("sign").replace("SOFTHSM2_CONF", f"X%3D{place}%7CSOFTHSM2_CONF"))
        error = refusal(lambda u=uri: registry.open_signer(u, base))
        assert (error.reason, error.exit_code) == ("module-in-project", 3)
        assert "module-variable" in error.what


@pytest.mark.parametrize("name", ["set tings", "a,b", "a=b", "settings"])
@pytest.mark.parametrize("relative", [True, False])
def test_no_spelling_hides_settings_in_the_project(
    softhsm: Token, base: Path, name: str, relative: bool
) -> None:
    """What may end a path may be a part of it, and a module runs in /."""
    place = base / name
    place.mkdir()
    written = quote(str(place)[relative:], safe="/")
    uri = named(softhsm.uri("sign").replace("SOFTHSM2_CONF", f"X%3D{written}%7CSOFTHSM2_CONF"))
    error = refusal(lambda: registry.open_signer(uri, base))
    assert (error.reason, error.exit_code) == ("module-in-project", 3)


def test_a_link_between_two_links_is_on_the_way_too(
    base: Path, tmp_path: Path, copied: Callable[[Path], str]
) -> None:
    copied(tmp_path / "real" / "module.so")
    uri = copied(tmp_path / "links" / "module.so")
    (tmp_path / "links" / "module.so").unlink()
    (tmp_path / "links" / "module.so").symlink_to(tmp_path / "between" / "module.so")
    (tmp_path / "between").mkdir()
    (tmp_path / "between" / "module.so").symlink_to("../real/module.so")
    assert registry.open_signer(uri, base)
    (tmp_path / "between").chmod(0o777)
    assert refusal(lambda: registry.open_signer(uri, base)).reason == "module-owner"


def test_settings_that_others_can_write_load_nothing(
    softhsm: Token, base: Path, tmp_path: Path
) -> None:
    place = tmp_path / "settings"
    place.touch(mode=0o600)
    uri = named(softhsm.uri("sign").replace("SOFTHSM2_CONF", f"X%3D{place}%7CSOFTHSM2_CONF"))
    place.chmod(0o666)
    error = refusal(lambda: registry.open_signer(uri, base))
    assert (error.reason, error.exit_code) == ("module-owner", 3)


def test_the_module_of_one_project_does_not_lie_in_another(
    base: Path, tmp_path: Path, softhsm: Token
) -> None:
    """A key may be typed in any folder: what counts is where the file is that names the module."""
    place = tmp_path / "elsewhere" / "module.so"
    place.parent.mkdir()
    place.write_bytes(softhsm.module.read_bytes())
    text = softhsm.uri("sign").replace(str(softhsm.module), str(place))
    vouch(parse(text, what="key"), tmp_path / "elsewhere")
    error = refusal(lambda: registry.open_signer(text, base))
    assert (error.reason, error.exit_code) == ("module-in-project", 3)


@pytest.mark.parametrize("what", ["module.so", ""])
@pytest.mark.parametrize("bit", [stat.S_IWGRP, stat.S_IWOTH])
def test_a_module_that_others_can_write_is_not_loaded(
    base: Path, tmp_path: Path, copied: Callable[[Path], str], what: str, bit: int
) -> None:
    folder = tmp_path / "modules"
    uri = copied(folder / "module.so")
    (folder / what).chmod(0o700 | bit)
    error = refusal(lambda: registry.open_signer(uri, base))
    assert (error.reason, error.exit_code) == ("module-owner", 3)
    (folder / what).chmod(0o700)
    assert registry.open_signer(uri, base)


def test_a_link_to_a_module_is_followed_where_nobody_else_can_change_the_way(
    base: Path, tmp_path: Path, copied: Callable[[Path], str]
) -> None:
    copied(tmp_path / "real" / "module.so")
    uri = copied(tmp_path / "links" / "module.so")
    (tmp_path / "links" / "module.so").unlink()
    (tmp_path / "links" / "module.so").symlink_to(tmp_path / "real" / "module.so")
    assert registry.open_signer(uri, base)
    (tmp_path / "real").chmod(0o777)
    assert refusal(lambda: registry.open_signer(uri, base)).reason == "module-owner"


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user, which needs root")
def test_a_module_of_another_user_is_not_loaded(
    base: Path, tmp_path: Path, copied: Callable[[Path], str]
) -> None:
    uri = copied(tmp_path / "modules" / "module.so")
    os.chown(tmp_path / "modules" / "module.so", 65534, -1)
    assert refusal(lambda: registry.open_signer(uri, base)).reason == "module-owner"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no-module"), (b"no library", "module-not-loaded"), ("folder", "no-module")],
)
def test_what_is_no_module_is_told(
    softhsm: Token, base: Path, tmp_path: Path, content: bytes | str | None, reason: str
) -> None:
    path = tmp_path / "modules" / "module.so"
    path.parent.mkdir()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    uri = named(softhsm.uri("sign").replace(str(softhsm.module), str(path)))
    error = refusal(lambda: registry.open_signer(uri, base))
    assert error.reason == reason
    assert isinstance(error, ConfigError | KeyServiceError)


def test_a_library_without_pkcs11_is_told(softhsm: Token, base: Path) -> None:
    import _ctypes

    library = Path(_ctypes.__file__)
    uri = named(softhsm.uri("sign").replace(str(softhsm.module), str(library)))
    error = refusal(lambda: registry.open_signer(uri, base))
    assert error.reason in ("module-not-loaded", "module-owner", "module-in-project")
