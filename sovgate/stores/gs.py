"""A bucket of Google Cloud Storage as a store: `gs://bucket[/prefix]`, in any universe.

Talks to one endpoint by the JSON API and follows no redirect. A write is one request with the
precondition that the object has no generation yet, and with a checksum that the service compares:
CRC32C, or MD5 where the extra `gcp` is not installed.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from sovgate.clouds import endpoints
from sovgate.clouds.google import credentials
from sovgate.clouds.tokens import Tokens, json_object
from sovgate.errors import ConfigError, StoreError, StoreUnfit
from sovgate.records import GRADE
from sovgate.stores._api import Entry, Location, prefix_of
from sovgate.stores._objects import ObjectStore, Page, Sent
from sovgate.stores._sums import crc32c, has_crc32c, md5
from sovgate.transport.client import Client, Request, Response
from sovgate.transport.objects import Answer
from sovgate.uri import Uri

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)
_GENERATION = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
_OPTIONS = {
    "endpoint": (r".{1,300}", "https://HOST"),
    "kms-key": (
        r"projects/[a-z0-9.:-]{1,80}/locations/[a-z0-9-]{1,40}/keyRings/[A-Za-z0-9_-]{1,63}"
        r"/cryptoKeys/[A-Za-z0-9_-]{1,63}",
        "projects/P/locations/L/keyRings/R/cryptoKeys/K",
    ),
    "project": (r"[0-9]{4,20}", "a project's number"),
}
_PERMISSIONS = {
    "create": "storage.objects.create",
    "read": "storage.objects.get (and storage.objects.list, without which what is not there looks "
    "forbidden)",
    "list": "storage.objects.list",
    "look": "storage.buckets.get",
}


def store(uri: Uri, base: Path, region: str | None = None) -> GoogleStore:
    """`gs://bucket[/prefix][?endpoint=https://…&kms-key=projects/…&project=NUMBER]`.

    `region` is the zone's "provider:region"; its catalogued endpoint is used unless another is
    named, which makes the location `declared` at best.
    """
    rest, options = endpoints.split_options(uri.rest, _OPTIONS)
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or bucket.startswith("goog"):
        raise ConfigError(
            f"{bucket[:80]!r} is not a bucket's name",
            fix="write gs://BUCKET[/PREFIX]",
            reason="bad-uri",
        )
    where = endpoints.endpoint("gcs", region, options.get("endpoint"))
    return GoogleStore(bucket, prefix_of(prefix), where, options)


class GoogleStore(ObjectStore):
    """`Store` on a bucket.

    Needs storage.buckets.get, storage.objects.get, storage.objects.list; to write
    storage.objects.create. Never storage.objects.delete.
    """

    def __init__(
        self, bucket: str, prefix: str, where: endpoints.Endpoint, options: Mapping[str, str]
    ) -> None:
        super().__init__(Client(where.url), prefix)
        self._bucket, self._place = bucket, where
        self._kms, self._project = options.get("kms-key"), options.get("project")

    @property
    def uri(self) -> str:
        text = f"gs://{self._bucket}" + (f"/{self._prefix}" if self._prefix else "")
        return text if self._place.catalogued else f"{text}?endpoint={self._place.url}"

    # -- who asks

    @cached_property
    def _tokens(self) -> Tokens | None:
        """None at an endpoint of one's own: Google's tokens are for Google's services."""
        row = self._place.declared
        if not self._place.catalogued or row is None:
            return None
        return credentials.tokens(row.provider, row.partition, StoreError)

    def signed(self, request: Request) -> Mapping[str, str]:
        with self.lock:
            found = self._tokens
        return {} if found is None else {"Authorization": f"Bearer {found()}"}

    # -- where it lies

    def _look(self) -> dict[str, Any]:
        """What the bucket says of itself. Raises StoreUnfit, "store-owner" where it is another
        project's."""
        fields = "location,locationType,projectNumber"
        target = f"/storage/v1/b/{self._bucket}?projection=noAcl&fields={fields}"
        request = Request(method="GET", target=target)
        answer = self.ask(request, f"look at the bucket of {self.uri}", "look")
        found = json_object(answer.body) or self.bad("JSON")
        owner = str(found.get("projectNumber") or "")
        if self._project is not None and owner != self._project:
            raise StoreUnfit(
                f"{self.uri} is not a bucket of project {self._project}",
                why=f"it is of project {owner[:40]!r}",
                fix="correct the bucket's name, or project= in the store's URI",
                reason="store-owner",
            )
        return found

    @cached_property
    def _owned(self) -> bool:
        """Looked at once, before the first byte is sent."""
        return self._project is None or bool(self._look())

    def location(self) -> Location | None:
        """The bucket's own location, asked anew each time; None where there is no zone, or it lies
        in a site.

        Raises ResidencyMismatch where the endpoint is of another cloud.
        """
        self._place.refuse_elsewhere("gcs", self.uri)
        said = str(self._look().get("location") or "").lower()[:80]
        row = self._place.declared
        if row is None or (not said and not self._place.catalogued):
            return None
        known = self._place.catalogued and self._client.direct
        return Location(
            value=f"{row.provider}:{said}" if said else None,
            grade=GRADE["unknown" if not said else "api" if known else "declared"],
            source="the bucket's location",
        )

    # -- requests

    def _object(self, key: str) -> str:
        return f"/storage/v1/b/{self._bucket}/o/{quote(key, safe='')}"

    @cached_property
    def _summed(self) -> tuple[str, Callable[[memoryview], str]]:
        """A field of an object, and what makes it."""
        return ("crc32c", crc32c) if has_crc32c() else ("md5Hash", md5)

    def sum(self, data: memoryview) -> str:
        return self._summed[1](data)

    def creation(self, key: str, sent: Sent) -> Request:
        _ = self._owned  # never to another project's bucket
        asked = {"uploadType": "multipart", "ifGenerationMatch": "0"}
        asked["fields"] = f"generation,size,{self._summed[0]},kmsKeyName"
        if self._kms is not None:
            asked["kmsKeyName"] = self._kms
        about = {
            "name": key,
            "contentType": "application/octet-stream",
            self._summed[0]: sent.sum,
            "metadata": {"sovgate-sha256": sent.sha256},
        }
        # Drawn after the data was made: nobody can have put it in there.
        line = secrets.token_hex(16)
        head = (
            f"--{line}\r\nContent-Type: application/json\r\n\r\n{json.dumps(about)}\r\n"
            f"--{line}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        return Request(
            method="POST",
            target=f"/upload/storage/v1/b/{self._bucket}/o?{urlencode(asked)}",
            headers={"Content-Type": f"multipart/related; boundary={line}"},
            body=(head.encode(), sent.data, f"\r\n--{line}--\r\n".encode()),
        )

    def arrived(self, sent: Sent, answer: Answer) -> bool:
        """Its acknowledgement: the generation that was made, with size and sum of what it holds. It
        is of this very write, and no SHA-256: a later run reads the object again (RULES 14)."""
        found = json_object(answer.body) or self.bad("JSON")
        self._require_key(found)
        if not _GENERATION.fullmatch(str(found.get("generation"))):
            self.bad("generation")
        told = (str(found.get("size")), found.get(self._summed[0]))
        return told == (str(len(sent.data)), sent.sum)

    def require_key(self, name: str) -> None:
        if self._kms is not None:
            target = f"{self._object(self.key(name))}?fields=kmsKeyName"
            request = Request(method="GET", target=target)
            answer = self.ask(request, f"look at {name} in {self.uri}", "read", name)
            self._require_key(json_object(answer.body) or {})

    def _require_key(self, told: Mapping[str, Any]) -> None:
        kms = str(told.get("kmsKeyName") or "")
        if self._kms is not None and not f"{kms}/".startswith(f"{self._kms}/"):
            raise StoreUnfit(
                f"{self.uri} did not use the key that kms-key= names",
                why=f"the service names the key {kms[:200]!r}",
                fix="allow the service agent of Cloud Storage to use that key",
                reason="not-under-key",
            )

    def is_taken(self, answer: Answer) -> bool:
        """Whoever may not delete is told that in place of 412: only to replace needs that right."""
        refused = answer.status == 403 and "storage.objects.delete" in self.said(answer)[1]
        return answer.status == 412 or refused

    def reading(self, key: str, start: int, tag: str | None) -> Request:
        match = f"&ifGenerationMatch={tag}" if tag else ""
        return Request(
            method="GET",
            target=f"{self._object(key)}?alt=media{match}",
            headers={"Range": f"bytes={start}-"} if start else {},
        )

    def tag(self, response: Response) -> str | None:
        found = response.headers.get("x-goog-generation", "")
        return found if _GENERATION.fullmatch(found) else None

    def look(self, key: str) -> tuple[Request, Callable[[Answer], int]]:
        def size(answer: Answer) -> int:
            return self._size(json_object(answer.body) or {})

        return Request(method="GET", target=f"{self._object(key)}?fields=size"), size

    def page(self, prefix: str, token: str) -> tuple[Request, Callable[[Answer], Page]]:
        asked = {
            "prefix": prefix,
            "maxResults": "1000",
            "fields": "kind,items(name,size,updated),nextPageToken",
        }
        if token:
            asked["pageToken"] = token
        target = f"/storage/v1/b/{self._bucket}/o?{urlencode(asked)}"
        return Request(method="GET", target=target), self._page

    def _page(self, answer: Answer) -> Page:
        found = json_object(answer.body) or self.bad("JSON")
        items, following = found.get("items", []), found.get("nextPageToken", "")
        # An answer of something else must not pass for an empty listing.
        if found.get("kind") != "storage#objects" or not isinstance(items, list):
            self.bad("listing")
        if not isinstance(following, str) or not all(isinstance(item, dict) for item in items):
            self.bad("listing")
        return Page(entries=tuple(map(self._entry, items)), following=following)

    def _entry(self, item: Mapping[str, Any]) -> Entry:
        try:
            written = datetime.fromisoformat(str(item.get("updated")))
        except ValueError:
            written = None
        return Entry(
            name=str(item.get("name")),
            size=self._size(item),
            written=written if written is not None and written.tzinfo else None,
        )

    def _size(self, told: Mapping[str, Any]) -> int:
        said = str(told.get("size"))
        return int(said) if re.fullmatch(r"[0-9]{1,15}", said) else self.bad("size")

    # -- errors

    def missing(self, answer: Answer) -> bool:
        return "bucket does not exist" in self.said(answer)[1]

    def said(self, answer: Answer) -> tuple[str, str]:
        error = (json_object(answer.body) or {}).get("error")
        if not isinstance(error, dict):
            return "", ""
        each = error.get("errors")
        first = each[0] if isinstance(each, list) and each and isinstance(each[0], dict) else {}
        return str(first.get("reason") or ""), str(error.get("message") or "")

    def needed(self, what: str) -> str:
        off = ", or its service agent may not use the key of kms-key=" if self._kms else ""
        return f"{_PERMISSIONS[what]} on the bucket {self._bucket!r}" + off
