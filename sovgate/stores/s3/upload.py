"""Sends a large object in parts: several at once, constant memory, resumed where the service can
show by SHA-256 which parts it has. Calls the multipart operations of the store it is given.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

from sovgate.clouds.aws import answers
from sovgate.errors import SovgateError, StoreError, disk_error
from sovgate.stores._api import Bytes

if TYPE_CHECKING:
    from sovgate.stores.s3 import S3Store

#: Objects up to this go in one request; it is also the size of a part, unless more parts than the
#: service takes would be needed.
PART = 16 * 1024 * 1024
#: Parts on their way at once: their bytes, and two parts more, are all that is held in memory.
IN_FLIGHT = 4
_MOST_IN_FLIGHT = 256 * 1024 * 1024
_MIB = 1024 * 1024
#: After these, and after an interrupt, parts stay: the next run takes them up.
_RESUMABLE = {"no-answer", "service", "credentials-expired", "interrupted"}
#: Unfinished uploads of one name that a new one looks at.
_MAX_UPLOADS = 20
_PART_FIELDS = ("PartNumber", "Size", "ETag", "ChecksumSHA256")
#: Number -> size, ETag, SHA-256.
_Parts = dict[int, tuple[int, str, str]]


def checksum(data: bytes | bytearray) -> str:
    """As `x-amz-checksum-sha256` writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")


def body(source: Bytes | BinaryIO, size: int, name: str) -> bytes | bytearray:
    """What the SDK takes: it knows no memoryview. Of a buffer that is filled no copy is made.

    Of a reader one byte more than `size`, where it has it. Raises DiskError.
    """
    if not isinstance(source, Bytes):
        return read_exactly(source, size + 1, name)
    if isinstance(source, memoryview):
        filled = isinstance(source.obj, bytearray) and len(source.obj) == len(source)
        return source.obj if filled else source.tobytes()  # type: ignore[return-value]
    return source


def wrong_bytes(name: str, size: int, sha256: str) -> StoreError:
    return StoreError(
        f"the bytes given for {name} are not those that were announced",
        why=f"expected {size} bytes with SHA-256 {sha256}",
        fix="run it again; the source changed while it was read",
        reason="wrong-bytes",
    )


def part_size(size: int, max_parts: int) -> int:
    """Whole MiB, at least PART, and no more than `max_parts` of them."""
    least = -(-size // max_parts)
    return max(PART, -(-least // _MIB) * _MIB)


def read_exactly(source: BinaryIO, size: int, name: str) -> bytearray:
    """Up to `size` bytes; fewer only where the source ends. Raises DiskError."""
    data = bytearray()
    while len(data) < size:
        try:
            more = source.read(min(_MIB, size - len(data)))
        except OSError as error:
            raise disk_error(error, f"read the source of {name}") from error
        if not more:
            break
        data += more
    return data


def multipart(store: S3Store, name: str, source: BinaryIO, *, size: int, sha256: str) -> None:
    """Create-only, as a put. Leaves its parts behind only where they may be taken up again: where
    the service then lists them without their sums, they are left to the bucket's lifecycle rule.

    A service that ignored If-None-Match when an upload is completed could replace what came
    under the name meanwhile: only by the same bytes, for the name is their digest.
    """
    if store.there(name):
        raise store.taken(name)
    step = part_size(size, store.max_parts)
    checked = store.checks_sums
    upload, have = _open(store, name, resume=checked)
    try:
        parts = _send(store, name, upload, source, have, step=step, size=size, sha256=sha256)
        known = _complete(store, name, upload, parts, size=size, sha256=sha256)
    except BaseException as error:
        reason = error.reason if isinstance(error, SovgateError) else "interrupted"
        if not checked or reason not in _RESUMABLE:
            _abort(store, name, upload)
        raise
    if not (checked and known) and not store.holds(name, size, sha256):
        raise store.damaged(name)


def _open(store: S3Store, name: str, *, resume: bool) -> tuple[str, _Parts]:
    """An upload: one that broke off, with the parts it has, or a new one."""
    key = store.key(name)
    if resume:
        for upload in _unfinished(store, name):
            have = _parts(store, name, upload)
            if have:
                return upload, have
    with store.errors("create_multipart_upload", name):
        made = store.call("create_multipart_upload", Key=key, ChecksumAlgorithm="SHA256")
    return str(made["UploadId"]), {}


def _unfinished(store: S3Store, name: str) -> list[str]:
    """A service, or a role, that cannot list them has none for us."""
    key = store.key(name)
    try:
        with store.errors("list_multipart_uploads"):
            page = store.call("list_multipart_uploads", Prefix=key, MaxUploads=_MAX_UPLOADS)
    except StoreError:
        return []
    uploads = (item.get("UploadId") for item in page.get("Uploads", ()) if item.get("Key") == key)
    return [str(upload) for upload in uploads if upload][:_MAX_UPLOADS]


def _parts(store: S3Store, name: str, upload: str) -> _Parts:
    """The parts that the service holds and vouches for."""
    found: _Parts = {}
    marker, numbers = 0, range(1, store.max_parts + 1)
    while True:
        try:
            with store.errors("list_parts", name):
                page = store.call(
                    "list_parts", Key=store.key(name), UploadId=upload, PartNumberMarker=marker
                )
        except StoreError:
            return {}
        for part in page.get("Parts", ()):
            number, size, *rest = (part.get(name) for name in _PART_FIELDS)
            if number in numbers and size and all(rest):
                found[number] = (size, str(rest[0]), str(rest[1]))
        following = int(page.get("NextPartNumberMarker") or 0)
        if not page.get("IsTruncated") or following <= marker or following not in numbers:
            return found
        marker = following


def _abort(store: S3Store, name: str, upload: str) -> None:
    """As well as it goes: a lifecycle rule of the bucket takes what stays (docs/aws.md)."""
    with contextlib.suppress(SovgateError), store.errors("abort_multipart_upload", name):
        store.call("abort_multipart_upload", Key=store.key(name), UploadId=upload)


def _pieces(source: BinaryIO, name: str, step: int, size: int, whole: Any) -> Iterator[bytearray]:
    """The source in parts, each hashed into `whole`; one byte more than `size` where it has it."""
    left = size + 1
    while left > 0:
        part = read_exactly(source, min(step, left), name)
        if not part:
            return
        whole.update(part)
        left -= len(part)
        yield part


def _send(
    store: S3Store,
    name: str,
    upload: str,
    source: BinaryIO,
    have: _Parts,
    *,
    step: int,
    size: int,
    sha256: str,
) -> list[dict[str, Any]]:
    """Every part on its way, or found there already. Raises unless all bytes are the announced."""
    whole, read = hashlib.sha256(), 0
    parts: list[dict[str, Any]] = []
    flying: deque[Future[dict[str, Any]]] = deque()
    most = max(1, min(IN_FLIGHT, _MOST_IN_FLIGHT // step))

    def one(number: int, data: bytearray) -> dict[str, Any]:
        digest = checksum(data)
        there = have.get(number)
        if there is not None and (there[0], there[2]) == (len(data), digest):
            return {"PartNumber": number, "ETag": there[1], "ChecksumSHA256": digest}
        with store.errors("upload_part", name):
            answer = store.call(
                "upload_part",
                Key=store.key(name),
                UploadId=upload,
                PartNumber=number,
                Body=data,
                ChecksumSHA256=digest,
            )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest}

    with ThreadPoolExecutor(most, "sovgate-s3") as threads:
        try:
            for number, data in enumerate(_pieces(source, name, step, size, whole), start=1):
                read += len(data)
                if read > size:
                    break
                if len(flying) >= most:
                    parts.append(flying.popleft().result())
                flying.append(threads.submit(one, number, data))
            parts += [future.result() for future in flying]
        finally:
            for future in flying:
                future.cancel()
    if read != size or whole.hexdigest() != sha256:
        raise wrong_bytes(name, size, sha256)
    return parts


def _complete(
    store: S3Store, name: str, upload: str, parts: list[dict[str, Any]], *, size: int, sha256: str
) -> bool:
    """Gives the object its name. False where it has to be read again before it is believed."""
    combined = hashlib.sha256(b"".join(base64.b64decode(p["ChecksumSHA256"]) for p in parts))
    expected = f"{base64.b64encode(combined.digest()).decode()}-{len(parts)}"
    with store.errors("complete_multipart_upload", name):
        try:
            answer = store.conditional(
                "complete_multipart_upload",
                Key=store.key(name),
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except answers.failures() as error:
            if answers.status_of(error) == 400:
                # Parts that it does not take now it will not take later: the next run starts anew.
                _abort(store, name, upload)
            store.settle(name, size, sha256, error)
            return True
    return bool(answer.get("ChecksumSHA256") == expected)
