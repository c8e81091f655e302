"""What every key adapter must do. Runs once for each entry of `keys.ADAPTERS`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sovgate import notices
from sovgate.config import parse
from sovgate.errors import (
    ConfigError,
    KeyServiceError,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.formats.spki import _CURVES
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys._api import Identity
from sovgate.pipeline.exported import export
from sovgate.pipeline.project import Project
from tests import pace
from tests.conformance.keys import ADAPTERS, Keys, keys_of
from tests.conformance.troubles import BUSY, CROWD, TROUBLES, Crowd

KEY = bytes(range(32))
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
_PROJECT = """\
version: 1
model: kyc
zones:
  eu: {region: "%s", keys: {sign: "%s", encrypt: "%s"}}
"""
CURVES = ("ec-p256", "ec-p384", "ec-p521")


@pytest.fixture(params=sorted(ADAPTERS))
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return keys_of(request.param, tmp_path_factory)


@pytest.fixture(autouse=True)
def notes() -> Iterator[list[str]]:
    """What is said beside the work, such as which version of a key is used."""
    said: list[str] = []
    with notices.listening(said.append):
        yield said


def test_what_a_stand_in_does_wrongly_is_found_out(keys: Keys) -> None:
    """And nothing else is left out of its tests: where it is mended this fails."""
    for wrong in keys.wrong.values():
        with pytest.raises(SovgateError) as caught:
            wrong.do()
        assert caught.value.reason == wrong.reason, wrong.why


@pytest.mark.parametrize("curve", CURVES)
def test_a_signature_verifies_by_the_public_half_and_by_no_other(keys: Keys, curve: str) -> None:
    if curve not in keys.sign or "sign" in keys.wrong:  # not every service has each of them
        return
    mine, other = keys.sign[curve]
    signer = registry.open_signer(mine, keys.base, keys.region)
    signature = signer.sign(b"message")
    public = registry.open_public(mine, keys.base, keys.region)
    assert public == signer.public_key
    public.verify(b"message", signature)
    with pytest.raises(VerificationFailed):
        public.verify(b"another", signature)
    with pytest.raises(VerificationFailed):
        registry.open_public(other, keys.base, keys.region).verify(b"message", signature)


@pytest.mark.parametrize("curve", CURVES)
def test_signatures_have_a_low_s(keys: Keys, curve: str) -> None:
    if curve not in keys.sign or "sign" in keys.wrong:
        return
    signer = registry.open_signer(keys.sign[curve][0], keys.base, keys.region)
    order = _CURVES[signer.public_key.algorithm].order
    for number in range(12):  # a service that does not care gives a high one half of the time
        _, s = decode_dss_signature(signer.sign(bytes([number])))
        assert s <= order // 2


def test_a_large_and_an_empty_message_are_signed(keys: Keys) -> None:
    if "sign" in keys.wrong:
        return
    signer = registry.open_signer(keys.sign["ec-p256"][0], keys.base, keys.region)
    for message in (b"", bytes(1_000_000)):
        signer.public_key.verify(message, signer.sign(message))


def _kind(keys: Keys, which: int) -> str:
    """Two kinds of each service, but for the one that a stand-in gets wrong."""
    kinds = sorted(keys.wrap)
    return kinds[0 if "wrap-2" in keys.wrong else which]


@pytest.mark.parametrize("which", [0, 1])
def test_a_key_that_was_wrapped_opens_again(keys: Keys, which: int) -> None:
    kind = _kind(keys, which)
    recipient_uri, identity_uri = keys.wrap[kind][0]
    recipient = registry.open_recipient(recipient_uri, keys.base, keys.region)
    identity = registry.open_identity(identity_uri, keys.base, keys.region)
    assert (recipient.key_id, recipient.algorithm) == (identity.key_id, identity.algorithm)
    wrapped = recipient.wrap(KEY, CONTEXT)
    assert KEY not in wrapped
    assert recipient.wrap(KEY, CONTEXT) != wrapped
    assert identity.unwrap(wrapped, CONTEXT) == KEY


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "context",
    [
        Context(zone="us", release="kyc/1.0.0", manifest="ab" * 32),
        Context(zone="eu", release="kyc/1.0.1", manifest="ab" * 32),
        Context(zone="eu", release=None, manifest="ab" * 32),
        Context(zone="eu", release="kyc/1.0.0", manifest="cd" * 32),
    ],
)
def test_rule_10_what_was_wrapped_for_another_context_does_not_open(
    keys: Keys, which: int, context: Context
) -> None:
    recipient_uri, identity_uri = keys.wrap[_kind(keys, which)][0]
    wrapped = registry.open_recipient(recipient_uri, keys.base, keys.region).wrap(KEY, CONTEXT)
    identity = registry.open_identity(identity_uri, keys.base, keys.region)
    with pytest.raises(VerificationFailed) as caught:
        identity.unwrap(wrapped, context.canonical())
    assert caught.value.reason == "wrapped-key"


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_damaged_or_for_another_key_does_not_open(keys: Keys, which: int) -> None:
    kind = _kind(keys, which)
    (recipient_uri, identity_uri), (_, other_uri) = keys.wrap[kind]
    wrapped = registry.open_recipient(recipient_uri, keys.base, keys.region).wrap(KEY, CONTEXT)
    identity = registry.open_identity(identity_uri, keys.base, keys.region)
    other = registry.open_identity(other_uri, keys.base, keys.region)
    assert other.key_id != identity.key_id  # by which a wrong key is told from damage
    for damaged in (wrapped[:-1], b"x"):
        with pytest.raises(VerificationFailed):
            identity.unwrap(damaged, CONTEXT)
    if kind not in keys.untagged:
        with pytest.raises(VerificationFailed):
            identity.unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]), CONTEXT)
    if kind not in keys.untagged and "other-key" not in keys.wrong:
        with pytest.raises((VerificationFailed, KeyServiceError)):
            other.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize("name", [*TROUBLES, BUSY])
def test_a_service_in_trouble_is_told_the_same_by_all(keys: Keys, name: str) -> None:
    """Each trouble has one error, one reason and one exit code, and no adapter has others."""
    assert (name in keys.troubles) != bool(keys.lacks.get(name)), (
        "give it, or say why there is none"
    )
    if name not in keys.troubles:
        return
    with keys.troubles[name]() as uri:
        if name == BUSY:
            signer = registry.open_signer(uri, keys.base, keys.region)
            signer.public_key.verify(b"message", signer.sign(b"message"))
            return
        told = TROUBLES[name]
        with pytest.raises(SovgateError) as caught:
            registry.open_signer(uri, keys.base, keys.region).sign(b"message")
    error = caught.value
    if uri.startswith("file:"):  # named on a command line, which is 2; a project file makes it 3
        assert error.reason == "missing-path"
        return
    assert isinstance(error, told.kind)
    assert error.reason in told.reasons
    assert error.exit_code == told.code
    assert error.fix


def unwrapped_at_once(identity: Identity, wrapped: list[bytes]) -> list[bytes]:
    start = threading.Barrier(len(wrapped), timeout=pace.HANG)

    def ask(one: bytes) -> bytes:
        start.wait()
        return identity.unwrap(one, CONTEXT)

    with ThreadPoolExecutor(len(wrapped)) as threads:
        return list(threads.map(ask, wrapped))


@pytest.mark.parametrize("which", [0, 1])
def test_eight_at_once_get_each_its_own_answer(keys: Keys, which: int) -> None:
    recipient_uri, identity_uri = keys.wrap[_kind(keys, which)][0]
    recipient = registry.open_recipient(recipient_uri, keys.base, keys.region)
    identity = registry.open_identity(identity_uri, keys.base, keys.region)
    several = [bytes([number]) * 32 for number in range(CROWD)]
    wrapped = [recipient.wrap(key, CONTEXT) for key in several]
    assert unwrapped_at_once(identity, wrapped) == several


def test_eight_that_are_too_many_for_a_service_are_each_asked_again(keys: Keys) -> None:
    if keys.crowded is None:
        return
    crowd = Crowd()
    with keys.crowded(crowd) as uri:
        several = [bytes([number]) * 32 for number in range(CROWD)]
        recipient = registry.open_recipient(uri, keys.base, keys.region)
        wrapped = [recipient.wrap(key, CONTEXT) for key in several]
        identity = registry.open_identity(uri, keys.base, keys.region)
        crowd.comes = True
        assert unwrapped_at_once(identity, wrapped) == several
    assert crowd.refused == CROWD


def test_what_was_wrapped_before_a_rotation_opens_after_it(keys: Keys) -> None:
    if keys.rotated is None:
        return
    rotated = keys.rotated()
    recipient = registry.open_recipient(rotated.uri, keys.base, keys.region)
    wrapped = recipient.wrap(KEY, CONTEXT)
    rotated.rotate()
    identity = registry.open_identity(rotated.uri, keys.base, keys.region)
    assert identity.key_id == recipient.key_id
    assert identity.unwrap(wrapped, CONTEXT) == KEY
    again = registry.open_recipient(rotated.uri, keys.base, keys.region).wrap(KEY, CONTEXT)
    assert identity.unwrap(again, CONTEXT) == KEY


def test_rule_10_a_signer_stays_with_the_key_that_it_was_opened_with(keys: Keys) -> None:
    if keys.repointed is None:
        return
    repointed = keys.repointed()
    signer = registry.open_signer(repointed.uri, keys.base, keys.region)
    before = signer.public_key
    repointed.rotate()
    before.verify(b"message", signer.sign(b"message"))
    after = registry.open_public(repointed.uri, keys.base, keys.region)
    assert after != before


@pytest.mark.parametrize("which", [0, 1])
def test_a_public_half_is_exported_and_believed(keys: Keys, which: int, tmp_path: Path) -> None:
    kind = _kind(keys, which)
    sign, encrypt = keys.sign["ec-p256"][0], keys.wrap[kind][0][1]
    project = Project(
        parse((_PROJECT % (keys.region, sign, encrypt)).encode(), keys.base / "sovgate.yaml")
    )
    out = tmp_path / "eu.json"
    now = datetime(2026, 11, 29, tzinfo=UTC)
    identity = registry.open_identity(encrypt, keys.base, keys.region)
    if getattr(identity, "public_key", None) is None and not encrypt.startswith("file:"):
        with pytest.raises(UsageError) as caught:
            export(project, "eu", "encrypt", out, now=now)
        assert caught.value.reason == "no-public-half"
        return
    made = export(project, "eu", "encrypt", out, now=now).said
    assert made.key.key_id == identity.key_id
    assert made.algorithm == identity.algorithm
    named = _PROJECT % (keys.region, sign, f'{encrypt}", encrypt-public: "{out}')
    sender = Project(parse(named.encode(), keys.base / "sovgate.yaml"))
    wrapped = sender.recipient("eu").wrap(KEY, CONTEXT)
    assert identity.unwrap(wrapped, CONTEXT) == KEY


def test_only_release_keys_are_wrapped(keys: Keys) -> None:
    for pairs in keys.wrap.values():
        with pytest.raises(KeyServiceError):
            registry.open_recipient(pairs[0][0], keys.base, keys.region).wrap(b"short", CONTEXT)


def test_a_key_that_cannot_do_it_says_so_when_it_is_opened(keys: Keys) -> None:
    for kind, pairs in keys.wrap.items():
        if kind == "ec-p256":  # a file may serve for both
            continue
        with pytest.raises(ConfigError) as caught:
            registry.open_signer(pairs[0][1], keys.base, keys.region)
        assert caught.value.reason == "unsupported-key-use"
    with pytest.raises(ConfigError):
        registry.open_identity(keys.sign["ec-p384"][0], keys.base, keys.region)


def test_rule_29_a_repr_tells_no_secret(keys: Keys) -> None:
    for pairs in keys.wrap.values():
        identity = registry.open_identity(pairs[0][1], keys.base, keys.region)
        assert "PRIVATE" not in repr(identity)
        assert len(repr(identity)) < 300


def test_what_a_service_says_of_its_keys_is_told_in_the_same_words_by_all(keys: Keys) -> None:
    """For whoever demands `hsm` or a state by rule: each fact has one form, or is None."""
    for use, uri in (
        ("sign", keys.sign["ec-p256"][0]),
        *(("encrypt", pairs[0][1]) for pairs in keys.wrap.values()),
    ):
        facts = registry.describe(uri, keys.base, keys.region)
        assert facts.state == "enabled"
        assert facts.uses is not None and use in facts.uses
        assert facts.service and facts.name and facts.protection.told
        assert facts.history.origin in (None, "service", "imported", "external")
        assert facts.lies.region in (None, keys.region)
        assert (facts.lies.region is None) == (facts.lies.grade == 0)
        if use == "sign":
            assert facts.public == registry.open_public(uri, keys.base, keys.region)
            assert facts.algorithm == "ecdsa-p256-sha256"


@pytest.mark.parametrize("name", ["missing", "slow", "down"])
def test_a_service_that_does_not_answer_tells_no_facts(keys: Keys, name: str) -> None:
    if name not in keys.troubles or (
        name != "missing" and "PKCS#11" in "".join(keys.lacks.values())
    ):
        return  # a token that hangs or crashes while it signs tells its facts before
    with keys.troubles[name]() as uri, pytest.raises(SovgateError) as caught:
        registry.describe(uri, keys.base, keys.region)
    assert caught.value.fix


def test_a_disabled_key_is_described_as_one(keys: Keys) -> None:
    if "disabled" in keys.troubles:
        with keys.troubles["disabled"]() as uri:
            assert registry.describe(uri, keys.base, keys.region).state == "disabled"
