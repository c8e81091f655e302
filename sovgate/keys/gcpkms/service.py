"""Google Cloud KMS asked through its own client, at one address. Imports the SDK inside functions.

Nothing is asked that was not named: no metadata service, no default credentials, no proxy or roots
of the environment, no retry but ours. Errors of the SDK become those of all key services.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sovgate.clouds.endpoints import Endpoint
from sovgate.clouds.google import credentials
from sovgate.clouds.tokens import Tokens
from sovgate.errors import DOCS, ConfigError, KeyServiceError, ResidencyMismatch, SovgateError
from sovgate.files import read_bounded
from sovgate.keys import _answers
from sovgate.transport import authority, proxies
from sovgate.uri import is_loopback

#: Seconds for one request, and for a connection to come about.
TIMEOUT, CONNECT_TIMEOUT = 20.0, 5.0
#: Bytes of an answer. A thousand versions of a key, described, are the most that is asked for.
MAX_ANSWER = 4 * 1024 * 1024
_MAX_ROOTS = 8 * 1024 * 1024
_SERVICE = "google.cloud.kms_v1.services.key_management_service"
#: What makes the SDK write down what it sends: tokens, and the keys that are wrapped (RULES 29).
_LEAKS = ("GRPC_TRACE", "GOOGLE_SDK_PYTHON_LOGGING_SCOPE")
_STATE = re.compile(r"state is:? ?([A-Z_]{3,40})")
_REDIRECT = re.compile(r"status:? ?(30[12378])\b")
_TLS = re.compile(r"handshake failed|CERTIFICATE_VERIFY|certificate", re.IGNORECASE)
_CHECKSUM = re.compile(r"crc32c|checksum", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Service:
    """One KMS: where it is, of which universe, and whether its own credentials go there.

    Tokens are for the universe's own hosts (`cloudkms.UNIVERSE`, and Private Service Connect's
    below it); an address of one's own gets none.
    """

    place: Endpoint
    universe: str

    @property
    def direct(self) -> bool:
        """Whether nobody that was named on the command line stands between."""
        return proxies.named() is None and not authority.given()

    @property
    def _official(self) -> bool:
        parts = urlsplit(self.place.url)
        host = parts.hostname or ""
        return parts.scheme == "https" and host.endswith(f".{self.universe}")

    def ask(
        self, operation: str, name: str, doing: str, permission: str, /, **request: object
    ) -> Any:
        """One request, and some more where KMS is busy; one alone where it makes something.
        `name`: the key, for errors.

        Raises KeyServiceError; VerificationFailed where it says that the bytes do not open.
        """

        def once() -> Any:
            token = self._token()
            sent = () if token is None else (("authorization", f"Bearer {token}"),)
            call = getattr(_client(self.place.url, proxies.named(), _roots()), operation)
            try:
                return call(request=request, retry=None, timeout=TIMEOUT, metadata=sent)
            except SovgateError:
                raise
            except Exception as error:  # noqa: BLE001 - what an SDK raises is not all of one kind
                # The cause is left out: it may quote what was sent.
                raise _explained(error, operation, name, doing, permission) from None

        return once() if operation.startswith("create_") else _answers.patiently(once)

    def _token(self) -> str | None:
        if not self._official:
            return None
        row = self.place.declared
        provider = row.provider if row is not None else "gcp"
        return _tokens(provider, self.universe)()


@functools.cache
def _tokens(provider: str, universe: str) -> Tokens:
    return credentials.tokens(provider, universe, KeyServiceError)


def refuse_leaks() -> None:
    """Raises ConfigError, "sdk-log"."""
    for name in _LEAKS:
        if os.environ.get(name, "").strip():
            raise ConfigError(
                f"{name} is set",
                why="Google's client would write down what it sends, and keys and credentials with "
                "it",
                fix=f"unset {name}",
                reason="sdk-log",
            )


@functools.lru_cache(maxsize=16)
def _client(url: str, proxy: str | None, roots: bytes) -> Any:
    """The vendor's client on a channel of ours. It takes neither address, credentials nor a
    certificate from its surroundings, since it is given a channel."""
    refuse_leaks()
    os.environ["GRPC_VERBOSITY"] = "NONE"  # it writes handshakes that fail to standard error
    logging.getLogger("google.cloud.kms_v1").setLevel(logging.WARNING)  # below that: all it sends
    grpc, service, transports = _sdk()
    parts = urlsplit(url)
    host = parts.hostname or ""
    # This machine is never reached through another.
    proxy = None if is_loopback(host) else proxy
    way = [("grpc.http_proxy", proxy)] if proxy else [("grpc.enable_http_proxy", 0)]
    options = [
        *way,
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.max_receive_message_length", MAX_ANSWER),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT * 1000)),
    ]
    written = f"[{host}]" if ":" in host else host
    target = f"dns:///{written}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    if parts.scheme == "https":
        trust = grpc.ssl_channel_credentials(root_certificates=roots)
        channel = grpc.secure_channel(target, trust, options=options)
    else:
        channel = grpc.insecure_channel(target, options=options)
    try:
        transport = transports.KeyManagementServiceGrpcTransport(channel=channel)
        return service.KeyManagementServiceClient(transport=transport)
    except Exception as error:  # noqa: BLE001 - it refuses variables of its own with any error
        raise ConfigError(
            "Google's client does not take its surroundings",
            why=f"{type(error).__name__}: {str(error)[:200]}",
            fix="unset the variables that begin with GOOGLE_API_",
            reason="sdk-settings",
        ) from None


def _sdk() -> tuple[Any, Any, Any]:
    try:
        return (
            importlib.import_module("grpc"),
            importlib.import_module(_SERVICE),
            importlib.import_module(f"{_SERVICE}.transports"),
        )
    except ImportError as error:
        raise ConfigError(
            "keys in Google Cloud KMS need the package google-cloud-kms",
            why=f"it cannot be imported: {str(error)[:200]}",
            fix="pip install 'sovgate[gcp]'",
            reason="missing-extra",
        ) from error


def _roots() -> bytes:
    """The system's roots, else those that come with the SDK, and those of --ca. No variable's."""
    default = authority.system_roots()
    path = authority.bundle(default) or default
    if path is not None:
        return _read_roots(path)
    return pkgutil.get_data("grpc", "_cython/_credentials/roots.pem") or b""


@functools.lru_cache(maxsize=4)
def _read_roots(path: Path) -> bytes:
    return read_bounded(path, most=_MAX_ROOTS, what="file of roots")


def _explained(
    error: Exception, operation: str, name: str, doing: str, permission: str
) -> SovgateError:
    """By the status of gRPC. The service's words go in shortened, but for what it opened."""
    status = getattr(error, "grpc_status_code", None)
    code = getattr(status, "name", "")
    said = str(getattr(error, "message", "") or "")[:400]
    redirect = _REDIRECT.search(said)
    if redirect:
        return ResidencyMismatch(
            f"the service of {name} redirects to another place",
            why=f"it answered with a redirect ({redirect[1]}), which is never followed",
            fix="check the address, if the key has one beside it in sovgate.yaml",
            reason="redirected",
        )
    if code == "ALREADY_EXISTS":
        return _answers.taken(name)
    if code == "NOT_FOUND":
        return _answers.no_such_key(name)
    if code == "PERMISSION_DENIED":
        return _answers.denied(name, doing, permission)
    if code == "UNAUTHENTICATED":
        return _answers.bad_credentials(
            name,
            doing,
            "the service does not accept these credentials",
            f"check that they are of this universe, and did not expire ({DOCS}/gcp.md)",
        )
    if code == "RESOURCE_EXHAUSTED":
        return _answers.throttled(name, doing, said)
    if code == "DEADLINE_EXCEEDED":
        return _answers.timed_out(name, doing, TIMEOUT)
    if code == "UNAVAILABLE":
        return _unavailable(name, doing, said)
    if code == "FAILED_PRECONDITION" and (state := _STATE.search(said)):
        return _answers.disabled(name, state[1])
    if code == "INVALID_ARGUMENT" and _CHECKSUM.search(said):
        return _answers.bad_answer(name, "the service got other bytes than were sent (CRC32C)")
    if code == "INVALID_ARGUMENT" and operation.endswith("decrypt"):
        return _answers.damaged()
    if code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT"):
        return _answers.cannot(name, f"the service says: {said[:200]}")
    if not code:
        return _answers.bad_answer(name, f"the client could not read it ({type(error).__name__})")
    return _answers.refused(name, doing, f"{code}: {said}")


def _unavailable(name: str, doing: str, said: str) -> SovgateError:
    """No connection, or none that is one: gRPC tells why in words."""
    if "timed out" in said:
        return _answers.timed_out(name, doing, CONNECT_TIMEOUT)
    if _TLS.search(said):
        return KeyServiceError(
            f"could not {doing} {name[:200]}",
            why="no root in use vouches for the service's TLS certificate, or it is another host's",
            fix="check the address; if it has a certificate of your own CA, name it: --ca FILE",
            details=authority.ignored(),
            reason="tls",
        )
    found = _answers.down(name, doing, "the service is not there, or takes no requests now")
    found.details = proxies.ignored()
    return found
