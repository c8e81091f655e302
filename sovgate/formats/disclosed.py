"""What a statement would tell whoever receives it: secrets in evidence and in messages. No I/O.

RULES 29, 38: evidence travels in the clear. The one list of secrets is asked, and beside it what is
a credential only in an address: a password before a host, the signature that opens a URL.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator

from sovgate import strict
from sovgate.formats import secrets

#: Between a scheme and a host; `image:tag@sha256:…` is none. What is to be filled in is none.
_USERINFO = re.compile(
    r"://(?:[^\s/:@\"\\<>]{0,200}:[^\s/@\"\\<>{}$*…]{3,300}|[A-Za-z0-9_~%-]{24,300})@(?!sha\d{3}:)"
)
#: Of a URL that opens what it names for whoever has it: S3, Azure, Google, CloudFront, OSS, COS.
_QUERY = re.compile(
    r"([?&;#](?:sig|signature|x-[a-z]{2,5}-(?:signature|security-token)|q-signature|"
    r"(?:access[_-]?|auth[_-]?|private[_-]?|id[_-]?|refresh[_-]?)?token|api[_-]?key|client[_-]?"
    r"secret|secret|secret[_-]?(?:access[_-]?)?key|password|passwd|pwd|rlkey)=)"
    r"[A-Za-z0-9%/+_.~=-]{6,8000}",
    re.IGNORECASE | re.ASCII,
)
_IN_URL = "a password or token in a URL"
#: As a value of JSON: what `sovgate data key` writes.
_COMMITMENT = re.compile(rb"\"[A-Za-z0-9+/]{43}=(?:\\r)?(?:\\n)?\"")
#: A payload within a bundle, however that is spelled.
_PACKED = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")
_TOKEN_LIKE = re.compile(r"://|[?&]|[A-Za-z0-9_/+-]{20}")
_MOST = 200


def in_value(value: strict.JSON, *, commitments: bool) -> str | None:
    """What secret a JSON value holds and where: "a GitHub token in a.b"; None where none is found.

    `commitments`: whether a text that may be a commitment key is one. The value is never quoted.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    found = _found(text.encode("utf-8", "replace"), commitments) or _found(_plain(text), False)
    if found is None:
        return None
    for place, name, leaf in _leaves(value):
        pair = json.dumps({name: leaf}, ensure_ascii=False, separators=(",", ":"))
        both = pair.encode("utf-8", "replace")
        own = _found(both, commitments) or _found(leaf.encode("utf-8", "replace"), False)
        if own is not None:
            named = _found(name.encode("utf-8", "replace"), False) is not None
            return f"{own} in {place if named else f'{place}.{name}'.lstrip('.')}"[:_MOST]
    return found


def in_bundle(data: bytes) -> str | None:
    """The same of a bundle that need not be readable, and of what is in it in base64."""
    text = secrets.utf8(data).replace(b"\0", b"")  # UTF-16, without its mark too
    found = _found(text, False)
    if found is not None:
        return found
    for match in _PACKED.finditer(text):
        packed = match.group().rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        try:
            payload = base64.b64decode(packed + b"=" * (-len(packed) % 4))
        except binascii.Error:
            continue
        found = _found(payload, False) or _found(_plain(payload.decode("utf-8", "replace")), False)
        if found is None and payload.lstrip().startswith(b"{"):
            with contextlib.suppress(ValueError, RecursionError):
                found = in_value(json.loads(payload), commitments=False)
        if found is not None:
            return found
    return None


def shown(text: str) -> str:
    """A message without credentials, whatever it quotes."""
    if _TOKEN_LIKE.search(text) is None:
        return text
    return secrets.masked(_QUERY.sub(r"\1…", _USERINFO.sub("://…@", text)))


def _found(data: bytes, commitments: bool) -> str | None:
    known = secrets.find("", data)
    if known is not None:
        return known[0]
    if commitments and _COMMITMENT.search(data):
        return "a commitment key"
    text = data.decode("utf-8", "replace") if b"://" in data else ""
    if text and (_USERINFO.search(text) or _QUERY.search(text)):
        return _IN_URL
    return None


def _plain(text: str) -> bytes:
    """A text of JSON with its quoted lines as lines: what is kept in it may be a file."""
    for quoted, plain in (("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ('\\"', '"')):
        text = text.replace(quoted, plain)
    return text.encode("utf-8", "replace")


def _leaves(value: strict.JSON) -> Iterator[tuple[str, str, str]]:
    """(where its object is, its name there, the text) of every text; names count as texts."""
    left: list[tuple[str, str, strict.JSON]] = [("", "", value)]
    while left:
        place, name, one = left.pop()
        here = f"{place}.{name}".strip(".")
        if type(one) is dict:
            for key, inner in one.items():
                left.append((here, key, inner))
                if type(inner) is not str:
                    yield here, key, ""
        elif type(one) is list:
            left += ((place, name, inner) for inner in one)
        elif type(one) is str:
            yield place, name, one
