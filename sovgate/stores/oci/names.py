"""Names of the store layout, as a registry has them: digests, tags, and what names a release.

Touches nothing. docs/formats.md, "Registry".
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from sovgate import strict
from sovgate.errors import SovgateError, StoreError
from sovgate.stores._api import check_name

MAX_TAG = 128
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII
)
_MAX_REPOSITORY = 255
#: What is neither in a model's name nor in a version, and so tells the one from the other.
_VERSION = "-V"
#: What stands for "/" in all other tags, which begin with "_": no release's does.
_SLASH = "X"


class Kind(enum.Enum):
    """Where a name's bytes lie.

    CHUNK     a blob that a release's manifests hold
    OBJECT    a blob, with a tag that holds it
    RELEASE   an index, by its tag
    REFERRER  a manifest that names a release's index as its subject
    DOCUMENT  a manifest with one layer, by its tag
    """

    CHUNK = "chunks"
    OBJECT = "objects"
    RELEASE = "releases"
    REFERRER = "referrers"
    DOCUMENT = "documents"


_REFERRERS = ("evidence", "receipts")


@dataclass(frozen=True, kw_only=True)
class Place:
    """`digest`: of the name itself, in hex, where it is one. `tag`: None of what has none."""

    name: str
    kind: Kind
    digest: str | None = None
    tag: str | None = None

    @property
    def subject(self) -> str:
        """The release that a referrer is about, by its name in the store."""
        _, model, version, _ = self.name.split("/")
        return f"releases/{model}/{version}.json"


def place(name: str) -> Place:
    """Raises VerificationFailed, "unsafe-name"; StoreError, "limits" where no tag can say it."""
    parts = check_name(name)
    if len(parts) == 3 and parts[:2] == ("chunks", "sha256") and strict.is_sha256(parts[2]):
        return Place(name=name, kind=Kind.CHUNK, digest=parts[2])
    if len(parts) == 3 and parts[:2] == ("objects", "sha256") and strict.is_sha256(parts[2]):
        return Place(name=name, kind=Kind.OBJECT, digest=parts[2], tag=_tag(name))
    if len(parts) == 4 and parts[0] in _REFERRERS:
        sha256 = parts[3].removesuffix(".json")
        if parts[3] != sha256 and strict.is_sha256(sha256):
            return Place(name=name, kind=Kind.REFERRER, digest=sha256)
    if len(parts) == 3 and parts[0] == "releases" and parts[2].endswith(".json"):
        version = parts[2].removesuffix(".json")
        if version:
            return Place(
                name=name, kind=Kind.RELEASE, tag=_bounded(f"{parts[1]}{_VERSION}{version}", name)
            )
    return Place(name=name, kind=Kind.DOCUMENT, tag=_tag(name))


def _tag(name: str) -> str:
    return _bounded("_" + name.replace("/", _SLASH), name)


def _bounded(tag: str, name: str) -> str:
    if len(tag) > MAX_TAG:
        raise StoreError(
            f"a registry can have no tag for {name[:300]}",
            why=f"a tag has at most {MAX_TAG} characters; this one would have {len(tag)}",
            fix="give the model or the version a shorter name, or use a bucket as the store",
            reason="limits",
        )
    return tag


def name_of(tag: str) -> str | None:
    """The name that a tag stands for; None of one that is not ours."""
    if tag.startswith("_"):
        name = tag[1:].replace(_SLASH, "/")
    else:
        model, mark, version = tag.partition(_VERSION)
        name = f"releases/{model}/{version}.json" if mark else ""
    try:
        return name if name and place(name).tag == tag else None
    except SovgateError:
        return None


def is_repository(text: str) -> bool:
    return len(text) <= _MAX_REPOSITORY and _REPOSITORY.fullmatch(text) is not None
