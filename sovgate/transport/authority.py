"""Roots of a private CA for transport, beside the default ones: what `--ca FILE` names.

Ground floor: standard library only. RULES 36: the command line alone names them. They vouch for TLS
servers (stores, key services, Git) and never for a signature.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from sovgate.errors import ConfigError, VerificationFailed
from sovgate.files import atomic_write, read_bounded
from sovgate.staging import private
from sovgate.transport.proxies import not_used

MAX_BYTES = 1024 * 1024
#: What other programs take roots from.
VARIABLES = (
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "BAO_CACERT",
    "VAULT_CACERT",
)
#: What a system's or an SDK's own roots may be at most; they are some 200 KB.
_MAX_DEFAULT = 8 * 1024 * 1024
#: Where systems keep their roots in one file: Debian, Red Hat, SUSE, macOS and Alpine.
_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_BLOCK = re.compile(
    r"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----\r?\n[A-Za-z0-9+/=\s]{1,200000}"
    r"-----END \1-----"
)
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,60})-----")


class _Given:
    """The certificates of one run, and the private folder for the files that hold them."""

    def __init__(self, certificates: str, folder: Path) -> None:
        self.certificates, self.folder = certificates, folder


#: The innermost one counts. A command is one process; threads that make clients see it too.
_given: list[_Given] = []


@contextlib.contextmanager
def trusting(path: Path | None) -> Iterator[None]:
    """Within it TLS servers under a CA of the file `path` are taken too; None changes nothing.

    The file is read once. Raises ConfigError, reason "bad-ca", and what reading a file raises.
    """
    if path is None:
        yield
        return
    certificates = read(path)
    with private("roots") as folder:
        _given.append(_Given(certificates, folder))
        try:
            yield
        finally:
            _given.pop()


def given() -> bool:
    """Whether this run has roots beside the default ones."""
    return bool(_given)


def read(path: Path) -> str:
    """The certificates of CAs in a PEM file, and nothing else of it. Raises ConfigError."""

    def refuse(why: str, fix: str) -> NoReturn:
        raise ConfigError(
            f"{str(path)!r} cannot be used as --ca", why=why, fix=fix, reason="bad-ca"
        )

    again = "get the file again from whoever runs the CA"
    name = "name a PEM file with the certificate of your CA alone"
    try:
        data = read_bounded(path, most=MAX_BYTES, what="file of --ca")
    except VerificationFailed as error:
        refuse(error.what, name)
    text = data.decode("ascii", "replace")
    kinds = set(_PEM.findall(text))
    if any("PRIVATE KEY" in kind for kind in kinds):
        refuse(
            "there is a private key in it",
            "name a file that holds certificates alone; the key of a CA belongs on no runner",
        )
    if not kinds:
        refuse(
            "there is no certificate in PEM form in it",
            f"{name}; from DER: openssl x509 -inform der -in FILE -out ca.pem",
        )
    if kinds != {"CERTIFICATE"}:
        refuse(f"it holds {', '.join(sorted(kinds - {'CERTIFICATE'}))}", name)
    blocks = [match.group() for match in _BLOCK.finditer(text)]
    if len(blocks) != len(_PEM.findall(text)):
        refuse(
            "a certificate in it is cut or damaged", "get the file again from whoever runs the CA"
        )
    joined = "\n".join(blocks) + "\n"
    all_, authorities = _counted(joined)
    if not all_:
        refuse("a certificate in it cannot be read", again)
    if all_ != authorities:
        refuse(
            "a certificate in it is no CA's, but a server's or a person's",
            "name the certificate of the CA that issued it",
        )
    return joined


def _counted(text: str) -> tuple[int, int]:
    """How many certificates there are, and how many of them are CAs'; none where one is broken."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return 0, 0
    stats = context.cert_store_stats()
    return stats["x509"], stats["x509_ca"]


def bundle(default: Path | None) -> Path | None:
    """A private file of the roots in `default` and those of `--ca`; None where none was given.

    It lies there until the command ends. `default` is a file; None, or one that is not there:
    there are no other roots.
    """
    if not _given:
        return None
    given = _given[-1]
    roots = b""
    if default is not None and default.is_file():
        roots = read_bounded(default, most=_MAX_DEFAULT, what="file of default roots") + b"\n"
    data = roots + given.certificates.encode()
    path = given.folder / f"{hashlib.sha256(data).hexdigest()[:32]}.pem"
    if not path.exists():
        atomic_write(path, data, mode=0o600)
    return path


def ignored(others: Iterable[str] = ()) -> tuple[str, ...]:
    """A line for the error of a connection: what names roots here, and is not used.

    `others` are places that are no variables, "http.sslCAInfo of Git's configuration".
    """
    return () if _given else not_used(VARIABLES, others, "the CA's certificate", "--ca FILE")


def system_roots() -> Path | None:
    """The file in which this system keeps its roots. No variable is asked for it."""
    return next((Path(name) for name in _SYSTEM if Path(name).is_file()), None)
