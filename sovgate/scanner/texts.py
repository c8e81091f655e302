"""Pickles within the texts of JSON, in base64: how stable-baselines3 and others keep objects.

Runs in the child. Each text is decoded as `base64.b64decode` does it, which passes over all that is
no base64. Standard library alone.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator

from sovgate.formats import containers
from sovgate.scanner import arrays
from sovgate.scanner.streams import CHUNK, Stream, TooMuchError

#: The shortest pickle that calls something has more bytes than that.
SHORTEST = 12
#: A longer text counts as more than can be looked through.
MAX_TEXT = 256 * 1024 * 1024
_MARKS = b"\xff\xfe\xef\xbb\xbf\0 \t\r\n"
#: Texts that are too short to hold a pickle, many at once: a vocabulary has a million of them. Of
#: the first kind none has an escape, of the second each has one or two, and 15 characters at most.
_SHORT = rb'"(?:[^"\\]{0,15}+|[^"\\]{0,5}+(?:\\.[^"\\]{0,4}+){1,2})"[^"]*+'
_TEXT = re.compile(rb'(?:%b)++|"([^"\\]*+(?:\\.[^"\\]*+)*+)"' % _SHORT, re.DOTALL)
_OTHERS = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
)
_FOR_URLS = bytes.maketrans(b"-_", b"+/")
#: An opcode that does without anything before it.
_STARTS = b"(cPIFSVLN)]}XUCBTKMJG\x80\x82\x83\x84\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96\x97"
#: What asks for a class or an object in a pickle that does not say which protocol it is of.
_ASKS = re.compile(rb"[ci][^\n]+\n[^\n]+\n|P[^\n]*\n|[\x82-\x84\x93Q]", re.DOTALL)
#: What holds a pickle and is not told by `containers.kind_of`; and for that so many letters.
_HOLDERS = (containers.ZIP, arrays.MAGIC)
_HEAD = 24


def is_json(head: bytes) -> bool:
    """Whether a file that begins so may be JSON, in any encoding that its readers take."""
    begin = head.lstrip(_MARKS)[:1]
    return begin in (b"{", b"[", b'"') or (begin == b"" and head[:1] in b" \t\r\n")


def texts(stream: Stream) -> Iterator[bytes]:
    """What stands between quotes, as it is written, but for what is too short to hold a pickle; of
    UTF-16 and UTF-32 without its zeros.
    """
    wide = b"\0" in stream.read(0, 8)
    at, kept, step = 0, b"", CHUNK
    while data := stream.read(at, step):
        at += len(data)
        kept += data.replace(b"\0", b"") if wide else data
        end = 0
        for match in _TEXT.finditer(kept):
            if match[1] is not None:
                yield match[1]
            end = match.end()
        begin = kept.find(b'"', end)
        kept = kept[begin:] if begin >= 0 else b""
        step = max(CHUNK, len(kept))  # a long text is not searched again for every piece of it
        if len(kept) > MAX_TEXT:
            raise TooMuchError


def decoded(text: bytes) -> Iterator[tuple[bytes, bool]]:
    """(what a text is in base64, whether it is packed) of one that may hold a pickle."""
    if b"\\" in text:
        try:
            text = json.loads(b'"%b"' % text, strict=False).encode("ascii", "replace")
        except ValueError:
            return
    if len(text) * 3 < SHORTEST * 4:
        return
    plain = text.translate(None, _OTHERS)
    ways = [plain.translate(None, b"-_")]
    if len(ways[0]) < len(plain):
        ways.append(plain.translate(_FOR_URLS))
    for way in ways:
        begin = _bytes(way[:_HEAD])
        marked = begin[:1] == b"\x80"
        packed = begin.startswith(_HOLDERS) or containers.kind_of(begin) is not None
        if not packed and begin[:1] not in _STARTS:
            continue
        whole = _bytes(way)
        if len(whole) >= SHORTEST and (marked or packed or _ASKS.search(whole)):
            yield whole, packed


def _bytes(text: bytes) -> bytes:
    for cut in (text, text[: len(text) // 4 * 4]):
        try:
            return binascii.a2b_base64(cut + b"==")
        except binascii.Error:
            continue
    return b""
