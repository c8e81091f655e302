"""What stores over plain HTTP share: objects that are written once, read on after a break, listed.

A service is a subclass that makes requests and reads answers. Opens no connection by itself.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from sovgate.clouds import refusals
from sovgate.errors import (
    AlreadyExists,
    NotFound,
    SovgateError,
    StoreError,
    VerificationFailed,
)
from sovgate.files import MAX_ENTRIES
from sovgate.stores._api import Bytes, Entry, Stat, check_name
from sovgate.stores._reading import Objects
from sovgate.stores._sums import md5
from sovgate.transport.client import Client, Request, Response
from sovgate.transport.objects import Answer, Reader, whole
from sovgate.transport.wire import Failure, explain

#: Bytes of one answer that is no object. A page of a thousand names has at most four MiB.
MAX_ANSWER = 16 * 1024 * 1024
#: Pages in a row without a name that a service may send.
_MAX_EMPTY = 100
_PROBE = ".probe/create-only"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The bytes of an object, their SHA-256 by whoever gave them, and `sum`, made of them here."""

    data: memoryview
    sha256: str
    sum: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a listing, each object by its key, and how the next is asked for; "" where it is
    the last."""

    entries: tuple[Entry, ...]
    following: str


class ObjectStore(Objects):
    """`Store` over one client; what differs between services raises NotImplementedError here."""

    def __init__(self, client: Client, prefix: str) -> None:
        super().__init__(prefix)
        self._client = client
        self._probed = False
        #: For what is fetched once, by whichever thread is first.
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    # -- what a service says of itself

    def signed(self, request: Request) -> Mapping[str, str]:
        """The headers that show who asks."""
        raise NotImplementedError

    def sum(self, data: memoryview) -> str:
        """The sum that the service compares before an object is visible."""
        return md5(data)

    def creation(self, key: str, sent: Sent) -> Request:
        """Writes an object where there is none, with a checksum over all of it."""
        raise NotImplementedError

    def arrived(self, sent: Sent, answer: Answer) -> bool:
        """Whether the service holds these bytes, says its answer. Raises StoreUnfit, as below."""
        raise NotImplementedError

    def require_key(self, name: str) -> None:
        """`UnderKey`: also of an object whose writing was not answered."""
        raise NotImplementedError

    def is_taken(self, answer: Answer) -> bool:
        """Whether an object was not written because its name is taken."""
        raise NotImplementedError

    def reading(self, key: str, start: int, tag: str | None) -> Request:
        """Reads an object from `start`, if it is the one that `tag` names."""
        raise NotImplementedError

    def tag(self, response: Response) -> str | None:
        """What names the very object that is read."""
        raise NotImplementedError

    def look(self, key: str) -> tuple[Request, Callable[[Answer], int]]:
        """Asks for an object's size, and finds it in the answer."""
        raise NotImplementedError

    def page(self, prefix: str, token: str) -> tuple[Request, Callable[[Answer], Page]]:
        raise NotImplementedError

    def said(self, answer: Answer) -> tuple[str, str]:
        """A code and a text of an error, either may be ""."""
        raise NotImplementedError

    def needed(self, what: str) -> str:
        """The permission for "create", "read", "list" or "look", and on what."""
        raise NotImplementedError

    #: What holds objects there, in a word, and the page of docs/ that is about it.
    container = "bucket"
    page_of_docs = "gcs.md"
    #: Codes that say, beside a 401, that the caller is not known.
    wrong_caller: frozenset[str] = frozenset()

    # -- create-only

    def probe(self) -> None:
        """One request where an earlier run left the first object."""
        if not self._probed:
            first = b"sovgate tries create-only here: " + secrets.token_hex(8).encode()
            if self._created(_PROBE, first):
                if self._created(_PROBE, first + b"!"):
                    raise self._not_create_only("a second write of one name did not fail")
                if self.fetch(_PROBE, most=1024) != first:
                    raise self._not_create_only("a second write failed, and yet replaced the first")
        self._probed = True

    def _created(self, name: str, data: bytes) -> bool:
        try:
            self._put(name, memoryview(data), hashlib.sha256(data).hexdigest())
        except AlreadyExists:
            return False
        return True

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        self.fits(name, data)
        self._put(name, memoryview(data).cast("B"), sha256)

    def _put(self, name: str, data: memoryview, sha256: str) -> None:
        doing = f"write {name} in {self.uri}"
        # These services compare no SHA-256. Whoever gave the bytes found it in the same memory a
        # moment ago, and the sum that stands for it on the way is for damage, not for forgers.
        sent = Sent(data=data, sha256=sha256, sum=self.sum(data))
        try:
            answer = self.exchange(replace(self.creation(self.key(name), sent), again=True))
        except Failure as failure:
            error = explain(failure, doing, StoreError)
            if not failure.heard:
                raise error from failure
            self._settle(name, data, sha256, error)
            return
        if self.is_taken(answer):
            # Taken by an earlier try of ours, whose answer was lost, it is not taken (RULES 13).
            if not answer.retried:
                raise self.taken(name)
            self._settle(name, data, sha256, self.taken(name))
        elif answer.status >= 500:
            self._settle(name, data, sha256, self._refused(answer, doing, "create"))
        elif answer.status not in (200, 201):
            raise self._refused(answer, doing, "create")
        elif not self.arrived(sent, answer):
            raise self._damaged(name, "the service names another checksum or size for it")

    def _settle(self, name: str, data: memoryview, sha256: str, error: SovgateError) -> None:
        """After a write without a good answer: returns where our very bytes are there."""
        try:
            same = self.holds(name, len(data), sha256)
        except SovgateError:
            raise error from None
        if not same:
            raise self.taken(name) from error
        self.require_key(name)

    # -- reading

    def stat(self, name: str) -> Stat | None:
        """No SHA-256: these services keep none. Whoever needs to know reads again (RULES 14)."""
        check_name(name)
        request, size_of = self.look(self.key(name))
        try:
            answer = self.ask(request, f"look at {name} in {self.uri}", "read", name)
        except NotFound:
            return None
        return Stat(size=size_of(answer), sha256=None)

    def reader(self, name: str) -> Reader:
        what = f"object {name} of {self.uri}"

        def fetch(start: int, tag: str | None) -> Response:
            request = self.reading(self.key(name), start, tag)
            signed = replace(request, headers={**request.headers, **self.signed(request)})
            try:
                response = self._client.ask(signed)
                if response.status in (200, 206):
                    return response
                with response:
                    answer = whole(response, MAX_ANSWER)
            except Failure as failure:
                raise explain(failure, f"read {what}", StoreError) from failure
            raise self._refused(answer, f"read {what}", "read", name)

        return Reader(fetch, self.tag, what)

    def below(self, prefix: str, what: str) -> Iterator[Entry]:
        token, count, empty = "", 0, 0
        while True:
            request, read = self.page(prefix, token)
            found = read(self.ask(request, f"list {what}", "list"))
            count, empty = count + len(found.entries), empty + (not found.entries)
            if count > MAX_ENTRIES or (
                found.following and (found.following == token or empty > _MAX_EMPTY)
            ):
                raise VerificationFailed(
                    f"the listing of {what} does not end",
                    why=f"{count} objects so far; {MAX_ENTRIES} is the limit",
                    reason="limits",
                )
            yield from found.entries
            if not found.following:
                return
            token = found.following

    # -- asking

    def exchange(self, request: Request) -> Answer:
        """One request, whose answer is read. Raises Failure, ResidencyMismatch on a redirect."""
        signed = replace(request, headers={**request.headers, **self.signed(request)})
        with self._client.ask(signed) as response:
            return whole(response, MAX_ANSWER)

    def ask(self, request: Request, doing: str, permission: str, name: str = "") -> Answer:
        """One request that must go well. Raises NotFound for a `name` that is not there."""
        try:
            answer = self.exchange(request)
        except Failure as failure:
            raise explain(failure, doing, StoreError) from failure
        if answer.status != 200:
            raise self._refused(answer, doing, permission, name)
        return answer

    def bad(self, what: str) -> NoReturn:
        """An answer that lacks what was asked for."""
        raise refusals.unreadable(self.uri, what, StoreError)

    # -- errors

    def missing(self, answer: Answer) -> bool:
        """Whether a 404 says that the bucket itself is not there."""
        raise NotImplementedError

    def _refused(self, answer: Answer, doing: str, permission: str, name: str = "") -> SovgateError:
        code, text = self.said(answer)
        if answer.status == 404 and name and not self.missing(answer):
            return NotFound(f"{self.uri} has no {name}")
        if answer.status == 404:
            return StoreError(
                f"there is no such {self.container} as {self.uri}",
                fix="create it there, or correct the store's URI",
                reason="no-bucket",
            )
        told = refusals.Refusal(
            doing=doing,
            status=answer.status,
            code=code,
            text=text,
            needed=self.needed(permission),
            page=self.page_of_docs,
            unknown=code in self.wrong_caller,
        )
        return refusals.explain(told, StoreError)

    def _damaged(self, name: str, why: str) -> StoreError:
        return StoreError(
            f"{name} did not arrive in {self.uri} as it was sent",
            why=why,
            fix="run it again; if the error stays, find out what changes it on the way",
            reason="wrong-bytes",
        )

    def _not_create_only(self, why: str) -> StoreError:
        return StoreError(
            f"{self.uri} cannot promise create-only writes",
            why=why,
            fix="use a store with conditional writes",
            reason="not-create-only",
        )
