"""Keys that are no plain text: DER at any place, hex, base64 of PEM, UTF-16 (RULES 38)."""

from __future__ import annotations

import base64
import datetime
import random
import re
from collections.abc import Callable
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import pkcs12

from sovgate.formats import key_spellings, secrets
from sovgate.formats.tensors._source import BytesSource
from tests.effort import effort

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
OPENSSL = serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"x")
#: Like weights: any bytes. Longer than a block of those that are looked at at once.
NOISE = random.Random(7).randbytes(150_001)
MAKERS = {
    "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "x25519": x25519.X25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "dsa": lambda: dsa.DSAParameterNumbers(*DSA).parameters().generate_private_key(),
}
#: A group for DSA takes long to make. This one is of FIPS 186.
DSA = (
    int(
        "8df2a494492276aa3d25759bb06869cbeac0d83afb8d0cf7cbb8324f0d7882e5"
        "d0762fc5b7210eafc2e9adac32ab7aac49693dfbf83724c2ec0736ee31c80291",
        16,
    ),
    int("c773218c737ec8ee993b4f2ded30f48edace915f", 16),
    int(
        "626d027839ea0a13413163a55b4cb500299d5522956cefcb3bff10f399ce2c2e"
        "71cb9de5fa24babf58e5b79521925c9cc42e9f6f464b088cc572af53e6d78802",
        16,
    ),
)
BOTH = [(name, form) for name in ("ec", "p521", "rsa") for form in (PKCS8, OPENSSL)]
BOTH += [(name, PKCS8) for name in ("ed25519", "x25519")]


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:  # and others, which write themselves alike
    return MAKERS[name]()  # type: ignore[return-value]


def found(data: bytes) -> str | None:
    one = secrets.find("a.bin", data)
    return None if one is None else one[0]


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "behind a letter": lambda data: b"x" + data,
    "within": lambda data: NOISE + data + NOISE,
    "at the end": lambda data: NOISE + data,
    "among zeros": lambda data: bytes(99) + data + bytes(9999),
    "in a pickle": lambda data: b"\x80\x04B" + len(data).to_bytes(4, "little") + data + b".",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("name", "form"), BOTH)
def test_a_key_in_der_is_found_at_any_place(
    name: str, form: serialization.PrivateFormat, place: str
) -> None:
    assert found(PLACES[place](key(name).private_bytes(DER, form, PLAIN))) == "a private key"


def test_so_are_encrypted_keys_and_key_stores() -> None:
    locked = key("ec").private_bytes(DER, PKCS8, LOCKED)
    store = pkcs12.serialize_key_and_certificates(b"a", key("ec"), None, None, LOCKED)
    java = b"\xfe\xed\xfe\xed\0\0\0\2\0\0\0\1\0\0\0\1\0\x03key"
    for place in PLACES.values():
        assert found(place(locked)) == "an encrypted private key"
        assert found(place(store)) == "a PKCS#12 key store"
        assert found(place(java)) == "a Java key store"


@pytest.mark.parametrize("name", ["ec", "ed25519", "rsa"])
def test_public_keys_and_numbers_beside_one_another_are_none(name: str) -> None:
    public = key(name).public_key()
    for encoding in (DER, PEM):
        data = public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        for told in (data, b"x" + data, data.hex().encode(), base64.b64encode(data)):
            assert found(told) is None
    half = key("ec").private_bytes(DER, PKCS8, PLAIN)[:26]
    for told in (
        b"x" + half + NOISE,  # a beginning, and something else in the place of the key
        b"x\x30\x25\x02\x01\x01\x04\x20" + bytes(32),  # a number and 32 bytes: a digest may be so
        b"x\x30\x06\x02\x01\x00\x02\x01\x03" + bytes(300),
        b"\x02\x01\x00\x30\x0a\x06\x03" * 999,
    ):
        assert found(told) is None


def _dump(data: bytes) -> str:
    rows = [data[at : at + 12] for at in range(0, len(data), 12)]
    rest = ",\n  ".join(", ".join(f"0x{byte:02x}" for byte in row) for row in rows)
    return f"unsigned char key[] = {{\n  {rest}\n}};"


HEX: dict[str, Callable[[bytes], str]] = {
    "plain": lambda data: data.hex(),
    "capitals": lambda data: data.hex().upper(),
    "spaces": lambda data: data.hex(" "),
    "colons": lambda data: data.hex(":"),
    "escapes": lambda data: "".join(f"\\x{byte:02x}" for byte in data),
    "lines": lambda data: "\n".join(data.hex()[at : at + 60] for at in range(0, 9999, 60)),
    "a program": _dump,
}


@pytest.mark.parametrize("way", HEX)
@pytest.mark.parametrize("encoding", [PEM, DER])
def test_a_key_in_hex_is_found(encoding: serialization.Encoding, way: str) -> None:
    for name, form in BOTH:
        text = HEX[way](key(name).private_bytes(encoding, form, PLAIN)).encode()
        assert found(b"key = " + text + b"\n") == "a private key in hex", (name, form)
    assert found(NOISE + text + NOISE) == "a private key in hex"


def test_an_encrypted_key_in_hex_is_found_and_its_line_told() -> None:
    text = key("ec").private_bytes(DER, PKCS8, LOCKED).hex().encode()
    assert secrets.find("a.txt", b"\n\n" + text) == ("an encrypted private key in hex", 3)


@pytest.mark.parametrize("signer", ["ed25519", "rsa"])
@pytest.mark.parametrize("encoding", [PEM, DER])
def test_a_list_of_revoked_certificates_is_none(
    signer: str, encoding: serialization.Encoding
) -> None:
    """It begins as a key of PKCS#8 does: a version, and an algorithm."""
    day = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 - as the builder takes it
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    made = x509.CertificateRevocationListBuilder().issuer_name(name)
    made = made.last_update(day).next_update(day + datetime.timedelta(days=9))
    if signer == "rsa":
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        signed = made.sign(key("rsa"), hashes.SHA256(), rsa_padding=pss)  # type: ignore[arg-type]
    else:
        signed = made.sign(key("ed25519"), None)  # type: ignore[arg-type]
    data = signed.public_bytes(encoding)
    for text in (data, base64.b64encode(data), data.hex().encode()):
        assert found(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\nYOUR_PRIVATE_KEY_HERE\n-----END PRIVATE KEY-----\n",
        'if "-----BEGIN RSA PRIVATE KEY-----" in text: raise ValueError("a key")\n',
    ],
)
def test_base64_of_what_only_speaks_of_keys_is_none(text: str) -> None:
    assert found(base64.b64encode(text.encode())) is None


@pytest.mark.parametrize(("width", "times"), [(0, 1), (64, 1), (76, 1), (0, 2)])
def test_a_pem_file_in_base64_is_found_at_any_offset_however_its_lines_break(
    width: int, times: int
) -> None:
    pem = key("ec").private_bytes(PEM, PKCS8, PLAIN)
    for before in range(0, 90, 7):
        text = b"y" * before + pem
        for _ in range(times):
            text = base64.b64encode(text)
            step = width or len(text)
            text = b"\n".join(text[at : at + step] for at in range(0, len(text), step))
        assert found(b"data: " + text + b"\n") == "a private key in base64", before


def test_it_is_found_behind_certificates() -> None:
    chain = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(NOISE[:9000])
    pem = chain + key("ec").private_bytes(PEM, OPENSSL, PLAIN)
    assert found(base64.b64encode(pem)) == "a private key in base64"
    assert found(base64.b64encode(chain)) is None


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_text_in_utf_16_needs_no_mark(encoding: str) -> None:
    pem = key("ec").private_bytes(PEM, PKCS8, PLAIN).decode()
    token = "token: ghp_" + "a1" * 18 + "\n"
    for text in (pem, token, "é Ω\n" * 9 + pem):
        data = text.encode(encoding)
        for told in (data, NOISE + b"\0" + data + NOISE, bytes(9) + data):
            assert found(told) is not None
    large = ("nothing here\n" * 400_000 + token).encode(encoding) + "end\n".encode(
        encoding
    ) * 999_999
    assert secrets.search("a.txt", BytesSource(large)) == ("a GitHub token", None)
    for name, text in (
        (".env", "API_TOKEN=abcdefghijkl\nX=1\n"),
        (".netrc", f"machine a login b\tpassword {'x' * 9}"),
    ):
        assert secrets.find(name, text.encode(encoding)) is not None
        assert secrets.find("notes.md", text.encode(encoding)) is None
    made = base64.b64encode(b"<" + b"x" * 31).decode() + "\n"
    assert secrets.find("k", made.encode(encoding)) == ("a commitment key", 1)


def test_weights_hold_none() -> None:
    """Nor is a word of theirs looked at, but for a part around it."""
    floats = b"".join(bytes(2) + NOISE[at : at + 2] for at in range(0, 60_000, 2))
    small = bytes(byte & 3 for byte in NOISE)
    for data in (NOISE * 9, floats, small, bytes(500_000), bytes(range(256)) * 999):
        assert found(data) is None
    header = b'{"__metadata__": {"format": "pt"}}'
    assert key_spellings.words(header + NOISE * 9) == [(0, 128 * 1024)]
    assert key_spellings.words(NOISE * 9) == []


def test_a_text_among_weights_is_looked_at_wherever_it_stands() -> None:
    token = b"ghp_" + b"a1" * 18
    for at in (0, 1, 65_500, 65_516, 65_535, 65_536, 131_050, 150_000):
        data = NOISE[:at] + b"\0" + token + b"\0" + NOISE[at:]
        assert found(data) == "a GitHub token", at
    first = b'"text": "' + b"ab " * 99 + b'"'
    assert found(first + NOISE + NOISE + token + b"\0") == "a GitHub token"


def test_no_secret_is_shorter_than_what_is_looked_for_first() -> None:
    more = [secrets._AWS[1], secrets._LOGIN, secrets._JWT, secrets._DER64, secrets._JWK_SECRET]
    for pattern in [pattern for _, pattern in secrets.PATTERNS] + more:
        least, _ = re._parser.parse(pattern.pattern).getwidth()  # type: ignore[attr-defined]
        assert least >= key_spellings.LETTERS, pattern


def test_no_file_makes_it_slow() -> None:
    """Where time grew with the square of their length, these would take hours."""
    begin = b"\x30\x82\xff\xff\x02\x01\x00\x02\x40"
    too_many = {
        "pkcs1": begin * 200_000,
        "sec1": b"\x30\x77\x02\x01\x01\x04\x20" * 200_000,
        "pbes2": b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d" * 150_000,
        "hex": b"30820400020100300d" * 100_000,
        "pem in hex": b"424547494e20" * 150_000,
        "base64": b"LS0tLS1CRUdJTi" * 60_000,
        "base64 twice": b"TFMwdExTMUNSVWRKVG" * 50_000,
    }
    for name, data in too_many.items():
        with effort(most=800_000):
            assert found(b"x" + data) == key_spellings.TOO_MANY, name
    for data in (
        begin + b"\x02\x00" * 900_000,
        b"42 " * 600_000,
        b"a\0" * 900_000,
        bytes(2_000_000),
    ):
        with effort(most=400_000):
            assert found(data) is None


def test_what_is_long_and_no_token_is_read_once() -> None:
    """Counted where it shows: how often the pattern begins anew."""
    for data, most in ((b"eyJ" * 300_000, 5000), (b"eyJ." * 10_000, 60_000)):
        with effort(most=most):
            assert list(secrets._tokens(data)) == []
    token = b"eyJhbGciOiJSUzI1NiJ9." + b"eyJ" + b"a" * 40 + b"." + b"s" * 40
    assert [match[0] for match in secrets._tokens(b"eyJx " + token + b" a-" + token)] == [token] * 2
    for text in (b"</P><D>" + b"\n" * 3000, b"</P><D>" + b"A" * 2000 + b"\n" * 1000):
        xml = dict(secrets.PATTERNS)["a private key in XML"]
        assert xml.search(text * 300) is None
    assert xml.search(b"</DQ>\n  <D>\n" + b"QUJD" * 40 + b"==\n  </D>") is not None
