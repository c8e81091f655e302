"""A Sigstore that lies, or is lied about: nothing is written, and the reason is told.

Each service's answer is changed after the real one was made, with the instance's own keys where the
liar would have them.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from sovgate import strict
from sovgate.errors import SovgateError
from sovgate.keys import registry
from sovgate.keys._api import Sealer
from sovgate.transport import wire
from tests.crossing import Crossing
from tests.sigstores import Log, Names, Sigstore, b64, entry2, named, new_key, sha256
from tests.sigstoreserver import IDENTITY, ISSUER, Reply, Served, laid, serving
from tests.vendor import Asked, Said, vendor

FULCIO, STAMP = "/api/v2/signingCert", "/api/v1/timestamp"
REKOR = {1: "/api/v1/log/entries", 2: "/api/v2/log/entries"}
Lie = Callable[[Served, bytes, Any], Any]


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    """A model alone: what its project trusts is asked elsewhere."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    return Crossing(base=tmp_path, model=tmp_path / "model")


def refused(crossing: Crossing, key: str, code: int = 20) -> dict[str, Any]:
    """The error of a `sign` that wrote nothing."""
    before = written(crossing.base)
    said = crossing.json("sign", crossing.model, "--key", key, code=code)
    assert written(crossing.base) == before
    error: dict[str, Any] = said["error"]
    assert error["fix"]
    return error


def written(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- Fulcio


def requested(body: bytes) -> ec.EllipticCurvePublicKey:
    request = x509.load_pem_x509_csr(
        base64.b64decode(json.loads(body)["certificateSigningRequest"])
    )
    key = request.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def answered(made: Any, leaf: x509.Certificate) -> Any:
    made["signedCertificateEmbeddedSct"]["chain"]["certificates"][0] = leaf.public_bytes(
        Encoding.PEM
    ).decode()
    return made


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def another_key(served: Served, body: bytes, made: Any) -> Any:
    leaf = served.instance.certificate(new_key().public_key(), named(IDENTITY, ISSUER), now())
    return answered(made, leaf)


def another_identity(served: Served, body: bytes, made: Any) -> Any:
    names = named("someone@firm.example", ISSUER)
    return answered(made, served.instance.certificate(requested(body), names, now()))


def another_issuer(served: Served, body: bytes, made: Any) -> Any:
    names = named(IDENTITY, "https://login.example")
    return answered(made, served.instance.certificate(requested(body), names, now()))


def another_kind(served: Served, body: bytes, made: Any) -> Any:
    """The same text, as a URI: it would be taken for a workflow's address, or the other way."""
    names = Names(sans=(x509.UniformResourceIdentifier(IDENTITY),), v1=ISSUER, v2=ISSUER)
    return answered(made, served.instance.certificate(requested(body), names, now()))


def run_out(served: Served, body: bytes, made: Any) -> Any:
    """With a log and an authority that would tell a time within it."""
    begins = now() - timedelta(days=30)
    leaf = served.instance.certificate(requested(body), named(IDENTITY, ISSUER), begins)
    return answered(made, leaf)


def ends_at_once(served: Served, body: bytes, made: Any) -> Any:
    begins = now() - timedelta(seconds=90)
    leaf = served.instance.certificate(requested(body), named(IDENTITY, ISSUER), begins, minutes=2)
    return answered(made, leaf)


def own_authority(served: Served, body: bytes, made: Any) -> Any:
    leaf = Sigstore().certificate(requested(body), named(IDENTITY, ISSUER), now())
    return answered(made, leaf)


def no_receipt(served: Served, body: bytes, made: Any) -> Any:
    names = replace(named(IDENTITY, ISSUER), receipt=False)
    return answered(made, served.instance.certificate(requested(body), names, now()))


def of_no_version(served: Served, body: bytes, made: Any) -> Any:
    chain = made["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    der = x509.load_pem_x509_certificate(chain[0].encode()).public_bytes(Encoding.DER)
    wrong = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    text = base64.encodebytes(wrong).decode()
    chain[0] = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"
    return made


def redirected(served: Served, body: bytes, made: Any) -> Any:
    return Reply(307, b"", (("Location", f"{served.address}/elsewhere"),))


def endless(served: Served, body: bytes, made: Any) -> Any:
    return Reply(201, b'{"a": "' + b"x" * (5 << 20) + b'"}')


def no_json(served: Served, body: bytes, made: Any) -> Any:
    return Reply(201, b"<html>welcome</html>")


def twice_said(served: Served, body: bytes, made: Any) -> Any:
    return Reply(201, json.dumps(made).encode()[:-1] + b"," + json.dumps(made).encode()[1:])


def repeats_the_token(served: Served, body: bytes, made: Any) -> Any:
    said = {"message": f"there was an error with {served.heard[-1]}"}
    return Reply(400, json.dumps(said).encode())


def repeats_the_token_in_groups(served: Served, body: bytes, made: Any) -> Any:
    groups = " ".join(re.findall(".{1,20}", served.heard[-1]))
    return Reply(400, json.dumps({"message": f"there was an error with {groups}"}).encode())


@pytest.mark.parametrize(
    ("lie", "code", "reason"),
    [
        (another_key, 20, "wrong-key"),
        (another_identity, 20, "wrong-identity"),
        (another_issuer, 20, "wrong-identity"),
        (another_kind, 20, "wrong-identity"),
        (run_out, 20, "outside-validity"),
        (ends_at_once, 20, "outside-validity"),
        (own_authority, 20, "untrusted-log"),
        (no_receipt, 20, "keyless-certificate"),
        (of_no_version, 20, "bad-answer"),
        (redirected, 12, "redirected"),
        (endless, 20, "bad-answer"),
        (no_json, 20, "bad-answer"),
        (twice_said, 20, "bad-answer"),
        (repeats_the_token, 20, "token-refused"),
    ],
)
def test_a_fulcio_that_lies(crossing: Crossing, lie: Lie, code: int, reason: str) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        served.lies[FULCIO] = lambda body, made: lie(served, body, made)
        error = refused(crossing, key, code)
        assert error["reason"] == reason, error
        token = (crossing.base / "token").read_text()
        assert token not in str(error)
        assert "/elsewhere" not in served.asked
        # The log, which anybody reads for ever, is told nothing before the rest fits.
        assert REKOR[2] not in served.asked


@pytest.mark.parametrize("lie", [repeats_the_token, repeats_the_token_in_groups])
def test_what_a_service_repeats_of_a_token_is_in_the_error_of_no_library_call(
    crossing: Crossing, lie: Lie
) -> None:
    """The command line hides such words once more; a program that uses the library does not."""
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        served.lies[FULCIO] = lambda body, made: lie(served, body, made)
        with pytest.raises(SovgateError) as caught:
            signer = registry.open_signer(key, crossing.base)
            assert isinstance(signer, Sealer)
            signer.prepare()
    assert caught.value.reason == "token-refused"
    told = "".join(repr(vars(caught.value)).split())
    for part in (crossing.base / "token").read_text().split("."):
        assert part not in told


@pytest.mark.parametrize("claims", [{"sub": "someone@firm.example"}, {"iss": "https://b.example"}])
def test_a_token_that_is_renewed_for_somebody_else_is_not_sent(
    crossing: Crossing, claims: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run may say was asked of the names that it began with."""
    with serving(Sigstore()) as served:
        signer = registry.open_signer(laid(crossing.base, served), crossing.base)
        assert isinstance(signer, Sealer)
        signer.prepare()
        (crossing.base / "token").write_text(served.token(IDENTITY, **claims))
        later = now() + timedelta(hours=1)
        monkeypatch.setattr("sovgate.keys.sigstore._now", lambda: later)
        with pytest.raises(SovgateError) as caught:
            signer.prepare()
    assert (caught.value.exit_code, caught.value.reason) == (20, "wrong-identity")
    assert len(served.heard) == 1


# --- Rekor


def another_body(served: Served, body: bytes, made: Any) -> Any:
    """An entry of another statement by the very certificate, which the log has indeed."""
    asked = json.loads(body)["hashedRekordRequestV002"]["signature"]
    der = base64.b64decode(asked["verifier"]["x509Certificate"]["rawBytes"])
    own = base64.b64decode(asked["content"])
    other = entry2(b'{"other": 1}', own, x509.load_der_x509_certificate(der))
    return served.instance.rekor2.add(other, now())


def without_proof(served: Served, body: bytes, made: Any) -> Any:
    del made["inclusionProof"]
    return made


def deep(served: Served, body: bytes, made: Any) -> Any:
    """As deep as is read, and deeper in a bundle."""
    return Reply(201, b"[" * strict.MAX_DEPTH + b"]" * strict.MAX_DEPTH)


def other_root(served: Served, body: bytes, made: Any) -> Any:
    made["inclusionProof"]["rootHash"] = b64(sha256(b"another tree"))
    return made


def other_checkpoint(served: Served, body: bytes, made: Any) -> Any:
    """Of the right tree, by the key of another log."""
    log = served.instance.rekor2
    forged = Log(log.origin, 2, leaves=log.leaves[5:])
    forged.leaves = log.leaves
    made["inclusionProof"]["checkpoint"] = forged.proof(int(made["logIndex"]))["checkpoint"]
    return made


def another_log(served: Served, body: bytes, made: Any) -> Any:
    log = Log("evil.example", 2)
    return log.add(base64.b64decode(made["canonicalizedBody"]), now())


@pytest.mark.parametrize(
    ("lie", "code", "reason"),
    [
        (another_body, 20, "other-log-entry"),
        (without_proof, 20, "no-inclusion-proof"),
        (deep, 20, "malformed"),
        (other_root, 20, "keyless-proof"),
        (other_checkpoint, 20, "keyless-proof"),
        (another_log, 20, "untrusted-log"),
        (redirected, 12, "redirected"),
        (endless, 20, "bad-answer"),
        (no_json, 20, "bad-answer"),
    ],
)
def test_a_rekor_v2_that_lies(crossing: Crossing, lie: Lie, code: int, reason: str) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, 2)
        served.lies[REKOR[2]] = lambda body, made: lie(served, body, made)
        error = refused(crossing, key, code)
        assert error["reason"] == reason, error


def other_promise(served: Served, body: bytes, made: Any) -> Any:
    (entry,) = made.values()
    forged = Log("rekor.example").promise(
        base64.b64decode(entry["body"]), entry["logIndex"], entry["integratedTime"]
    )
    entry["verification"]["signedEntryTimestamp"] = b64(forged)
    return made


def forged_time(served: Served, body: bytes, made: Any) -> Any:
    (entry,) = made.values()
    entry["integratedTime"] += 60
    return made


def of_long_ago(served: Served, body: bytes, made: Any) -> Any:
    """The log itself promises a time at which the certificate was not there yet."""
    (entry,) = made.values()
    entry["integratedTime"] -= 3600
    promise = served.instance.rekor1.promise(
        base64.b64decode(entry["body"]), entry["logIndex"], entry["integratedTime"]
    )
    entry["verification"]["signedEntryTimestamp"] = b64(promise)
    return made


def two_entries(served: Served, body: bytes, made: Any) -> Any:
    return {**made, "1" * 80: next(iter(made.values()))}


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (other_promise, "keyless-proof"),
        (forged_time, "keyless-proof"),
        (of_long_ago, "outside-validity"),
        (two_entries, "bad-answer"),
    ],
)
def test_a_rekor_v1_that_lies(crossing: Crossing, lie: Lie, reason: str) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, 1)
        served.lies[REKOR[1]] = lambda body, made: lie(served, body, made)
        assert refused(crossing, key)["reason"] == reason


def test_a_certificate_that_ran_out_is_made_valid_by_no_forged_time(crossing: Crossing) -> None:
    """All three services agree on a day a month ago, which verifies for ever after. Not here: the
    time of signing is known."""
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, 1)
        then = now() - timedelta(days=30)
        served.lies[FULCIO] = lambda body, made: run_out(served, body, made)

        def agrees(body: bytes, made: Any) -> Any:
            (entry,) = made.values()
            entry["integratedTime"] = int((then + timedelta(minutes=1)).timestamp())
            promise = served.instance.rekor1.promise(
                base64.b64decode(entry["body"]), entry["logIndex"], entry["integratedTime"]
            )
            entry["verification"]["signedEntryTimestamp"] = b64(promise)
            return made

        served.lies[REKOR[1]] = agrees
        assert refused(crossing, key)["reason"] == "outside-validity"


def test_a_certificate_that_lives_long_signs_at_no_time_but_now(crossing: Crossing) -> None:
    """Within its life any time verifies for ever after, and a policy may ask for one."""

    def long_lived(body: bytes, made: Any) -> Any:
        key, names = requested(body), named(IDENTITY, ISSUER)
        begins = now() - timedelta(days=1)
        return answered(made, served.instance.certificate(key, names, begins, minutes=2 * 24 * 60))

    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, 1)
        served.lies[FULCIO] = long_lived
        served.lies[REKOR[1]] = lambda body, made: of_long_ago(served, body, made)
        error = refused(crossing, key)
        assert (error["reason"], "not the one of this signature" in error["why"]) == (
            "outside-validity",
            True,
        )


def test_the_public_instance_is_asked_where_it_is_named(crossing: Crossing, tmp_path: Path) -> None:
    """By the files of the package; what is not the public one's is believed in no way."""
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)

        def answers(heard: Asked) -> Said:
            bearer = heard.headers.get("authorization", "").removeprefix("Bearer ")
            kind, body = served.answer(heard.path, heard.body, bearer)
            assert isinstance(body, bytes)
            return 201, {"content-type": kind}, body

        hosts = ["fulcio.sigstore.dev", "rekor.sigstore.dev", "timestamp.sigstore.dev"]
        with vendor(tmp_path, hosts, answers) as cloud:
            public = "sigstore:public-good-instance?" + key.partition("&")[2]
            code, said = crossing.run("sign", crossing.model, "--key", public)
            assert (code, "in a public log for ever" in said) == (20, True), said
            assert "trusted root" in said
            assert set(cloud.hosts()) == {hosts[0], hosts[2]}  # what nobody believes is not logged
            assert not (crossing.base / "model.evidence").exists()
            own = "sigstore:public-good-instance?" + key.partition("?")[2]
            code, said = crossing.run("sign", crossing.model, "--key", own)
            assert (code, set(cloud.hosts())) == (0, set(hosts)), said


# --- the timestamp authority


def other_digest(served: Served, body: bytes, made: Any) -> Any:
    return served.instance.stamp_digest(sha256(b"another signature"), now(), nonce(body))


def nonce(body: bytes) -> int:
    from tests.der import parts

    fields = parts(parts(body)[0][1])
    return next(int.from_bytes(value, "big") for tag, value in fields[2:] if tag == 2)


def other_question(served: Served, body: bytes, made: Any) -> Any:
    from tests.der import parts

    digest = parts(parts(parts(body)[0][1])[1][1])[1][1]
    return served.instance.stamp_digest(digest, now(), nonce(body) + 1)


def other_authority(served: Served, body: bytes, made: Any) -> Any:
    from tests.der import parts

    digest = parts(parts(parts(body)[0][1])[1][1])[1][1]
    return Sigstore().stamp_digest(digest, now(), nonce(body))


def yesterday(served: Served, body: bytes, made: Any) -> Any:
    from tests.der import parts

    digest = parts(parts(parts(body)[0][1])[1][1])[1][1]
    return served.instance.stamp_digest(digest, now() - timedelta(days=1), nonce(body))


@pytest.mark.parametrize(
    ("lie", "code", "reason"),
    [
        (other_digest, 20, "bad-timestamp"),
        (other_question, 20, "bad-answer"),
        (other_authority, 20, "bad-timestamp"),
        (yesterday, 20, "outside-validity"),
        (redirected, 12, "redirected"),
        (no_json, 20, "bad-answer"),
    ],
)
def test_a_timestamp_authority_that_lies(
    crossing: Crossing, lie: Lie, code: int, reason: str
) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, 2)
        served.lies[STAMP] = lambda body, made: lie(served, body, made)
        assert refused(crossing, key, code)["reason"] == reason
        assert REKOR[2] not in served.asked


# --- what is named, and tokens


def test_a_trusted_root_of_another_instance(crossing: Crossing) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        other = json.dumps(Sigstore().trusted_root())
        (crossing.base / "trusted_root.json").write_text(other)
        assert refused(crossing, key)["reason"] in ("untrusted-log", "bad-timestamp")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://bao.bank.example"}, "other-audience"),
        ({"aud": ["sigstore-of-others", "bank"]}, "other-audience"),
        ({"aud": ["sigstore", "https://bao.bank.example"]}, "other-audience"),
        ({"exp": 1}, "token-ended"),
        ({"nbf": 32503680000}, "token-ended"),
        ({"exp": "tomorrow"}, "bad-token"),
        ({"sub": 7}, "bad-token"),
        ({"email": "a@firm.example", "email_verified": False}, "bad-token"),
    ],
)
def test_a_token_that_is_not_for_this_is_never_sent(
    crossing: Crossing, claims: dict[str, Any], reason: str
) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, token=served.token(IDENTITY, **claims))
        assert refused(crossing, key)["reason"] == reason
        assert served.asked == []


@pytest.mark.parametrize(
    ("which", "reason"),
    [("signing.json", "bad-signing-config"), ("trusted_root.json", "bad-trusted-root")],
)
def test_a_file_that_is_another_one_is_a_slip_and_no_failed_proof(
    crossing: Crossing, which: str, reason: str
) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        (crossing.base / which).write_text(json.dumps(served.trust_config(2)))
        assert refused(crossing, key, 3)["reason"] == reason
        assert served.asked == []


@pytest.mark.parametrize("text", ["", "a.b.c", "not a token", "a" * 20000, "\x00"])
def test_what_is_no_token_is_never_sent(crossing: Crossing, text: str) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        (crossing.base / "token").write_text(text)
        assert refused(crossing, key)["reason"] in ("bad-token", "secret-file")
        assert served.asked == []


def test_a_token_of_another_login_gets_no_certificate(crossing: Crossing) -> None:
    with serving(Sigstore()) as other, serving(Sigstore()) as served:
        key = laid(crossing.base, served, token=other.token(IDENTITY))
        error = refused(crossing, key)
        assert error["reason"] == "token-refused"
        assert "Signature verification failed" in error["why"]


def test_the_public_log_is_asked_only_in_words(crossing: Crossing) -> None:
    """Its signing config under another name is one that somebody copied."""
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        for host in ("rekor.sigstore.dev", "LOG.rekor.sigstage.dev", "sigstore.dev"):
            config = served.signing_config(2)
            config["rekorTlogUrls"][0]["url"] = f"https://{host}"
            (crossing.base / "signing.json").write_text(json.dumps(config))
            error = refused(crossing, key, 3)
            assert error["reason"] == "public-log"
            assert "sigstore:public-good-instance" in error["fix"]
        assert served.asked == []


def test_two_ways_to_log_in_are_one_too_many(crossing: Crossing) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, more="&login=gcp")
        assert refused(crossing, key, 3)["reason"] == "bad-uri"
        assert refused(crossing, "sigstore:signing.json", 3)["reason"] == "no-trusted-root"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://rekor.firm.example", "bad-endpoint"),
        ("https://user:secret@rekor.firm.example", "secret-in-uri"),
        ("https://rekor.firm.example/?x=1", "bad-endpoint"),
        ("ftp://rekor.firm.example", "bad-endpoint"),
        ("https://[rekor", "bad-endpoint"),
        ("https://rekor:99999", "bad-endpoint"),
    ],
)
def test_a_service_is_named_by_an_address_that_nobody_on_the_way_reads(
    crossing: Crossing, url: str, reason: str
) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        config = served.signing_config(2)
        config["rekorTlogUrls"][0]["url"] = url
        (crossing.base / "signing.json").write_text(json.dumps(config))
        error = refused(crossing, key, 3)
        assert (error["reason"], "secret@" in str(error)) == (reason, False)
        assert served.asked == []


@pytest.mark.parametrize("path", [FULCIO, STAMP, REKOR[2]])
def test_a_service_that_says_nothing_holds_nobody(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    done = threading.Event()
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        served.lies[path] = lambda _, made: (done.wait(30), made)[1]
        monkeypatch.setattr(wire, "READ_TIMEOUT", 0.3)
        error = refused(crossing, key)
        done.set()
    assert (error["reason"], served.address in error["what"]) == ("timed-out", True)


def test_a_service_that_does_not_answer_is_asked_again_but_for_the_log(crossing: Crossing) -> None:
    """A second time would be a second entry."""
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        served.lies[REKOR[2]] = lambda *_: Reply(503)
        assert refused(crossing, key)["reason"] == "no-answer"
        assert served.asked.count(REKOR[2]) == 1
        served.lies[FULCIO] = lambda *_: Reply(429)
        served.asked.clear()
        assert refused(crossing, key)["reason"] == "slow-down"
        assert served.asked == [FULCIO] * 4
    assert refused(crossing, key)["reason"] == "no-answer"
