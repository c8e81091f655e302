"""What a key file is, whoever wrote it: its text decoded once, and another tool's key by its name.

Pure, no I/O. Nothing of a file's content stands in what is said of it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

#: Blocks that are ours to open.
_OWN = re.compile(
    rb"-----BEGIN (?:(?:ENCRYPTED |EC |RSA )?PRIVATE KEY|PUBLIC KEY|CERTIFICATE)-----"
)
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")
_GENERATE = "make one with: sovgate keys generate sign|encrypt -o FILE"
_COSIGN = "its public half, cosign.pub, is read as it is; to sign, " + _GENERATE
_SSH = "sovgate signs with EC P-256, P-384 or P-521 in PEM; " + _GENERATE

#: (beginning of the label, what it is, what helps). The first that fits counts.
_LABELS: tuple[tuple[bytes, str, str], ...] = (
    (b"PGP ", "a key of OpenPGP (GnuPG)", _GENERATE),
    (
        b"OPENSSH ",
        "a key of OpenSSH",
        f"convert a copy, if it is EC or RSA: ssh-keygen -p -m PKCS8 -f COPY; or {_GENERATE}",
    ),
    (b"SSH2 ", "a key of SSH in RFC 4716 form", _SSH),
    (b"ENCRYPTED COSIGN ", "a key of cosign, encrypted in its own way", _COSIGN),
    (b"ENCRYPTED SIGSTORE ", "a key of cosign, encrypted in its own way", _COSIGN),
    (b"AGE ", "a file that age encrypted", "decrypt it first: age -d -i IDENTITY FILE"),
    (b"TSS2 ", "a key in a TPM, which only that TPM can use", _GENERATE),
    (b"DSA ", "a DSA key", _GENERATE),
    (b"DH PARAMETERS", "parameters of Diffie-Hellman, and no key", _GENERATE),
    (b"EC PARAMETERS", "the name of a curve, without a key", _GENERATE),
    (
        b"RSA PUBLIC KEY",
        "a public key in PKCS#1 form",
        "openssl rsa -RSAPublicKey_in -in FILE -pubout -out NEW",
    ),
    (b"CERTIFICATE REQUEST", "a request for a certificate", "name the key that it was made with"),
    (b"NEW CERTIFICATE REQUEST", "a request for a certificate", "name the key of it"),
    (
        b"TRUSTED CERTIFICATE",
        "a certificate with OpenSSL's own additions",
        "openssl x509 -in FILE -noout -pubkey > NEW",
    ),
    (b"PKCS7", "a list of certificates (PKCS#7)", "openssl pkcs7 -print_certs"),
)
#: (pattern at the beginning of the text, what it is, what helps).
_TEXTS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"PuTTY-User-Key-File-"), "a key of PuTTY", _SSH),
    (re.compile(rb"---- BEGIN SSH2 "), "a key of SSH in RFC 4716 form", _SSH),
    (
        re.compile(rb"(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-\S{1,40}|sk-\S{1,60}) AAAA"),
        "a public key of OpenSSH",
        "for an EC or RSA key: ssh-keygen -e -m PKCS8 -f FILE",
    ),
    (re.compile(rb"untrusted comment: [^\n]{0,200}minisign"), "a key of minisign", _GENERATE),
    (re.compile(rb"untrusted comment: "), "a key of signify or minisign", _GENERATE),
    (
        re.compile(rb"(?:#[^\n]*\n\s*){0,20}(?:AGE-SECRET-KEY-|AGE-PLUGIN-|age1)"),
        "a key of age",
        _GENERATE,
    ),
    (
        re.compile(rb"age-encryption\.org/v"),
        "a file that age encrypted",
        "decrypt it first: age -d -i IDENTITY FILE",
    ),
    (
        re.compile(rb"\$ANSIBLE_VAULT;"),
        "a file that Ansible Vault encrypted",
        "decrypt it first: ansible-vault decrypt",
    ),
    (
        re.compile(rb"vault:v[0-9]+:"),
        "a text that HashiCorp Vault encrypted",
        "decrypt it first, with the key of Vault's transit engine",
    ),
    (
        re.compile(rb"version https://git-lfs\."),
        "a pointer of Git LFS, not the file itself",
        "git lfs pull; and keep no private key in Git",
    ),
    (re.compile(rb"(?s)\{.{0,4096}?\"kty\""), "a JSON Web Key", "convert it to PEM"),
    (re.compile(rb"(?s)\{.{0,4096}?\"primaryKeyId\""), "a keyset of Tink", _GENERATE),
    (
        re.compile(rb"(?s)\{.{0,4096}?\"type\"\s*:\s*\"service_account\""),
        "the credentials of a Google service account",
        _GENERATE,
    ),
    (re.compile(rb"(?s)\{.{0,4096}?\"keytype\""), "a key of securesystemslib or TUF", _GENERATE),
    (
        re.compile(rb"(?s)(?:.{0,4096}?\n)?kind:\s*Secret\b"),
        "a Secret of Kubernetes, which holds files in base64",
        "mount the Secret, or: kubectl get secret NAME -o jsonpath=… | base64 -d > FILE",
    ),
    (
        re.compile(rb"(?s)(?:.{0,60000}\n)?\"?sops\"?:"),
        "a file that SOPS encrypted",
        "decrypt it first: sops -d FILE",
    ),
    (re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE), "a page of the web", _GENERATE),
)


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """`what` completes "it is …"; `fix` is what helps."""

    what: str
    fix: str


def decoded(data: bytes) -> bytes:
    """A key file's text without byte order mark, and in UTF-8 where it was UTF-16 or UTF-32."""
    if data.startswith((b"\xff", b"\xfe", b"\0")):
        from sovgate.formats.secrets import utf8  # and what reads archives, which no key needs

        data = utf8(data)
    return data.removeprefix(b"\xef\xbb\xbf")


def foreign(data: bytes) -> Foreign | None:
    """What a decoded file is that is no key of ours to open; None where it may be one."""
    if _OWN.search(data):
        return None
    if not data.strip():
        return Foreign(what="empty", fix=f"write the key into it, or {_GENERATE}")
    from sovgate.formats.secrets import STORES

    for store, pattern in STORES:
        if pattern.match(data):
            return _binary(store)
    label = _LABEL.search(data)
    for start, what, fix in _LABELS if label else ():
        if label is not None and label.group(1).startswith(start):
            return Foreign(what=what, fix=fix)
    text = data.lstrip()
    for pattern, what, fix in _TEXTS:
        if pattern.match(text):
            return Foreign(what=what, fix=fix)
    if _is_base64(text):
        return Foreign(
            what="the base64 of a PEM file, and not the file itself",
            fix="decode it: base64 -d FILE > KEY.pem; and name that",
        )
    if b"\0" in data[:64]:
        return Foreign(what="a binary file, and no PEM", fix=_GENERATE)
    return None


def _binary(store: str) -> Foreign:
    if "store" in store:
        return Foreign(what=store, fix="take the key out of it: openssl pkcs12 -in FILE -nodes")
    return Foreign(
        what=f"{store} in DER, and not in PEM",
        fix="convert it: openssl pkey -inform DER -in FILE -out FILE.pem",
    )


def _is_base64(text: bytes) -> bool:
    clean = b"".join(text.split()).strip(b"\"'")
    try:
        return b"-----BEGIN " in base64.b64decode(clean, validate=True)[:4096]
    except binascii.Error:
        return False
