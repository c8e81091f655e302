"""Keys in PEM files: what they sign and wrap, what they refuse, and that they never tell."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import subprocess
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils, x25519

from sovgate.errors import (
    ConfigError,
    DiskError,
    KeyServiceError,
    SovgateError,
    UsageError,
    VerificationFailed,
)
from sovgate.keys import registry
from sovgate.keys.file import PASSPHRASE
from sovgate.pipeline.look.keys import export, generate, show
from tests import components
from tests.certificates import issue
from tests.signers import KeySigner

KEY = bytes(range(32))
CONTEXT = b'{"format":"sovgate.wrap/v0"}'
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def private_pem(key, *, form=ser.PrivateFormat.PKCS8, passphrase: bytes | None = None) -> bytes:
    hidden = ser.BestAvailableEncryption(passphrase) if passphrase else ser.NoEncryption()
    return key.private_bytes(ser.Encoding.PEM, form, hidden)


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)


def put(folder: Path, name: str, data: bytes, mode: int = 0o600) -> str:
    path = folder / name
    path.write_bytes(data)
    path.chmod(mode)
    return name


@pytest.fixture(scope="module")
def p256():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def rsa2048():
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
@pytest.mark.parametrize("form", [ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL])
def test_a_key_of_each_curve_and_form_signs(tmp_path, curve, form):
    key = ec.generate_private_key(curve())
    name = put(tmp_path, "k.pem", private_pem(key, form=form))
    signer = registry.open_signer(f"file:{name}", tmp_path)
    signer.public_key.verify(b"message", signer.sign(b"message"))
    assert signer.public_key.pem == public_pem(key)
    assert signer.certificates == ()


def test_signatures_are_low_s_always(tmp_path, p256):
    signer = registry.open_signer(put(tmp_path, "k.pem", private_pem(p256)), tmp_path)
    for number in range(40):
        _, s = utils.decode_dss_signature(signer.sign(b"%d" % number))
        assert s <= ORDER // 2


def test_a_key_file_of_openssl_with_its_parameters_block_signs(tmp_path):
    components.found(components.program, "openssl", get="apt-get install openssl")
    made = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey"], check=True, capture_output=True
    )
    name = put(tmp_path, "k.pem", made.stdout)
    signer = registry.open_signer(name, tmp_path)
    signer.public_key.verify(b"m", signer.sign(b"m"))


def test_a_passphrase_comes_from_the_environment_only(tmp_path, p256, monkeypatch):
    name = put(tmp_path, "k.pem", private_pem(p256, passphrase=b"horse battery"))
    monkeypatch.delenv(PASSPHRASE, raising=False)
    with pytest.raises(KeyServiceError) as missing:
        registry.open_signer(name, tmp_path)
    assert missing.value.reason == "passphrase-missing"
    monkeypatch.setenv(PASSPHRASE, "stable staple")
    with pytest.raises(KeyServiceError) as wrong:
        registry.open_signer(name, tmp_path)
    assert wrong.value.reason == "passphrase-wrong"
    assert "stable staple" not in "".join(traceback.format_exception(wrong.value))
    monkeypatch.setenv(PASSPHRASE, "horse battery")
    registry.open_signer(name, tmp_path).sign(b"m")


def test_public_half_of_any_file_is_told(tmp_path, p256):
    private = put(tmp_path, "k.pem", private_pem(p256))
    public = put(tmp_path, "k.pub.pem", public_pem(p256), 0o644)
    both = [registry.open_public(text, tmp_path) for text in (private, public, f"file:{public}")]
    assert {key.pem for key in both} == {public_pem(p256)}
    absolute = registry.open_public(f"file://{tmp_path}/{public}", Path("/nowhere"))
    assert absolute.key_id == both[0].key_id


@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_the_public_half_wraps_and_the_private_half_unwraps(tmp_path, kind, request):
    key = request.getfixturevalue(kind)
    private = put(tmp_path, "k.pem", private_pem(key))
    public = put(tmp_path, "k.pub.pem", public_pem(key), 0o644)
    recipient = registry.open_recipient(public, tmp_path)
    identity = registry.open_identity(private, tmp_path)
    assert recipient.key_id == identity.key_id
    assert recipient.algorithm == identity.algorithm
    wrapped = recipient.wrap(KEY, CONTEXT)
    assert recipient.wrap(KEY, CONTEXT) != wrapped
    assert identity.unwrap(wrapped, CONTEXT) == KEY
    for bad, context in [
        (wrapped, CONTEXT + b" "),
        (wrapped[:-1], CONTEXT),
        (wrapped + b"\0", CONTEXT),
        (b"", CONTEXT),
        (bytes([wrapped[0] ^ 1]) + wrapped[1:], CONTEXT),
        (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), CONTEXT),
    ]:
        with pytest.raises(VerificationFailed) as damage:
            identity.unwrap(bad, context)
        assert damage.value.reason == "wrapped-key"


def test_rsa_wraps_what_openssl_unwraps_and_back(tmp_path, rsa2048):
    components.found(components.program, "openssl", get="apt-get install openssl")
    put(tmp_path, "k.pem", private_pem(rsa2048))
    put(tmp_path, "k.pub.pem", public_pem(rsa2048), 0o644)
    options = ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"]
    options = [word for option in options for word in ("-pkeyopt", option)]

    def openssl(*words: str, data: bytes) -> bytes:
        command = ["openssl", "pkeyutl", *words, *options]
        done = subprocess.run(command, input=data, check=True, capture_output=True, cwd=tmp_path)
        return done.stdout

    plain = KEY + hashlib.sha256(CONTEXT).digest()
    wrapped = registry.open_recipient("k.pub.pem", tmp_path).wrap(KEY, CONTEXT)
    assert openssl("-decrypt", "-inkey", "k.pem", data=wrapped) == plain
    theirs = openssl("-encrypt", "-pubin", "-inkey", "k.pub.pem", data=plain)
    assert registry.open_identity("k.pem", tmp_path).unwrap(theirs, CONTEXT) == KEY


def test_ec_wrapping_is_rfc_9180_base_mode(tmp_path, p256):
    """Opened by RFC 9180 written out by hand: DHKEM(P-256, HKDF-SHA256), AES-256-GCM."""
    import hmac

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    def extract(salt: bytes, label: bytes, ikm: bytes, suite: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(prk: bytes, label: bytes, info: bytes, length: int, suite: bytes) -> bytes:
        info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
        return hmac.digest(prk, info + b"\1", "sha256")[:length]

    name = put(tmp_path, "k.pem", private_pem(p256))
    wrapped = registry.open_recipient(name, tmp_path).wrap(KEY, CONTEXT)
    enc, sealed = wrapped[:65], wrapped[65:]
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
    mine = p256.public_key().public_bytes(ser.Encoding.X962, ser.PublicFormat.UncompressedPoint)
    kem = b"KEM" + (0x0010).to_bytes(2, "big")
    eae = extract(b"", b"eae_prk", p256.exchange(ec.ECDH(), theirs), kem)
    shared = expand(eae, b"shared_secret", enc + mine, 32, kem)
    suite = b"HPKE" + bytes.fromhex("001000010002")
    schedule = b"\0" + extract(b"", b"psk_id_hash", b"", suite)
    schedule += extract(b"", b"info_hash", CONTEXT, suite)
    secret = extract(shared, b"secret", b"", suite)
    key = expand(secret, b"key", schedule, 32, suite)
    nonce = expand(secret, b"base_nonce", schedule, 12, suite)
    assert AESGCM(key).decrypt(nonce, sealed, b"") == KEY


def test_what_a_key_cannot_do_is_said(tmp_path, p256, rsa2048):
    put(tmp_path, "rsa.pem", private_pem(rsa2048))
    put(tmp_path, "pub.pem", public_pem(p256), 0o644)
    put(tmp_path, "p384.pem", private_pem(ec.generate_private_key(ec.SECP384R1())))
    put(tmp_path, "ed.pem", private_pem(ed25519.Ed25519PrivateKey.generate()))
    put(tmp_path, "small.pem", private_pem(rsa.generate_private_key(65537, 1024)))  # noqa: S505
    put(tmp_path, "junk.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    put(tmp_path, "big.pem", b"x" * 100_000)
    for call, name, reason in [
        (registry.open_signer, "rsa.pem", "unsupported-key-use"),
        (registry.open_signer, "pub.pem", "not-private"),
        (registry.open_identity, "pub.pem", "not-private"),
        (registry.open_recipient, "p384.pem", "unsupported-key-use"),
        (registry.open_identity, "p384.pem", "unsupported-key-use"),
        (registry.open_signer, "ed.pem", "bad-key"),
        (registry.open_public, "small.pem", "bad-key"),
        (registry.open_public, "junk.pem", "bad-key"),
        (registry.open_public, "big.pem", "bad-key"),
        (registry.open_public, "vaultkms://x", "unknown-scheme"),
        (registry.open_public, "https://user:word@host/k", "secret-in-uri"),
    ]:
        with pytest.raises(ConfigError) as refused:
            call(name, tmp_path)
        assert (name, refused.value.reason) == (name, reason)
    with pytest.raises(UsageError) as missing:
        registry.open_public("gone.pem", tmp_path)
    assert missing.value.reason == "missing-path"
    with pytest.raises(UsageError, match=r"gone\.pem") as missing:
        registry.open_signer("gone.pem", tmp_path)
    assert missing.value.why is None  # the path is in the first line already
    assert "sovgate keys generate sign" in str(missing.value.fix)
    with pytest.raises(SovgateError) as short:
        registry.open_recipient("pub.pem", tmp_path).wrap(b"short", CONTEXT)
    assert short.value.reason == "bad-key-size"


def test_certificates_in_the_key_file_go_into_what_it_signs(tmp_path):
    """Key, its own certificate, those above it: so a signer is known by root and name."""
    from sovgate.formats.statement import PREDICATE_TYPES, Statement
    from sovgate.formats.x509 import CertificateRule, root_from_pem
    from sovgate.stages.seal import seal
    from sovgate.stages.trust import Trusted, open_statement

    root_key, leaf_key = KeySigner("p384"), KeySigner("p256")
    root = issue("root", root_key, "root", root_key, ca=True)
    leaf = issue("leaf", leaf_key, "root", root_key)
    chain = leaf.public_bytes(ser.Encoding.PEM) + root.public_bytes(ser.Encoding.PEM)
    put(tmp_path, "legal.pem", leaf_key.private_pem + chain)
    signer = registry.open_signer("legal.pem", tmp_path)
    assert signer.certificates == tuple(
        certificate.public_bytes(ser.Encoding.DER) for certificate in (leaf, root)
    )
    der, key = root_from_pem(root.public_bytes(ser.Encoding.PEM))
    rule = CertificateRule(root=der, san="dpo@bank.example")
    trusted = Trusted(name="legal", key=key, may=frozenset({"legal"}), zone="eu", certificate=rule)
    statement = Statement(
        subject_name="m",
        subject_sha256="ab" * 32,
        predicate_type=PREDICATE_TYPES["legal"],
        predicate={"dataset": "kyc-eu"},
    )
    assert open_statement(seal(statement, signer), [trusted]).signer.name == "legal"
    assert registry.open_public("legal.pem", tmp_path) == signer.public_key
    put(tmp_path, "mixed.pem", root_key.private_pem + chain)
    with pytest.raises(ConfigError) as refused:
        registry.open_signer("mixed.pem", tmp_path)
    assert refused.value.reason == "bad-key"
    put(tmp_path, "broken.pem", leaf_key.private_pem + chain.replace(b"MII", b"MIJ"))
    with pytest.raises(ConfigError):
        registry.open_signer("broken.pem", tmp_path)


def test_a_private_key_that_everyone_can_write_is_refused(tmp_path, p256):
    put(tmp_path, "k.pem", private_pem(p256), 0o602)
    with pytest.raises(DiskError) as refused:
        registry.open_signer("k.pem", tmp_path)
    assert refused.value.reason == "key-permissions"
    (tmp_path / "k.pem").chmod(0o640)
    registry.open_signer("k.pem", tmp_path)


def test_rule_29_no_key_tells_its_secret(tmp_path, p256, rsa2048, monkeypatch):
    """Reprs, attributes and pickles of keys hold nothing of the private half; errors neither."""
    monkeypatch.setenv(PASSPHRASE, "horse battery")
    for key in (p256, rsa2048):
        pem = private_pem(key)
        put(tmp_path, "k.pem", pem)
        line = pem.splitlines()[1].decode()
        opened = [registry.open_identity("k.pem", tmp_path)]
        if key is p256:
            opened.append(registry.open_signer("k.pem", tmp_path))
        for item in opened:
            assert line not in repr(item) + str(item) + repr(vars(item))
            with pytest.raises(TypeError):
                pickle.dumps(item)
        broken = pem.replace(pem.splitlines()[2], b"A" * 64)
        put(tmp_path, "broken.pem", broken)
        with pytest.raises(SovgateError) as refused:
            registry.open_identity("broken.pem", tmp_path)
        told = "".join(traceback.format_exception(refused.value)) + repr(refused.value)
        assert line not in told
        assert "horse battery" not in told


def test_every_named_adapter_is_there_and_keeps_the_contract():
    for scheme, module in registry.SCHEMES.items():
        assert scheme == scheme.lower()
        adapter = importlib.import_module(module)
        assert any(hasattr(adapter, use) for use in registry._USES)


# --- as other tools and systems write them ------------------------------------------------------
MARKS = (
    ("utf-8-sig", lambda data: b"\xef\xbb\xbf" + data),
    ("utf-16", lambda data: data.decode().encode("utf-16")),
    ("crlf", lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")),
)


@pytest.mark.parametrize(("_name", "spelled"), MARKS)
def test_both_halves_are_read_as_editors_of_windows_save_them(
    tmp_path: Path, p256, _name: str, spelled
) -> None:
    private = put(tmp_path, "k.pem", spelled(private_pem(p256)))
    public = put(tmp_path, "k.pub.pem", spelled(public_pem(p256)))
    signer = registry.open_signer(private, tmp_path)
    assert registry.open_public(public, tmp_path).der == signer.public_key.der
    assert signer.sign(b"x")


FOREIGN = [
    (b"", "it is empty", "keys generate"),
    (b"\r\n \n", "it is empty", "keys generate"),
    (b"-----BEGIN PGP PRIVATE " + b"KEY BLOCK-----\n\nlQdGBGQ=\n", "OpenPGP", "keys generate"),
    (b"-----BEGIN PGP PUBLIC " + b"KEY BLOCK-----\n\nlQdGBGQ=\n", "OpenPGP", "keys generate"),
    (b"-----BEGIN OPENSSH PRIVATE " + b"KEY-----\nb3Blbg==\n", "OpenSSH", "keys generate"),
    (b"-----BEGIN ENCRYPTED COSIGN PRIVATE " + b"KEY-----\neyJr\n", "cosign", "keys generate"),
    (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE " + b"KEY-----\neyJr\n", "cosign", "keys generate"),
    (b"-----BEGIN TSS2 PRIVATE " + b"KEY-----\nMIIB\n", "TPM", "keys generate"),
    (b"-----BEGIN DSA PRIVATE " + b"KEY-----\nMIIB\n", "a DSA key", "keys generate"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n", "age encrypted", "age -d"),
    (b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n", "request for a certificate", "name"),
    (b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n", "the name of a curve", "keys generate"),
    (b"PuTTY-User-Key-" + b"File-3: ecdsa-sha2-nistp256\n", "PuTTY", "keys generate"),
    (b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "RFC 4716", "keys generate"),
    (b"ecdsa-sha2-nistp256 AAAAE2Vj user@host\n", "a public key of OpenSSH", "ssh-keygen -e"),
    (b"untrusted comment: minisign encrypted secret key\nRWRT\n", "minisign", "keys generate"),
    (b"# created: 2026\n# public key: age1x\nAGE-SECRET-" + b"KEY-1Q\n", "age", "keys generate"),
    (b"$ANSIBLE_VAULT;1.1;AES256\n6162\n", "Ansible Vault", "ansible-vault decrypt"),
    (b"vault:v1:abcd==", "HashiCorp Vault", "decrypt it first"),
    (b'{"kty": "EC", "crv": "P-256"}', "JSON Web Key", "PEM"),
    (b'{"primaryKeyId": 1, "key": []}', "Tink", "keys generate"),
    (b'{"type": "service_account", "private_key": "x"}', "Google service account", "keys"),
    (b'{"keytype": "ecdsa"}', "securesystemslib", "keys generate"),
    (b"apiVersion: v1\nkind: Secret\ndata:\n  k: LS0t\n", "Secret of Kubernetes", "base64 -d"),
    (b"data: ENC[AES]\nsops:\n  kms: []\n", "SOPS", "sops -d"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS", "git lfs pull"),
    (b"<!DOCTYPE html><html>", "a page of the web", "keys generate"),
    (
        b"\x30\x82\x01\x0a\x02\x01\x03\x30\x82\x00\x01\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07",
        "PKCS#12",
        "openssl",
    ),
    (b"\xfe\xed\xfe\xed\0\0\0\2", "Java key store", "openssl"),
    (b"\0\1\2\3", "a binary file", "keys generate"),
]


@pytest.mark.parametrize(("data", "what", "fix"), FOREIGN)
@pytest.mark.parametrize("use", ["open_signer", "open_identity", "open_public", "open_recipient"])
def test_a_key_of_another_tool_is_called_by_its_name_and_no_passphrase_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str, data: bytes, what: str, fix: str
) -> None:
    monkeypatch.delenv(PASSPHRASE, raising=False)
    put(tmp_path, "k", data)
    with pytest.raises(ConfigError) as caught:
        getattr(registry, use)("k", tmp_path)
    assert caught.value.exit_code == 3
    assert what in caught.value.why
    assert fix in caught.value.fix
    assert "passphrase" not in str(caught.value.why)


def test_the_base64_of_a_pem_and_der_are_told_with_the_command_that_helps(
    tmp_path: Path, p256
) -> None:
    import base64

    pem, der = private_pem(p256), ser.Encoding.DER
    cases = [
        (base64.b64encode(pem), "base64 of a PEM file", "base64 -d"),
        (base64.encodebytes(pem), "base64 of a PEM file", "base64 -d"),
        (b'"' + base64.b64encode(pem) + b'"\n', "base64 of a PEM file", "base64 -d"),
        (base64.b64encode(public_pem(p256)), "base64 of a PEM file", "base64 -d"),
        (
            p256.private_bytes(der, ser.PrivateFormat.PKCS8, ser.NoEncryption()),
            "in DER",
            "-inform DER",
        ),
    ]
    for data, what, fix in cases:
        put(tmp_path, "k", data)
        for use in (registry.open_signer, registry.open_public):
            with pytest.raises(ConfigError) as caught:
                use("k", tmp_path)
            assert what in (caught.value.why or "")
            assert fix in (caught.value.fix or "")


def test_what_is_said_of_a_foreign_key_repeats_nothing_of_it(tmp_path: Path) -> None:
    secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQ"
    for head in ("-----BEGIN OPENSSH PRIVATE " + "KEY-----\n", "vault:v1:", '{"kty":"', "\0"):
        put(tmp_path, "k", (head + secret).encode())
        with pytest.raises(ConfigError) as caught:
            registry.open_signer("k", tmp_path)
        shown = f"{caught.value.what} {caught.value.why} {caught.value.fix}"
        assert secret not in shown


def test_a_public_key_where_a_private_one_is_needed_keeps_its_own_reason(
    tmp_path: Path, p256
) -> None:
    put(tmp_path, "k", public_pem(p256))
    with pytest.raises(ConfigError) as caught:
        registry.open_signer("k", tmp_path)
    assert caught.value.reason == "not-private"


def test_a_public_half_is_written_once_and_another_stays(tmp_path: Path) -> None:
    made = generate("sign", out=tmp_path / "a.pem")
    out = tmp_path / "exported.pub.pem"
    for _ in range(2):  # the same one may be there
        export(show(f"file:{made.private}")[0], out)
        assert out.read_bytes() == made.public.read_bytes()
    other = generate("sign", out=tmp_path / "b.pem")
    with pytest.raises(UsageError) as caught:
        export(other.key, out)
    assert caught.value.reason == "output-exists"
    assert out.read_bytes() == made.public.read_bytes()
    assert b"PRIVATE" not in out.read_bytes()


KINDS = {
    "it is a key of Ed25519": ed25519.Ed25519PrivateKey.generate,
    "it is a key of X25519": x25519.X25519PrivateKey.generate,
    "it is an EC key on secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "it is an RSA key of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505
}


@pytest.mark.parametrize("why", KINDS)
def test_a_key_of_a_kind_that_is_not_used_here_is_called_by_its_name(
    tmp_path: Path, why: str
) -> None:
    put(tmp_path, "k.pem", private_pem(KINDS[why]()))
    with pytest.raises(ConfigError) as refused:
        registry.open_public("k.pem", tmp_path)
    assert refused.value.why == why
    assert "RSA of 2048" in str(refused.value.fix)


def test_the_command_that_mends_a_compressed_public_half_mends_it(tmp_path: Path, p256) -> None:
    """And the one for a certificate: each is run as it is told."""
    components.found(components.program, "openssl", get="apt-get install openssl")
    put(tmp_path, "k.pem", private_pem(p256))
    make = "openssl ec -in k.pem -pubout -conv_form compressed -out c.pem"
    cert = "openssl req -new -x509 -key k.pem -subj /CN=a -days 10 -out x.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(cert.split(), cwd=tmp_path, check=True, capture_output=True)
    for name in ("c.pem", "x.pem"):
        with pytest.raises(ConfigError) as refused:
            registry.open_public(name, tmp_path)
        told = str(refused.value.fix).partition(": ")[2]
        assert told.startswith("openssl ")
        run = told.replace("FILE", name).replace("NEW", f"new-{name}")
        subprocess.run(run, shell=True, cwd=tmp_path, check=True, capture_output=True)  # noqa: S602
        mended = registry.open_public(f"new-{name}", tmp_path)
        assert mended == registry.open_public("k.pem", tmp_path)


def test_the_command_that_converts_a_key_of_openssh_converts_it(tmp_path: Path) -> None:
    components.found(components.program, "ssh-keygen", get="apt-get install openssh-client")
    make = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "k"]
    subprocess.run(make, cwd=tmp_path, check=True)
    with pytest.raises(ConfigError) as refused:
        registry.open_signer("k", tmp_path)
    told = str(refused.value.fix).partition(": ")[2].partition(";")[0]
    asked = ["-P", "", "-N", ""]  # what it would ask for
    run = [*told.replace("COPY", "k").split(), *asked]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)
    signer = registry.open_signer("k", tmp_path)
    signer.public_key.verify(b"message", signer.sign(b"message"))
