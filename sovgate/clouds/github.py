"""The token that GitHub makes for a job, for a named audience. Asks GitHub's own service alone."""

from __future__ import annotations

import os
from urllib.parse import quote

from sovgate.clouds.tokens import json_object
from sovgate.errors import SovgateError
from sovgate.transport.client import Client, Request
from sovgate.transport.wire import Failure, explain
from sovgate.uri import split_url

VARIABLES = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")
_WORKLOADS = ".actions.githubusercontent.com"
_MAX_ANSWER = 256 * 1024


def job_token(audience: str, kind: type[SovgateError]) -> str | None:
    """A JWT; None where this is no job that may have one. Raises `kind`, "credentials"."""
    url, bearer = (os.environ.get(name, "").strip() for name in VARIABLES)
    if not url or not bearer:
        return None
    found_url = split_url(url)
    if found_url is None:
        raise _refused(kind, f"{VARIABLES[0]} is no URL")
    parts, host, _ = found_url
    if parts.scheme != "https" or not host.endswith(_WORKLOADS):
        raise _refused(kind, f"it would be asked of {host[:100]!r}")
    if not (f"{parts.path}{parts.query}{bearer}").isprintable() or " " in url or " " in bearer:
        raise _refused(kind, f"what {' and '.join(VARIABLES)} say cannot be sent by HTTP")
    query = f"{parts.query}&" if parts.query else ""
    request = Request(
        method="GET",
        target=f"{parts.path}?{query}audience={quote(audience, safe='')}",
        headers={"Authorization": f"bearer {bearer}"},
    )
    try:
        with Client(f"https://{host}", what="credentials") as client, client.ask(request) as answer:
            found = json_object(answer.read(_MAX_ANSWER))
    except Failure as failure:
        raise explain(failure, "get the job's token of GitHub", kind) from None
    token = (found or {}).get("value")
    if answer.status != 200 or not isinstance(token, str):
        raise _refused(kind, f"GitHub answered {answer.status}")
    return token


def _refused(kind: type[SovgateError], why: str) -> SovgateError:
    return kind(
        "could not get the job's token of GitHub",
        why=why,
        fix="let the job have permissions: id-token: write, and run it again; elsewhere name the "
        "file of the workload's token",
        reason="credentials",
    )
