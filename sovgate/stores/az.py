"""A container of Azure Blob Storage as a store: `az://account/container[/prefix]`, in any cloud.

Talks to one endpoint and follows no redirect. A write is one Put Blob with If-None-Match: * and the
MD5 that the service compares. Where an account lies its resource alone tells, at another service;
it is asked where the URI names its resource group. Else that is `declared`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from xml.etree import ElementTree

from sovgate.clouds import endpoints
from sovgate.clouds.azure import accounts, credentials
from sovgate.clouds.tokens import Tokens
from sovgate.errors import ConfigError, StoreError, StoreUnfit
from sovgate.records import GRADE
from sovgate.stores._api import Entry, Location, prefix_of
from sovgate.stores._objects import ObjectStore, Page, Sent
from sovgate.transport.client import Client, Request, Response
from sovgate.transport.objects import Answer
from sovgate.uri import Uri

_VERSION = "2024-08-04"
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}", re.ASCII)
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9](?:-?[a-z0-9])*", re.ASCII)
_OPTIONS = {
    "endpoint": (r".{1,300}", "https://HOST"),
    "resource-group": accounts.GROUP,
    "encryption-scope": (r"[A-Za-z0-9-]{3,63}", "the name of an encryption scope"),
}
_PERMISSIONS = {
    "create": "blobs/add/action",
    "read": "blobs/read",
    "list": "blobs/read",
}
#: Headers that a shared key signs, in this order, beside those of Azure's own.
_SIGNED = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type"),
    *("date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)


def store(uri: Uri, base: Path, region: str | None = None) -> AzureStore:
    """`az://account/container[/prefix]`, and `?endpoint=https://…`, `encryption-scope=NAME`,
    `resource-group=SUBSCRIPTION/GROUP`.

    `region` is the zone's "provider:region"; its cloud's catalogued suffix is used unless another
    endpoint is named.
    """
    rest, options = endpoints.split_options(uri.rest, _OPTIONS)
    account, _, below = rest.partition("/")
    container, _, prefix = below.partition("/")
    if not _ACCOUNT.fullmatch(account) or not _CONTAINER.fullmatch(container):
        raise ConfigError(
            f"{rest[:80]!r} does not name a storage account and a container",
            fix="write az://ACCOUNT/CONTAINER[/PREFIX]",
            reason="bad-uri",
        )
    label = f"{account}."
    where = endpoints.endpoint("blob", region, options.get("endpoint"), label=label)
    made = AzureStore(
        account, container, prefix_of(prefix), where, scope=options.get("encryption-scope")
    )
    group = options.get("resource-group")
    if group is not None and not where.catalogued:
        raise ConfigError(
            "the store's URI has both endpoint= and resource-group=",
            why="what a cloud's Resource Manager knows is of an account at that cloud",
            fix="remove one of them",
            reason="bad-uri",
        )
    if group is not None:
        made.resource = accounts.Resource(
            manager=endpoints.endpoint("resource-manager", region, None),
            group=group,
            account=account,
            blob=where.url,
            store=made.uri,
            kind=StoreError,
        )
    return made


class AzureStore(ObjectStore):
    """`Store` on a container.

    Needs blobs/read; to write blobs/add/action. Never blobs/write or blobs/delete.
    """

    container = "container"
    page_of_docs = "azure.md"
    wrong_caller = frozenset({"AuthenticationFailed", "InvalidAuthenticationInfo"})

    def __init__(
        self,
        account: str,
        container: str,
        prefix: str,
        where: endpoints.Endpoint,
        *,
        scope: str | None = None,
    ) -> None:
        super().__init__(Client(where.url), prefix)
        self._account, self._name = account, container
        self._place, self._scope = where, scope
        #: None where nobody says which resource it is, and so nobody is asked.
        self.resource: accounts.Resource | None = None

    @property
    def uri(self) -> str:
        text = f"az://{self._account}/{self._name}" + (f"/{self._prefix}" if self._prefix else "")
        return text if self._place.catalogued else f"{text}?endpoint={self._place.url}"

    def location(self) -> Location | None:
        """What the account's resource says; None where nobody is asked: what the zone declares is
        all that is known then.

        Raises ResidencyMismatch where the endpoint is of another cloud, or the account is not what
        it should be; StoreError where the resource is asked for, and no answer comes.
        """
        self._place.refuse_elsewhere("blob", self.uri)
        row = self._place.declared
        if self.resource is None or row is None:
            return None
        told = self.resource.ask()
        if not told.may_read:
            why = "project file; these credentials may not read the account's resource"
            return Location(value=row.id, grade=GRADE["declared"], source=why)
        grade = "declared"
        if told.region is None:
            grade = "unknown"
        elif told.direct and self._client.direct:
            grade = "api"
        return Location(
            value=f"{row.provider}:{told.region}" if told.region else None,
            grade=GRADE[grade],
            source="the account's resource",
        )

    # -- who asks

    @cached_property
    def _tokens(self) -> Tokens | None:
        """None at an endpoint of one's own: a cloud's tokens are for its own services."""
        row = self._place.declared
        if not self._place.catalogued or row is None:
            return None
        return credentials.tokens(row.provider, row.partition, credentials.STORAGE, StoreError)

    @cached_property
    def _key(self) -> bytes | None:
        return None if self._place.catalogued else credentials.shared_key(StoreError)

    def signed(self, request: Request) -> Mapping[str, str]:
        added = {"x-ms-version": _VERSION, "x-ms-date": formatdate(usegmt=True)}
        with self.lock:
            found = self._tokens
        if found is not None:
            return {**added, "Authorization": f"Bearer {found()}"}
        if self._key is None:
            return added
        text = _to_sign(request, {**request.headers, **added}, self._account)
        digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
        mac = base64.b64encode(digest).decode("ascii")
        return {**added, "Authorization": f"SharedKey {self._account}:{mac}"}

    # -- requests

    def _target(self, key: str = "", **asked: str) -> str:
        """An emulator has the account in the path, and a cloud in the host."""
        path = f"/{self._name}" if self._place.catalogued else f"/{self._account}/{self._name}"
        path += f"/{quote(key, safe='/')}" if key else ""
        return f"{path}?{urlencode(asked)}" if asked else path

    def creation(self, key: str, sent: Sent) -> Request:
        scope = {"x-ms-encryption-scope": self._scope} if self._scope is not None else {}
        return Request(
            method="PUT",
            target=self._target(key),
            headers={
                "Content-MD5": sent.sum,
                "Content-Type": "application/octet-stream",
                "If-None-Match": "*",
                "x-ms-blob-type": "BlockBlob",
                "x-ms-meta-sovgatesha256": sent.sha256,
                **scope,
            },
            body=(sent.data,),
        )

    def arrived(self, sent: Sent, answer: Answer) -> bool:
        self._require_scope(answer)
        return answer.headers.get("content-md5") == sent.sum

    def require_key(self, name: str) -> None:
        if self._scope is not None:
            request = Request(method="HEAD", target=self._target(self.key(name)))
            self._require_scope(self.ask(request, f"look at {name} in {self.uri}", "read", name))

    def _require_scope(self, answer: Answer) -> None:
        scope = answer.headers.get("x-ms-encryption-scope")
        if self._scope is not None and scope != self._scope:
            raise StoreUnfit(
                f"{self.uri} did not use the encryption scope {self._scope!r}",
                why=f"the service names {scope[:80]!r}" if scope else "the service names none",
                fix="create the scope in that account, or correct encryption-scope= in the URI",
                reason="not-under-key",
            )

    def is_taken(self, answer: Answer) -> bool:
        """409 says many things, of which this is one."""
        code = self.said(answer)[0]
        return (answer.status, code) == (409, "BlobAlreadyExists") or answer.status == 412

    def reading(self, key: str, start: int, tag: str | None) -> Request:
        match = {"If-Match": tag} if tag else {}
        begun = {"Range": f"bytes={start}-"} if start else {}
        return Request(method="GET", target=self._target(key), headers={**match, **begun})

    def tag(self, response: Response) -> str | None:
        found = response.headers.get("etag", "")
        return found if re.fullmatch(r'"?[!#-~]{1,100}"?', found) else None

    def look(self, key: str) -> tuple[Request, Callable[[Answer], int]]:
        def size(answer: Answer) -> int:
            return self._size(answer.headers.get("content-length", ""))

        return Request(method="HEAD", target=self._target(key)), size

    def page(self, prefix: str, token: str) -> tuple[Request, Callable[[Answer], Page]]:
        asked = {"restype": "container", "comp": "list", "prefix": prefix, "maxresults": "1000"}
        if token:
            asked["marker"] = token
        return Request(method="GET", target=self._target(**asked)), self._page

    def _page(self, answer: Answer) -> Page:
        root = _xml(answer.body)
        # An answer of something else must not pass for an empty listing.
        if root is None or root.tag != "EnumerationResults" or root.find("Blobs") is None:
            self.bad("listing")
        # In an account with folders these stand in the listing too.
        blobs = [
            one
            for one in root.iterfind("Blobs/Blob")
            if one.findtext("Properties/ResourceType") != "directory"
        ]
        following = root.findtext("NextMarker") or ""
        return Page(entries=tuple(map(self._entry, blobs)), following=following)

    def _entry(self, blob: ElementTree.Element) -> Entry:
        try:
            written = parsedate_to_datetime(blob.findtext("Properties/Last-Modified") or "")
        except ValueError:
            written = None
        return Entry(
            name=blob.findtext("Name") or "",
            size=self._size(blob.findtext("Properties/Content-Length") or ""),
            written=written if written is not None and written.tzinfo else None,
        )

    def _size(self, said: str) -> int:
        return int(said) if re.fullmatch(r"[0-9]{1,15}", said) else self.bad("size")

    # -- errors

    def missing(self, answer: Answer) -> bool:
        return self.said(answer)[0] == "ContainerNotFound"

    def said(self, answer: Answer) -> tuple[str, str]:
        root = _xml(answer.body)
        text = "" if root is None else root.findtext("Message") or ""
        return answer.headers.get("x-ms-error-code", ""), text.partition("\n")[0]

    def needed(self, what: str) -> str:
        service = "Microsoft.Storage/storageAccounts/blobServices/containers"
        off = f", or the encryption scope {self._scope!r} is switched off" if self._scope else ""
        return f"{service}/{_PERMISSIONS[what]} on {self._account}/{self._name}" + off


def _xml(data: bytes) -> ElementTree.Element | None:
    """A small answer of XML without a document type; None where it is none."""
    if b"<!" in data:
        return None
    try:
        return ElementTree.fromstring(data)  # noqa: S314 - bounded, and without entities of its own
    except (ElementTree.ParseError, ValueError):
        return None


def _to_sign(request: Request, headers: Mapping[str, str], account: str) -> str:
    """What a shared key signs: https://learn.microsoft.com/rest/api/storageservices."""
    lower = {name.lower(): value for name, value in headers.items()}
    size = sum(map(len, request.body))
    lower["content-length"] = str(size) if size else ""
    own = "".join(f"{n}:{v}\n" for n, v in sorted(lower.items()) if n.startswith("x-ms-"))
    parts = urlsplit(request.target)
    resource = f"/{account}{parts.path}"
    for name, value in sorted(parse_qsl(parts.query, keep_blank_values=True)):
        resource += f"\n{name}:{value}"
    return "\n".join([request.method, *(lower.get(n, "") for n in _SIGNED), own + resource])
