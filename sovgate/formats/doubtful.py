"""Whether a file that is no readable bundle may still be a training record of a model, or a gate's
result. No I/O.

RULES 30: what cannot be counted still binds. So this reads what no other reader would: any
encoding, spelling or compression, and bundles within other documents. It never raises, believes
nobody, and where it cannot tell, it says yes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

from sovgate import strict
from sovgate.errors import SovgateError
from sovgate.strict import MAX_BYTES

MAX_DEPTH = 8
MAX_LAYERS = 20_000
#: Of all that is unpacked.
MAX_TOTAL = 4 * MAX_BYTES

_TEXT = re.compile(rb"[\t\n\r\x0b\x0c\x20-\x7e\x80-\xff]*")
_SPACE = re.compile(rb"[\s\x00]+")
#: No payload is shorter: a statement names its types and a digest.
_RUN = re.compile(rb"[A-Za-z0-9+/_=-]{200,}")
_HEX = re.compile(rb"(?:0x)?(?:[0-9a-fA-F]{2}[:,]?)+")
_ESCAPE = re.compile(rb"\\u00([0-9a-fA-F]{2})|%([0-9a-fA-F]{2})|\\([nrt])|\\/")
_PAYLOAD = re.compile(rb"[\"']?payload[\"']?[:=]")
_TYPE = re.compile(rb"[\"']?predicatetype[\"']?[:=][\"']?([^\"',}\]]*)")
_BUNDLE_NAME = re.compile(r"sigstore|(?:^|/)(?:provenance|attestation|bundle)[-._]")
#: Of what is packed in a way that is not unpacked here: zstd, lz4, 7z, LZMA alone, compress.
_PACKED = (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"7z\xbc\xaf", b"\x5d\x00\x00", b"\x1f\x9d")

#: What begins a layer that is no text.
_HEADS = (b"\x1f\x8b", b"BZh", b"PK\x03\x04", b"\xfd7zXZ\x00", *_PACKED)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class _Unclear(Exception):
    """It holds what cannot be read, or more than is looked at."""


def may_be_record(data: bytes, name: str, manifest: str) -> bool:
    """Whether `data`, a file called `name`, may be a signed training record about `manifest`.

    A file with the name of a bundle has to be readable to be none.
    """
    bundle = False
    try:
        for layer, depth in _layers(data):
            if depth and _is_record(layer, manifest):
                return True
            bundle = bundle or _holds_bundle(layer)
    except _Unclear:
        return True
    named = _BUNDLE_NAME.search(name.casefold()) is not None
    return named and not bundle and not _is_json(data)


def may_be_result(data: bytes, manifest: str) -> bool:
    """Whether `data` holds a payload that may be a gate's result about `manifest`, of any version.

    What cannot be read at all is a matter of `may_be_record`.
    """
    try:
        return any(_is_result(layer, manifest) for layer, depth in _layers(data) if depth)
    except _Unclear:
        return False


def _is_json(data: bytes) -> bool:
    """Whether it reads whole, so that what was not found in it is not in it."""
    try:
        strict.loads(data, any_number=True)
    except SovgateError:
        return False
    return True


def _layers(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The file and what is packed or encoded in it, each with its depth. Raises _Unclear."""
    left, waiting = MAX_TOTAL, [(data, 0)]
    for _ in range(MAX_LAYERS):
        if not waiting:
            return
        layer, depth = waiting.pop()
        yield layer, depth
        below = [*_unpacked(layer, left), *_decoded(layer)]
        if below and depth >= MAX_DEPTH:
            raise _Unclear
        left -= sum(map(len, below))
        if left < 0:
            raise _Unclear
        waiting += [(one, depth + 1) for one in below]
    raise _Unclear


def _unpacked(data: bytes, most: int) -> list[bytes]:
    """What compression hides. Raises _Unclear where it does not open, or is too much."""
    import bz2
    import io
    import lzma
    import zipfile
    import zlib

    if data.startswith(_PACKED):
        raise _Unclear
    try:
        if data.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = archive.infolist()
                if sum(member.file_size for member in members) > most or len(members) > 1000:
                    raise _Unclear
                return [archive.open(member).read(most + 1)[:most] for member in members]
        if data.startswith(b"\x1f\x8b"):
            packer = zlib.decompressobj(wbits=31)
            found = packer.decompress(data, most)
            if packer.unconsumed_tail or not packer.eof:
                raise _Unclear
            return [found, packer.unused_data] if packer.unused_data else [found]
        if _is_zlib(data):
            packer = zlib.decompressobj()
            found = packer.decompress(data, most)
            if packer.unconsumed_tail or not packer.eof:
                raise _Unclear
            return [found]
        if data.startswith(b"BZh"):
            return [_all(bz2.BZ2Decompressor(), data, most)]
        if data.startswith(b"\xfd7zXZ\x00"):
            limited = lzma.LZMADecompressor(memlimit=256 * 1024 * 1024)
            return [_all(limited, data, most)]
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, RuntimeError) as error:
        raise _Unclear from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise _Unclear from error
    return []


def _is_zlib(data: bytes) -> bool:
    head = int.from_bytes(data[:2], "big")
    return data[:1] == b"\x78" and head % 31 == 0 and not _TEXT.fullmatch(data[:1000])


def _all(packer: object, data: bytes, most: int) -> bytes:
    found: bytes = packer.decompress(data, most)  # type: ignore[attr-defined]
    if not packer.eof:  # type: ignore[attr-defined]
        raise _Unclear
    return found


def _plain(data: bytes) -> bytes:
    """Text without what other encodings, escapes and line breaks add to it."""
    if data.startswith((b"+/v", b"\x4c\x6f\xa7\x94")):  # UTF-7, EBCDIC
        raise _Unclear
    return _SPACE.sub(b"", _ESCAPE.sub(_unescaped, data.replace(b"\0", b"")))


def _unescaped(match: re.Match[bytes]) -> bytes:
    digits = match.group(1) or match.group(2)
    if digits:
        return bytes([int(digits, 16)])
    return b" " if match.group(3) else b"/"


def _decoded(data: bytes) -> list[bytes]:
    """What stands in it in base64 or hex, however it is broken into lines. Readable text alone."""
    text = _plain(data)
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:]
    if len(text) >= 200 and _HEX.fullmatch(text):
        try:
            return [bytes.fromhex(re.sub(rb"^0x|[:,]", b"", text).decode())]
        except ValueError:
            return []
    found = []
    for run in _RUN.findall(text):
        if _HEX.fullmatch(run):
            found.append(bytes.fromhex(run.removeprefix(b"0x").decode()))
        digits = run.translate(_URL_SAFE).replace(b"=", b"")
        one = base64.b64decode(digits[: len(digits) // 4 * 4] + _rest(digits))
        if _TEXT.fullmatch(one.replace(b"\0", b"")) or one.startswith(_HEADS) or _is_zlib(one):
            found.append(one)
    return found


def _rest(digits: bytes) -> bytes:
    """The last digits, filled up; a single one is no byte."""
    last = digits[len(digits) // 4 * 4 :]
    return last.ljust(4, b"=") if len(last) > 1 else b""


def _holds_bundle(data: bytes) -> bool:
    """Whether it is a bundle whose payloads can all be read. Raises _Unclear where not."""
    text = _plain(data)
    folded = text.lower()
    payloads = len(_PAYLOAD.findall(folded))
    if not payloads:
        if b"dsseenvelope" in folded:
            raise _Unclear
        return False
    if b"signatures" not in folded and b"dsseenvelope" not in folded:
        return False  # another tool's settings, say
    readable = sum(b"predicatetype" in _plain(one).lower() for one in _decoded(data))
    if readable < payloads:
        raise _Unclear
    return True


def _is_record(data: bytes, manifest: str) -> bool:
    """Whether a payload is a training record that may be about `manifest`."""
    folded = _plain(data).lower()
    types = _TYPE.findall(folded)
    if not types:
        return False
    named = any(b"provenance" in one or b"training" in one for one in types)
    if not named and b"sovgate.dev/training" not in folded:
        return False
    if manifest.encode() in folded:
        return True
    return not _about_others(data)


def _is_result(data: bytes, manifest: str) -> bool:
    folded = _plain(data).lower()
    if not any(
        b"test-result" in one or b"sovgate.dev/gate" in one for one in _TYPE.findall(folded)
    ):
        return False
    return manifest.encode() in folded or not _about_others(data)


def _about_others(payload: bytes) -> bool:
    """Whether each subject is clearly another model."""
    try:
        subjects = json.loads(payload)["subject"]
        digests = [one["digest"]["sha256"].lower() for one in subjects]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False
    return bool(digests) and all(re.fullmatch(r"[0-9a-f]{64}", one) for one in digests)
