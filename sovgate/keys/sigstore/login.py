"""The identity token of whoever signs: from a file, a variable, or the platform that runs the job.

Reads what the user named, SIGSTORE_ID_TOKEN, and the variables by which GitHub and GitLab tell a
job of themselves. Asks GitHub in its jobs, and Google's metadata service if the key says so.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import NoReturn

from sovgate.clouds import github
from sovgate.clouds.google import metadata
from sovgate.errors import KeyServiceError, workflow_permissions
from sovgate.formats.keyless.token import IdentityToken, read
from sovgate.keys import _secret
from sovgate.keys.sigstore.place import PAGE, Place

VARIABLE = "SIGSTORE_ID_TOKEN"


def token(place: Place) -> IdentityToken:
    """Raises KeyServiceError: "no-credentials", "credentials", "secret-file", and as `token.read`.

    A token for another audience is not given on: it is a credential for somebody else.
    """
    text, source = _text(place)
    return read(text.strip(), place.audience, now=datetime.now(UTC), source=source)


def _text(place: Place) -> tuple[str, str]:
    what = "the identity token"
    if place.token_file is not None:
        return (
            _secret.secret(what, VARIABLE, file=place.token_file),
            f"the file {str(place.token_file)[:200]!r}",
        )
    if place.login == "gcp":
        return metadata.identity_token(place.audience, KeyServiceError), "Google's metadata service"
    if place.login != "github" and (found := _secret.maybe(what, VARIABLE)) is not None:
        return found, _secret.source(VARIABLE)
    if place.login != "token":
        in_job = github.job_token(place.audience, KeyServiceError)
        if in_job is not None:
            return in_job, "this job of GitHub's"
    if place.login == "github" or (place.login is None and _is("GITHUB_ACTIONS")):
        _no_permission()
    if place.login is None and _is("GITLAB_CI"):
        _no_id_token(place.audience)
    return (
        _secret.secret(
            what,
            VARIABLE,
            why=f"the key names no token-file and no login ({PAGE})",
            reason="no-credentials",
        ),
        "what was typed",
    )


def _is(variable: str) -> bool:
    return os.environ.get(variable) == "true"


def _no_permission() -> NoReturn:
    raise KeyServiceError(
        "this job may not ask GitHub for an identity token",
        why=f"GitHub sets {' and '.join(github.VARIABLES)} only in a job that has the permission "
        "id-token: write",
        fix="give the job that permission, and run it again; a workflow that a fork's pull request "
        "starts cannot have it",
        details=workflow_permissions("id-token: write", "contents: read"),
        reason="no-credentials",
    )


def _no_id_token(audience: str) -> NoReturn:
    raise KeyServiceError(
        "this job of GitLab's has no identity token",
        why=f"{VARIABLE} is not set",
        fix="let GitLab make one for the job, and run it again",
        details=(
            "paste into the job:",
            "  id_tokens:",
            f"    {VARIABLE}:",
            f"      aud: {audience}",
        ),
        reason="no-credentials",
    )
