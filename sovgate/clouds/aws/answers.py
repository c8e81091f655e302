"""Answers of AWS's protocols: read up to a bound, and whole or refused, never a traceback.

Sends what the SDK made ready, by a session of the SDK's that it is given. Imports the SDK inside
its functions.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sovgate.clouds.aws.body import as_it_is
from sovgate.errors import SovgateError

#: Bytes of one answer that is no object. A page of a thousand keys has at most four MiB.
MAX_ANSWER = 16 * 1024 * 1024
#: What an answer must say, by operation. Services leave out what they like.
_NEEDED = {
    "head_object": ("ContentLength",),
    "get_object": ("ContentLength", "Body"),
    # An answer that broke off before its first byte must not pass for an empty listing.
    "list_objects_v2": ("IsTruncated",),
    "list_object_versions": ("IsTruncated",),
    "describe_key": ("KeyMetadata",),
    "create_key": ("KeyMetadata",),
    "get_public_key": ("PublicKey",),
    "sign": ("Signature",),
    "encrypt": ("CiphertextBlob",),
    "decrypt": ("Plaintext",),
}

#: Errors of the SDK that may quote what they could not send or parse, headers and a proxy's
#: password among it: only their kind is told, under -v too (RULES 29).
QUOTING = ("HTTPClientError", "ProxyConnectionError")

#: The stream that the SDK was handed last, by thread: what it cannot read the head of, it drops.
_handed = threading.local()


class BadAnswer(Exception):
    """Something came, and it is no answer to what was asked. Its text is ours, not the service's.

    Like an answer that was lost: the service may have done its work.
    """


def failures() -> tuple[type[Exception], ...]:
    """What `ask` may raise beside our own errors. Only where a client is open: the SDK is there."""
    exceptions = importlib.import_module("botocore.exceptions")
    parsers = importlib.import_module("botocore.parsers")
    http = importlib.import_module("urllib3.exceptions")
    return (
        BadAnswer,
        exceptions.BotoCoreError,
        exceptions.ClientError,
        parsers.ResponseParserError,
        http.HTTPError,
    )


def ask(sdk: Any, operation: str, **parameters: Any) -> dict[str, Any]:
    """One request. Its answer has what the operation promises, or `failures()` is raised."""
    told: tuple[type[Exception], ...] = (SovgateError, OSError, *failures())
    _handed.stream = None
    try:
        answer: dict[str, Any] = getattr(sdk, operation)(**parameters)
    except told as error:
        _drop()
        inner = getattr(error, "kwargs", {}).get("error")
        if type(error).__name__ in QUOTING and inner is not None:
            kind: Any = type(error)
            raise kind(error=type(inner).__name__, proxy_url="a proxy") from None
        raise
    except Exception as error:  # the SDK trusts its service to speak well
        _drop()
        raise BadAnswer(f"its answer cannot be read ({type(error).__name__})") from error
    lacking = [n for n in _NEEDED.get(operation, ()) if answer.get(n) in (None, "", b"")]
    if lacking or answer.get("ContentLength", 0) < 0:
        if "Body" in answer:
            answer["Body"].close()
        raise BadAnswer(f"its answer has no {(lacking or ['length of zero or more'])[0]}")
    return answer


def _drop() -> None:
    """Close what the SDK was handed and did not hand on: nobody else has it."""
    if _handed.stream is not None:
        _handed.stream.close()


def code_of(error: Exception) -> str:
    """The service's code, or "" where there was no answer of the service."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def message(error: Exception) -> str:
    """The service's words, shortened."""
    return said(error, "Message")[:300]


def said(error: Exception, name: str) -> str:
    """What the service's error says under a name, or ""."""
    response = getattr(error, "response", None)
    inner = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(inner.get(name) or "")


def header(error: Exception, name: str) -> str:
    """A field of the answer's head, in small letters, or ""."""
    response = getattr(error, "response", None)
    meta = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return str(meta.get("HTTPHeaders", {}).get(name) or "")


def status_of(error: Exception) -> int:
    """The HTTP status, or 0 where none came."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return 0
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def retried(error: Exception) -> bool:
    """Whether it was tried before: then an earlier try may have done its work unheard."""
    if getattr(error, "after_a_conflict", False):
        return True
    response = getattr(error, "response", None)
    meta = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return bool(meta.get("RetryAttempts", 0))


def unheard(error: Exception) -> bool:
    """Whether the service may have done what it was asked, though no good answer came."""
    return status_of(error) == 0 or status_of(error) >= 500


class _Whole(io.BytesIO):
    """A body that was read, as the SDK takes it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def bounded(session: Any) -> Callable[..., Any]:
    """A handler of `before-send`: sends in the SDK's place, which would read an endless answer.

    Objects that were asked for stay streams, and whoever reads them counts.
    """
    exceptions = importlib.import_module("botocore.exceptions")
    http = importlib.import_module("urllib3.exceptions")

    def broken_off(request: Any, why: object) -> Exception:
        error: Exception = exceptions.ConnectionClosedError(
            error=why, request=request, endpoint_url=request.url
        )
        return error

    def send(request: Any = None, **_: object) -> Any:
        streamed, request.stream_output = request.stream_output, True
        # urllib3 follows no 303 here, but copies the headers for it, and cannot copy bytes.
        for name, value in list(request.headers.items()):
            if isinstance(value, bytes):
                request.headers[name] = value.decode("latin-1")
        with as_it_is(request):
            answer = session.send(request)
        if streamed and answer.status_code < 300:
            _handed.stream = answer.raw
            return answer
        with contextlib.ExitStack() as bad:
            bad.callback(answer.raw.close)
            try:
                data = answer.raw.read(MAX_ANSWER + 1)
            except http.HTTPError as error:
                raise broken_off(request, error) from error
            if len(data) > MAX_ANSWER:
                raise BadAnswer(f"its answer is larger than {MAX_ANSWER} bytes")
            length = answer.headers.get("Content-Length")
            if request.method != "HEAD" and length not in (None, str(len(data))):
                raise broken_off(request, "it is shorter than it said")
            bad.pop_all()
        answer.raw.release_conn()
        answer.raw = _Whole(data)
        return answer

    return send
