"""A service that always says that there is more, and never shows anything, holds nobody up."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from sovgate.errors import VerificationFailed
from sovgate.stores.oci.connection import Answer, Connection
from sovgate.stores.oci.repository import Repository
from sovgate.stores.s3 import S3Store, versions

#: More requests than any bound; whoever asks on is caught here.
_END = 5_000


class Endless:
    """As much of a store, and of a connection to a registry, as is asked."""

    uri = "s3://somewhere"
    repository = "somewhere"

    def __init__(self) -> None:
        self.asked = itertools.count()

    def _count(self) -> int:
        number = next(self.asked)
        if number > _END:
            raise AssertionError("it was asked on for ever")
        return number

    @contextlib.contextmanager
    def errors(self, *_: str) -> Iterator[None]:
        yield

    def key(self, name: str) -> str:
        return name

    def call(self, *_: str, **_more: Any) -> dict[str, Any]:
        return {"IsTruncated": True, "NextKeyMarker": f"chunks/{self._count()}"}

    def get(self, *_: Any, **_more: Any) -> Answer:
        self._count()
        data = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
        return Answer(status=200, headers={}, data=data)

    def following(self, *_: Any) -> str:
        return "/next"


def test_a_list_of_versions_that_is_empty_and_goes_on() -> None:
    with pytest.raises(VerificationFailed) as error:
        list(versions.old(cast(S3Store, Endless()), "chunks/"))
    assert error.value.reason == "limits"


def test_a_list_of_versions_that_does_not_say_whether_it_goes_on_ends() -> None:
    store = Endless()
    store.call = lambda *_, **__: {}  # type: ignore[method-assign]
    assert list(versions.old(cast(S3Store, store), "chunks/")) == []


def test_a_list_of_referrers_that_is_empty_and_goes_on() -> None:
    with pytest.raises(VerificationFailed) as error:
        Repository(cast(Connection, Endless())).referrers("0" * 64)
    assert error.value.reason == "limits"
