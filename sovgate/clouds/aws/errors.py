"""Puts the errors of AWS's SDK into our words. Reads the clock; imports no SDK.

Nothing that an error says here holds a secret; the text of a service goes in shortened.
"""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

from sovgate.clouds.aws import answers, environ
from sovgate.errors import DOCS, SovgateError, workflow_permissions
from sovgate.transport import authority, proxies

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_WRONG = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "Forbidden"}
_CLOCK = {"RequestTimeTooSkewed", "RequestInTheFuture"}
#: How services ask for fewer requests at once.
_SLOWER = {
    "SlowDown",
    "503",
    "429",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
}
#: Two conditional writes of one name at once.
_CONFLICT = {"ConditionalRequestConflict", "OperationAborted"}
#: Seconds. AWS takes no request of another time than fifteen minutes around its own.
_MOST_SKEW = 14 * 60
#: How KMS says it, under the code of a wrong signature.
_TOO_OLD = re.compile(r"Signature (expired|not yet current)")


def explain(
    error: Exception,
    doing: str,
    kind: type[SovgateError],
    *,
    permission: str = "",
    resource: str = "",
) -> SovgateError:
    """An SDK's error in our words; `doing` completes "could not …". Never holds a secret.

    The text of a service goes in shortened; the emitter escapes it.
    """
    code, name = answers.code_of(error), type(error).__name__
    what = f"could not {doing}"
    needed = f"{permission} on {resource}" if permission else "the permission for it"
    if code in _CLOCK or (code == "403" and _skewed(error)):
        return _clock(what, kind, _times(error))
    if code in _DENIED or (answers.status_of(error) == 403 and code not in _EXPIRED | _WRONG):
        return kind(
            what,
            why=f"access denied: these credentials lack {needed}",
            fix=f"allow {needed} ({DOCS}/aws.md has the whole policy)",
            reason="access-denied",
        )
    if code in _EXPIRED:
        return kind(
            what,
            why="the credentials have expired",
            fix="get new ones, and run it again",
            reason="credentials-expired",
        )
    if code in _WRONG and _TOO_OLD.search(answers.message(error)):
        return _clock(what, kind, "")
    if code in _WRONG:
        return kind(
            what,
            why=f"the service does not accept these credentials ({code})",
            fix="check that they belong to this account and partition",
            reason="bad-credentials",
        )
    if "Credential" in name or name in (
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "SSOTokenLoadError",
    ):
        unread = environ.unread()
        return kind(
            what,
            why="; ".join(("no credentials were found", *unread)),
            fix=("correct that path, or unset the variable; or " if unread else "")
            + "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of the zone's "
            f"provider ({DOCS}/aws.md), or in GitHub Actions: permissions: id-token: write "
            "and aws-actions/configure-aws-credentials",
            details=workflow_permissions("id-token: write", "contents: read"),
            reason="no-credentials",
        )
    if name == "ProfileNotFound":
        return kind(
            what,
            why="there is no such profile in ~/.aws/config",
            fix="add it, or remove it from the URI (profile=) or from AWS_PROFILE",
            reason="no-profile",
        )
    if name == "SSLError":
        return kind(
            what,
            why="no root in use vouches for its TLS certificate",
            fix="check the endpoint; if it has a certificate of your own CA, name it: --ca FILE",
            details=authority.ignored(),
            reason="tls",
        )
    if name in ("HTTPClientError", "ProxyConnectionError"):
        return kind(
            what,
            why=f"the request was not sent ({name})",
            fix="check the proxy that --proxy names, and that no credential ends with a line break",
            details=proxies.ignored(),
            reason="no-answer",
        )
    if code in _SLOWER or answers.status_of(error) in (429, 503):
        return kind(
            what,
            why=f"the service asks for fewer requests at once ({code or answers.status_of(error)})",
            fix="wait a few minutes, and run it again; if it stays so, let fewer jobs use this "
            "bucket or key at once, or ask the service's operator for a higher limit",
            reason="slow-down",
        )
    if code in _CONFLICT:
        return kind(
            what,
            why=f"another write of that name is under way ({code}), and it did not end in time",
            fix="wait until the other run has ended, and run it again",
            reason="write-conflict",
        )
    if not code:
        said = (
            str(error) if isinstance(error, answers.BadAnswer) else f"no whole answer came ({name})"
        )
        return kind(
            what,
            why=said,
            fix="check the network and the endpoint, and run it again",
            details=proxies.ignored(),
            reason="no-answer",
        )
    message = answers.message(error)
    return kind(
        what,
        why=f"{code}: {message}" if message else code,
        fix="run it again; if the error stays, ask the service's operator",
        reason="service",
    )


def _clock(what: str, kind: type[SovgateError], times: str) -> SovgateError:
    return kind(
        what,
        why="this machine's clock is wrong" + times,
        fix="set this machine's clock to the right time, and run it again",
        reason="clock",
    )


def _skewed(error: Exception) -> bool:
    """Whether the service's clock, as the head of its answer tells it, is not ours: an answer to
    HEAD has no words, and one to a request of another time is 403 like any that is not allowed.
    """
    try:
        there = parsedate_to_datetime(answers.header(error, "date"))
        return abs(there.timestamp() - time.time()) > _MOST_SKEW
    except (TypeError, ValueError, OverflowError):
        return False


def _times(error: Exception) -> str:
    """What S3 says beside: when the request was made by this clock, and when it came by its own."""
    here, there = (answers.said(error, name)[:40] for name in ("RequestTime", "ServerTime"))
    if not here or not there:
        return ""
    return f": by this clock the request was made at {here}, by the service's it came at {there}"
