"""An identity token of the service account that a machine in Google's cloud runs as.

Asks the machine's own metadata service, at its one address, and only where a key says `login=gcp`.
No variable names another: whoever answers there says who we are.
"""

from __future__ import annotations

from urllib.parse import quote

from sovgate.clouds.tokens import MAX_TOKEN
from sovgate.errors import SovgateError
from sovgate.transport.client import Client, Request
from sovgate.transport.wire import Failure
from sovgate.uri import METADATA

_PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"


def identity_token(audience: str, kind: type[SovgateError]) -> str:
    """A JWT for the audience. Needs no permission. Raises `kind`, "credentials"."""
    request = Request(
        method="GET",
        target=f"{_PATH}?audience={quote(audience, safe='')}&format=full",
        headers={"Metadata-Flavor": "Google"},
    )

    def refused(why: str, fix: str) -> SovgateError:
        return kind(
            "could not get an identity token of Google's metadata service",
            why=why,
            fix=fix,
            reason="credentials",
        )

    elsewhere = "run it on a machine of Google Cloud's, or name another login"
    try:
        client = Client(f"http://{METADATA}", what="metadata service", link_local=True, attempts=2)
        with client, client.ask(request) as answer:
            data = answer.read(MAX_TOKEN)
    except Failure as failure:
        raise refused(f"at {METADATA}: {failure}", elsewhere) from None
    if answer.headers.get("metadata-flavor") != "Google":
        raise refused(f"what answers at {METADATA} is not Google's", elsewhere)
    if answer.status != 200:
        raise refused(
            f"it answered {answer.status}",
            "let the machine run as a service account; in GKE bind the pod's account to one",
        )
    return data.decode("ascii", "replace")
