"""Certificates: whether a chain leads from a signer to one trusted root, and whose it is. No I/O.

The time is the clock's: without a trusted timestamp nobody can show that a signature is older than
the end of its certificate (RULES 7, 19). `cryptography` is imported inside functions.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from sovgate.errors import Malformed, VerificationFailed
from sovgate.formats.spki import MAX_PEM_BYTES, PublicKey, low_s

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.verification import Policy

#: What a URI begins with (RFC 3986, 3.1), and no e-mail address, host or user name.
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
#: Certificates between leaf and root.
MAX_INTERMEDIATES = 4
#: What the names of ECDSA signatures begin with; of which curve one is, its size tells.
_ECDSA = "1.2.840.10045.4."
_BY_BITS = ((256, "ecdsa-p256-sha256"), (384, "ecdsa-p384-sha384"), (521, "ecdsa-p521-sha512"))


@dataclass(frozen=True, kw_only=True)
class CertificateRule:
    """Signers whose certificate leads to `root` (DER) and names `san`.

    san             a subject alternative name as it stands there: an e-mail address, URI or DNS
                    name, and of the kind that it is written as. None is `unsafe-any-subject`:
                    whoever has a certificate may sign
    authority_leaf  `unsafe-authority-leaf`: a signer's certificate may be marked as an authority's
    """

    root: bytes
    san: str | None
    authority_leaf: bool = False


ANY_SUBJECT, AUTHORITY_LEAF = "unsafe-any-subject", "unsafe-authority-leaf"


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A signer's own key, and the unsafe options of the rule that it took to admit it."""

    key: PublicKey
    unsafe: tuple[str, ...] = ()


def root_from_pem(data: bytes) -> tuple[bytes, PublicKey]:
    """(DER, key) of the one certificate in a PEM file. Raises Malformed."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        if len(data) > MAX_PEM_BYTES:
            raise ValueError(f"{len(data)} bytes")
        if (blocks := data.count(b"-----BEGIN ")) > 1:  # the library passes over all but its own
            raise ValueError(f"it holds {blocks} PEM blocks")
        (certificate,) = x509.load_pem_x509_certificates(data)
        der = certificate.public_bytes(Encoding.DER)
        canonical(der)
    except (ValueError, x509.InvalidVersion, Malformed) as error:
        raise Malformed(
            "not a PEM file with one certificate", why=str(error)[:200], reason="bad-certificate"
        ) from error
    return der, key_of(certificate)


def signer_key(chain: tuple[bytes, ...], rule: CertificateRule, now: datetime) -> Admitted:
    """The key of the leaf, which `rule` admits at the time `now`.

    `chain` is DER, leaf first; its own copy of the root counts for nothing. Raises
    VerificationFailed, reason "untrusted-certificate"; Malformed.
    """
    if not 0 < len(chain) <= MAX_INTERMEDIATES + 2:
        _refuse(f"a chain of {len(chain)} certificates")
    with parsing():
        return _admitted(chain, rule, now)


def _admitted(chain: tuple[bytes, ...], rule: CertificateRule, now: datetime) -> Admitted:
    from cryptography import x509

    leaf, *above = [canonical(der) for der in chain]
    root = canonical(rule.root)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        _refuse(
            f"it was valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} "
            f"until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    unsafe = []
    if is_authority(leaf):
        if not rule.authority_leaf:
            _refuse("it is marked as a certificate authority's")
        unsafe.append(AUTHORITY_LEAF)
    used = _check_alone(leaf) if leaf == root else _check_path(leaf, above, root, now)
    rest = [certificate for certificate in above if certificate != root]
    if sorted(map(hash, rest)) != sorted(map(hash, used[1:-1])) or above.count(root) > 1:
        _refuse("it came with certificates that do not belong to its path to the root")
    if rule.san is None:
        unsafe.append(ANY_SUBJECT)
    else:
        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            _refuse("it names nobody: it has no subject alternative name")
        if rule.san not in _of_its_kind(names, rule.san):
            _refuse(f"it does not name {rule.san[:200]!r}")
    return Admitted(key=key_of(leaf), unsafe=tuple(unsafe))


def _check_alone(leaf: x509.Certificate) -> list[x509.Certificate]:
    """A certificate that is trusted by itself, and leads to nothing."""
    from cryptography import x509

    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.digital_signature:
        _refuse(_MAY_NOT_SIGN)
    return [leaf]


def _check_path(
    leaf: x509.Certificate, above: list[x509.Certificate], root: x509.Certificate, now: datetime
) -> list[x509.Certificate]:
    """The certificates of the path from the leaf to the root. Raises VerificationFailed."""
    from cryptography import x509
    from cryptography.x509.verification import (
        Criticality,
        ExtensionPolicy,
        PolicyBuilder,
        Store,
        VerificationError,
    )

    # What a signer's certificate must be; the defaults of the web ask for TLS. Its names and
    # whether it is an authority's are looked at by the rule.
    policy = ExtensionPolicy.permit_all().require_present(
        x509.KeyUsage, Criticality.AGNOSTIC, _may_sign
    )
    verifier = (
        PolicyBuilder()
        .store(Store([root]))
        .time(now)
        .max_chain_depth(MAX_INTERMEDIATES)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy)
        .build_client_verifier()
    )
    try:
        return verifier.verify(leaf, [c for c in above if c != root]).chain
    except VerificationError as error:
        # The library tells of the last thing that it tried, such as a root that issued itself.
        last = above[-1] if above else leaf
        if last != root and last.issuer != root.subject:
            _refuse(
                f"it leads to {last.issuer.rfc4514_string()[:200]!r}, and the trusted root is "
                f"{root.subject.rfc4514_string()[:200]!r}"
            )
        _refuse(str(error)[:200])


def own_path(chain: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The path above a signer that is written into a bundle, in its one spelling (RULES 43).

    Each certificate is issued by the next; a root at its end, which whoever trusts it has, is left
    out. Of the two forms that an authority's ECDSA signature has, it is the one with the low s.
    Raises VerificationFailed, reason "untrusted-certificate"; Malformed.
    """
    from cryptography.exceptions import InvalidSignature

    with parsing():
        path = [canonical(der) for der in chain]
        for lower, upper in itertools.pairwise(path):
            try:
                lower.verify_directly_issued_by(upper)
            except (ValueError, TypeError, InvalidSignature):
                _refuse("of the certificates that came with it, one did not issue the one before")
        last = path[-1] if path else None
        if len(path) > 1 and last is not None and last.subject == last.issuer:
            path = path[:-1]
        return tuple(_low(certificate) for certificate in path)


def low_form(der: bytes) -> bytes:
    """A certificate with its issuer's ECDSA signature in the form with the low s. Raises Malformed.

    Both forms verify, and anybody can turn one into the other.
    """
    with parsing():
        return _low(canonical(der))


def _low(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import utils
    from cryptography.hazmat.primitives.serialization import Encoding

    der, old = certificate.public_bytes(Encoding.DER), certificate.signature
    if not certificate.signature_algorithm_oid.dotted_string.startswith(_ECDSA):
        return der
    size = max(number.bit_length() for number in utils.decode_dss_signature(old))
    algorithm = next((name for most, name in _BY_BITS if size <= most), None)
    if algorithm is None:
        return der
    new = low_s(old, algorithm)
    tbs = certificate.tbs_certificate_bytes
    _, body = _read_tlv(der)
    kind = body[len(tbs) : -len(_tlv(0x03, b"\x00" + old))]
    return _tlv(0x30, tbs + kind + _tlv(0x03, b"\x00" + new))


def _read_tlv(der: bytes) -> tuple[int, bytes]:
    """Tag and content of DER that is known to be whole and in its one spelling."""
    if der[1] < 0x80:
        return der[0], der[2:]
    return der[0], der[2 + (der[1] & 0x7F) :]


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def leaf_key(chain: tuple[bytes, ...]) -> PublicKey:
    """The key of a chain's first certificate; nothing is said of its trust. Raises Malformed."""
    with parsing():
        return key_of(canonical(chain[0]))


def validity(chain: tuple[bytes, ...]) -> tuple[datetime, datetime]:
    """From when to when a chain's first certificate is valid. Raises Malformed."""
    with parsing():
        leaf = canonical(chain[0])
        return leaf.not_valid_before_utc, leaf.not_valid_after_utc


def described(der: bytes) -> tuple[str, str]:
    """Whom a certificate names and who issued it, for people. Raises Malformed."""
    from cryptography import x509

    with parsing():
        certificate = canonical(der)
        try:
            names = _written(certificate)
        except x509.ExtensionNotFound:
            names = []
        subject = certificate.subject.rfc4514_string()
        return ", ".join(names) or subject or "nobody", certificate.issuer.rfc4514_string()


def canonical(der: bytes) -> x509.Certificate:
    """The certificate, if `der` is its one spelling. Raises Malformed, ValueError.

    The issuer signs everything but the outermost bytes and its own signature. That one is a whole
    number of bytes, but DER lets its BIT STRING claim that up to seven last bits are unused. If
    they happen to be zero, the library reads the same certificate from other bytes.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = x509.load_der_x509_certificate(der)
    same = certificate.public_bytes(Encoding.DER) == der
    if not same or not der.endswith(b"\x00" + certificate.signature):
        raise Malformed("not a certificate in DER", why="it is not in its one spelling")
    return certificate


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    """What the library says of malformed certificates: much of it only when a field is looked at,
    not all of it as ValueError, and what it still puts up with as warnings."""
    import warnings

    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.utils import CryptographyDeprecationWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            yield
    except (
        ValueError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise Malformed("not a certificate", why=str(error)[:200]) from error


_MAY_NOT_SIGN = "its key usage is not digital signature"


def _may_sign(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is None or not usage.digital_signature:
        raise ValueError(_MAY_NOT_SIGN)


def is_authority(leaf: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _written(leaf: x509.Certificate) -> list[str]:
    from cryptography import x509

    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    kinds: tuple[type[Any], ...] = (
        x509.RFC822Name,
        x509.UniformResourceIdentifier,
        x509.DNSName,
    )
    return [name.value for name in names if isinstance(name, kinds)]


def _of_its_kind(names: x509.SubjectAlternativeName, san: str) -> list[str]:
    """The names that are of the kind that `san` is written as: an authority that lets people choose
    an e-mail address gives nobody another's URI by it."""
    from cryptography import x509

    if SCHEME.match(san):
        return names.get_values_for_type(x509.UniformResourceIdentifier)
    if "@" in san:
        return names.get_values_for_type(x509.RFC822Name)
    return names.get_values_for_type(x509.DNSName)


def key_of(certificate: x509.Certificate) -> PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = certificate.public_key()
        return PublicKey.from_der(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed(
            "the certificate's key cannot be used", why=str(error)[:200], reason="bad-key"
        ) from error


def _refuse(why: str) -> NoReturn:
    raise VerificationFailed(
        "the signer's certificate is not trusted", why=why, reason="untrusted-certificate"
    )
