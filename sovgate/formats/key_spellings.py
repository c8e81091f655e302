"""How a key is written where it is no plain text: DER at any place, hex, base64, UTF-16. No I/O.

For `secrets`, which says what is asked. Whatever looks like the beginning of a key is read on as
one: a few bytes alone are no key, since weights hold any few bytes. Each look is one pass.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from sovgate.formats.secret_forms import BODY

#: A key in DER has less than that behind the header of its outermost sequence.
_MOST = 64 * 1024
#: What follows the header of a private key: PKCS#8; SEC 1; PKCS#1, and DSA as OpenSSL had it; the
#: beginning of PKCS#12.
_BEGINS = re.compile(
    rb"\x02\x01(?:[\x00\x01]\x30(?:[\x05-\x7f]|\x81.|\x82..)\x06|\x01\x04[\x14-\x48]|\x00\x02[\x40-\x82]"
    rb"|\x03\x30[\x80-\x84].{0,4}?\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07)",
    re.DOTALL,
)
#: PBES2, which encrypts a key in PKCS#8, with its tag.
_PBES2 = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"
#: Java's key stores: a version, fewer than 256 entries, and the kind of the first.
_JAVA = tuple(
    re.compile(mark + rb"\0\0\0[\1\2]\0\0\0[^\0]\0\0\0[\1\2]")
    for mark in (rb"\xfe\xed\xfe\xed", rb"\xce\xce\xce\xce")
)
#: Of RSA, behind the version; DSA has five. The first is the modulus, in bytes.
_NUMBERS, _LARGE = 8, 64
#: So many beginnings are followed: hardly a file has one that is none of a key.
_MAX_BEGINS = 2000
TOO_MANY = "more beginnings of private keys than are looked at, and perhaps one"
_KEY, _ENCRYPTED = "a private key", "an encrypted private key"


def binary_key(data: bytes) -> tuple[str, int] | None:
    """The first private key or key store in DER, or Java's, and where it begins; or None."""
    # A text has none of these bytes: one alone is looked for many times faster than a pattern.
    begins = _BEGINS.finditer(data) if b"\x02" in data else ()
    for count, match in enumerate(begins):
        start = match.start()
        if count == _MAX_BEGINS:
            return TOO_MANY, start
        kind = data[start + 2 : start + 4]
        for begin, end in _headers(data, start):
            if kind == b"\x03\x30":
                return "a PKCS#12 key store", begin
            known = {b"\x00\x02": _is_pkcs1, b"\x01\x04": _is_sec1}.get(kind, _is_pkcs8)
            if known(data, start + 3, end):
                return _KEY, begin
    at, count = -1, 0
    while b"\x06" in data and (at := data.find(_PBES2, at + 1)) >= 0:
        if (count := count + 1) > _MAX_BEGINS:
            return TOO_MANY, at
        for inner, last in _headers(data, at):
            octets = _value(data, last, 0x04)
            for begin, end in _headers(data, inner) if octets is not None else ():
                if octets is not None and octets[1] == end:
                    return _ENCRYPTED, begin
    if b"\0" not in data:
        return None
    java = next(filter(None, (pattern.search(data) for pattern in _JAVA)), None)
    return None if java is None else ("a Java key store", java.start())


def _headers(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Each (begin, end) of a SEQUENCE whose content may begin at `at`."""
    for width in range(1, 6):
        begin = at - 1 - width
        if begin < 0 or data[begin] != 0x30:
            continue
        if width == 2 and data[begin + 1] == 0x80:  # BER, as PKCS#12 may be
            yield begin, min(len(data), at + _MOST)
        found = _value(data, begin, 0x30)
        if found is not None and found[0] == at:
            yield begin, found[1]


def _value(data: bytes, at: int, tag: int) -> tuple[int, int] | None:
    """Where the content of a value of this tag begins and ends; None where none is at `at`."""
    if data[at : at + 1] != bytes([tag]) or at + 2 > len(data):
        return None
    count, start = data[at + 1], at + 2
    if count & 0x80:
        width = count & 0x7F
        if not 1 <= width <= 4 or start + width > len(data):
            return None
        count, start = int.from_bytes(data[start : start + width], "big"), start + width
    return (start, start + count) if count <= _MOST else None


def _is_pkcs8(data: bytes, at: int, end: int) -> bool:
    """`at` is behind the version: what the key is for, the key, and perhaps more about it."""
    algorithm = _value(data, at, 0x30)
    octets = None if algorithm is None else _value(data, algorithm[1], 0x04)
    if algorithm is None or octets is None or octets[1] - octets[0] < 16:
        return False
    name = _value(data, algorithm[0], 0x06)
    more = data[octets[1] : octets[1] + 1] in (b"\xa0", b"\xa1", b"\x81")
    whole = octets[1] == end or (more and octets[1] < end)
    return whole and name is not None and name[1] <= algorithm[1]


def _is_sec1(data: bytes, at: int, end: int) -> bool:
    """The number, and its curve or its public key: a number alone is told of no other."""
    octets = _value(data, at, 0x04)
    if octets is None or octets[1] >= end:
        return False
    tag = data[octets[1]] if octets[1] < len(data) else 0
    inner = _value(data, octets[1], tag) if tag in (0xA0, 0xA1) else None
    kind = data[inner[0]] if inner is not None and inner[0] < len(data) else 0
    return inner is not None and inner[1] <= end and kind == (0x06 if tag == 0xA0 else 0x03)


def _is_pkcs1(data: bytes, at: int, end: int) -> bool:
    """Numbers that follow one another to the end, the first of them large."""
    sizes: list[int] = []
    while at < end and len(sizes) < _NUMBERS:
        number = _value(data, at, 0x02)
        if number is None:  # perhaps cut where nobody looks on
            return at >= len(data) and len(sizes) > 1 and sizes[0] >= _LARGE
        sizes.append(number[1] - number[0])
        at = number[1]
    return at == end and len(sizes) in (5, _NUMBERS) and sizes[0] >= _LARGE


#: Between two bytes in hex: what dumps, programs and settings put there.
_GAP = rb"[\s:,;.\\\"'_-]{0,6}(?:0?[xX])?"
_HEX = rb"[0-9A-Fa-f]{2}"


def _hex(*bytes_of: bytes) -> bytes:
    return _GAP.join(bytes_of)


#: "BEGIN " of PEM, and the header of a key in DER with what follows it.
_BEGIN_HEX = re.compile(_hex(b"42", b"45", b"47", b"49", b"4[eE]", b"20"))
_DER_HEX = re.compile(
    b"30"
    + _GAP
    + rb"(?:8[12](?:%b%b){1,2}%b|%b%b)" % (_GAP, _HEX, _GAP, _HEX, _GAP)
    + rb"(?:%b|%b)"
    % (_hex(b"02", b"01", b"0[013]", b"(?:0[24]|30)"), _hex(b"30", _HEX, b"06", b"09", b"2[aA]"))
)
#: Of what is in hex so many letters are read on: the numbers of a key may be cut.
#: The shortest key, of Ed25519, has more bytes: a program may hold the beginning of one.
_HEX_READ, _SHORTEST = 16 * 1024, 40
_IN_HEX = re.compile(rb"[0-9A-Fa-fxX\s:,;.\\\"'_-]+")
_NO_HEX = re.compile(rb"0[xX]|[^0-9A-Fa-f]")
_PEM = re.compile(
    rb"BEGIN (?:[A-Z0-9]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,300}?[A-Za-z0-9+/]{40}"
)


def hex_key(data: bytes) -> tuple[str, int] | None:
    """A private key whose PEM or DER is written in hex, and where."""
    for pattern in (_BEGIN_HEX, _DER_HEX):
        for count, match in enumerate(pattern.finditer(data)):
            plain = _unhexed(data, match.start())
            if count == _MAX_BEGINS:
                return TOO_MANY, match.start()
            if _PEM.match(plain):
                return "a private key in hex", match.start()
            found = binary_key(plain) if len(plain) >= _SHORTEST else None
            if found is not None and found[1] == 0:
                return f"{found[0]} in hex", match.start()
    return None


def _unhexed(data: bytes, at: int) -> bytes:
    """What stands there in hex, up to the first letter that is none."""
    written = _IN_HEX.match(data, at, at + _HEX_READ)
    digits = _NO_HEX.sub(b"", written.group()) if written is not None else b""
    return binascii.unhexlify(digits[: len(digits) // 2 * 2])


def _marks64(word: bytes) -> tuple[bytes, ...]:
    """What base64 makes of it at any offset of three, but for the letters that others share."""
    return tuple(
        base64.b64encode(bytes(skip) + word)[(skip * 8 + 5) // 6 : (skip + len(word)) * 8 // 6]
        for skip in range(3)
    )


#: Of the beginning of a key in base64 a line may break one of them; and the first in base64 again.
_MARKS64 = (*_marks64(b"-----BEGIN"), *_marks64(b"PRIVATE KEY"))
_TWICE = tuple(mark for once in _MARKS64[:3] for mark in _marks64(once))
_BEFORE, _BEHIND, _STEP64 = 128, 384, 128
#: Certificates begin so too: more of them than a file of `secrets.WINDOW` has.
_MAX_MARKS = 5000
_PRIVATE = re.compile(rb"BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----" + BODY)


def base64_key(data: bytes) -> tuple[str, int] | None:
    """A private key in PEM that is in base64, or in base64 twice, and where."""
    count = 0
    for mark in (*_MARKS64, *_TWICE):
        at = data.find(mark)
        while at >= 0:
            if _wraps(data[max(0, at - _BEFORE) : at + _BEHIND]):
                return "a private key in base64", at
            if (count := count + 1) > _MAX_MARKS:
                return TOO_MANY, at
            at = data.find(mark, at + _STEP64)
    return None


def _wraps(text: bytes, *, again: bool = True) -> bool:
    """Whether base64, from any of its four places on, says that it is a private key in PEM."""
    clean = re.sub(rb"\\[rn]|[^A-Za-z0-9+/]", b"", text)
    for skip in range(4):
        inner = decoded(clean[skip:])
        if _PRIVATE.search(inner):
            return True
        if again and any(mark in inner for mark in _MARKS64) and _wraps(inner, again=False):
            return True
    return False


def decoded(text: bytes) -> bytes:
    """As much of base64 as is whole; nothing where it is none."""
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return b""


#: "a" for what stands in a text, a zero for a zero, "x" for all else.
_KINDS = bytes(
    0 if byte == 0 else ord("a") if 32 <= byte < 127 or 9 <= byte <= 13 else ord("x")
    for byte in range(256)
)
#: Whatever a pattern of `secrets` finds has so many letters in a row.
LETTERS = 20
_BLOCK = 64 * 1024
_WIDE = re.compile(rb"(?:a\0){%d,}a?" % LETTERS)


def words(data: bytes) -> list[tuple[int, int]]:
    """The parts of bytes in which a text may be, and so much on both sides as a secret is long.

    Weights have hardly one: that is told ten times faster than that there is no secret in them.
    """
    if b"\0" not in data:
        return [(0, len(data))]
    kinds, run, at = data.translate(_KINDS), b"a" * LETTERS, 0
    parts: list[tuple[int, int]] = []
    while (found := kinds.find(run, at)) >= 0:
        at = (found // _BLOCK + 1) * _BLOCK
        start, end = max(0, at - 2 * _BLOCK), min(len(data), at + _BLOCK)
        if parts and start <= parts[-1][1]:
            start = parts.pop()[0]
        parts.append((start, end))
        at = max(at - LETTERS, found + 1)
    return parts


def is_wide(head: bytes) -> bool:
    """Whether a file that begins so is a text in UTF-16, without a mark that says so."""
    return len(narrowed(head)) * 5 >= len(head) * 2


def narrowed(data: bytes) -> bytes:
    """The ASCII of texts in UTF-16 within bytes, without a mark that says so."""
    kinds = data.translate(_KINDS) if b"\0" in data else b""
    if b"a\0" * LETTERS not in kinds:
        return b""
    spans = (match.span() for match in _WIDE.finditer(kinds))
    return b"\0".join(data[start:end].replace(b"\0", b"") for start, end in spans)
