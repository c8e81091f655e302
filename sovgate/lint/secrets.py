"""Tells key material by its form: private keys, cloud secrets, commitment keys. Bytes in, no I/O.

A header alone is none: documents and programs speak of keys. What follows it must be one.
"""

from __future__ import annotations

import re

#: With what stands around a key's lines in a notebook, a program, a comment or a quotation.
_BODY = rb"[A-Za-z0-9+/=\\\r\n \t,:.\"'#>*|-]{0,300}?[A-Za-z0-9+/]{40}"
#: A quotation mark, also within text that is itself quoted: JSON in a notebook. Not to begin a
#: pattern with, which a search then could not leap to.
_Q = rb"\\{0,3}\""
#: (what it is, pattern). Bounded, without nested repetition, so that no file makes one slow.
_PATTERNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    (
        "a private key",
        re.compile(rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----" + _BODY),
    ),
    ("an age key", re.compile(rb"AGE-SECRET-KEY-1[AC-HJ-NP-Z02-9]{58}")),
    (
        "an AWS secret key",
        re.compile(
            rb"(?i:aws_?secret_?(?:access_?)?key)[\\\"'\] ]{0,6}[=:][\\\"' ]{0,6}"
            rb"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
        ),
    ),
    ("an Azure storage key", re.compile(rb"AccountKey=[A-Za-z0-9+/]{86}==")),
    (
        "a GitHub token",
        re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{82})\b"),
    ),
    ("a GitLab token", re.compile(rb"\bglpat-[A-Za-z0-9_-]{20}\b")),
    ("a Vault token", re.compile(rb"\bhv[sb]\.[A-Za-z0-9_-]{60,200}\b")),
    (
        "a Tink keyset in the clear",
        re.compile(
            rb"\"keyMaterialType"
            + _Q
            + rb"\s{0,20}:\s{0,20}"
            + _Q
            + rb"(?:SYMMETRIC|ASYMMETRIC_PRIVATE)"
            + _Q
        ),
    ),
)
_JWK = re.compile(rb"\"kty" + _Q + rb"\s{0,9}:")
_JWK_SECRET = re.compile(rb"\"[dk]" + _Q + rb"\s{0,9}:\s{0,9}" + _Q + rb"[A-Za-z0-9_-]{20,}" + _Q)
#: `sovgate data key` writes this and nothing else.
_COMMITMENT = re.compile(rb"[A-Za-z0-9+/]{43}=\r?\n?")
#: Public examples of the providers' own documentation.
_EXAMPLE = re.compile(rb"EXAMPLE|example", re.ASCII)
_BINARY = {"p12": "a PKCS#12 key store", "pfx": "a PKCS#12 key store", "jks": "a Java key store"}
#: Key stores by how they begin: a PFX of version 3 with its content type (RFC 7292), Java's two.
_STORES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    (
        "a PKCS#12 key store",
        re.compile(
            rb"\x30(?:\x80|[\x81-\x84].{1,4})\x02\x01\x03\x30(?:[\x80-\x84].{0,4}|.)"
            rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07",
            re.DOTALL,
        ),
    ),
    ("a Java key store", re.compile(rb"(?:\xfe\xed\xfe\xed|\xce\xce\xce\xce)\0\0\0[\1\2]")),
)


def find(name: str, data: bytes) -> tuple[str, int | None] | None:
    """What key material the file holds, and its line; None where there is none."""
    if _COMMITMENT.fullmatch(data):
        return "a commitment key", 1
    ending = name.rpartition(".")[2].lower()
    if ending in _BINARY and data[:1] in (b"\x30", b"\xfe"):
        return _BINARY[ending], None
    for what, pattern in _STORES:
        if pattern.match(data):
            return what, None
    for what, pattern in _PATTERNS:
        for match in pattern.finditer(data):
            if what.startswith("an AWS") and _EXAMPLE.search(match.group()):
                continue
            return what, data.count(b"\n", 0, match.start()) + 1
    found = _JWK.search(data)
    if found and _JWK_SECRET.search(data):
        return "a private JSON Web Key", data.count(b"\n", 0, found.start()) + 1
    return None
