"""A folder as a store: `file://` URIs and bare paths. Touches nothing outside that folder.

Every open is relative to a directory handle and follows no link. A put writes, checks and syncs a
temporary file in `.incoming/`, then link(2) gives it its name: there whole, or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from sovgate.errors import (
    AlreadyExists,
    NotFound,
    StoreError,
    VerificationFailed,
    disk_error,
)
from sovgate.files import open_below, read_descriptor, walk
from sovgate.stores._api import Bytes, Entry, Location, Stat, check_name
from sovgate.uri import Uri

_INCOMING = ".incoming"
_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MISSING = (errno.ENOENT, errno.ENOTDIR)
#: How file systems say that they have no hard links; anything else is trouble of another kind.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def store(uri: Uri, base: Path, region: str | None = None) -> FileStore:
    """`file:///abs`, `file:rel` or a bare path; relative ones start from `base`."""
    return FileStore(base / uri.rest)


def _write(data: Bytes, descriptor: int) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class FileStore:
    """`Store` on a folder, which the first put creates.

    Needs read access to read, and write access to the folder to put. A disk or permission that
    stands in the way is DiskError (24); anything else that fails is StoreError (21).
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))  # noqa: PTH100 (resolve() would follow a link)

    def __repr__(self) -> str:
        return f"FileStore({self.uri!r})"

    @property
    def uri(self) -> str:
        return f"file://{self._root}"

    @property
    def away(self) -> bool:
        """Whether the folder is not there: not made yet, or on a disk that is not mounted."""
        return not self._root.exists()

    def location(self) -> Location | None:
        return None

    def probe(self) -> None:
        with self._errors("probe"), self._root_handle(create=True) as root:
            incoming = self._folder(root, (_INCOMING,))
            try:
                with self._temporary(incoming) as (descriptor, name):
                    os.fsync(descriptor)
                    second = f"{name}.probe"
                    try:
                        os.link(name, second, src_dir_fd=incoming, dst_dir_fd=incoming)
                    except OSError as error:
                        if error.errno not in _NO_LINKS:
                            raise
                        raise self._not_create_only(
                            f"link(2) does not work there: {error}"
                        ) from error
                    try:
                        os.link(name, second, src_dir_fd=incoming, dst_dir_fd=incoming)
                    except FileExistsError:
                        return
                    finally:
                        os.unlink(second, dir_fd=incoming)
                    raise self._not_create_only("a second link of one name did not fail")
            finally:
                os.close(incoming)

    def stat(self, name: str) -> Stat | None:
        with self._errors("look at", name):
            descriptor = self._open(name)
            if descriptor is None:
                return None
            try:
                return Stat(size=os.fstat(descriptor).st_size, sha256=None)
            finally:
                os.close(descriptor)

    def get(self, name: str, *, most: int) -> bytes:
        with self._errors("read", name):
            return read_descriptor(
                self._found(name), most=most, what=f"object {name} of {self.uri}"
            )

    def get_into(self, name: str, into: memoryview) -> int:
        with self._errors("read", name):
            descriptor = self._found(name)
            try:
                size, done = os.fstat(descriptor).st_size, 0
                while size == len(into) and done < size:
                    count = os.preadv(descriptor, [into[done:]], done)
                    if not count:
                        return done  # it became shorter meanwhile
                    done += count
                return size
            finally:
                os.close(descriptor)

    def open(self, name: str) -> BinaryIO:
        with self._errors("read", name):
            return os.fdopen(self._found(name), "rb")

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        parts = check_name(name)
        with self._errors("write", name), self._root_handle(create=True) as root:
            incoming = self._folder(root, (_INCOMING,))
            try:
                self._sweep(incoming)
                with self._temporary(incoming) as (descriptor, temporary):
                    _write(data, descriptor)
                    os.fsync(descriptor)
                    folder = self._folder(root, parts[:-1])
                    try:
                        os.link(temporary, parts[-1], src_dir_fd=incoming, dst_dir_fd=folder)
                        os.fsync(folder)
                    except FileExistsError:
                        raise AlreadyExists(
                            f"{self.uri} has {name} already",
                            why="a store's names are written once; the old bytes stay",
                        ) from None
                    finally:
                        os.close(folder)
            finally:
                os.close(incoming)

    def list(self, prefix: str) -> Iterator[str]:
        parts = check_name(prefix.removesuffix("/"))
        names: list[str] = []
        with self._errors("list", prefix), self._root_handle(create=False) as root:
            handle = root
            try:
                for part in parts if root >= 0 else ():
                    # Forgotten first, then closed, as in files.open_below.
                    above, handle = handle, self._descend(handle, part)
                    if above != root:
                        os.close(above)
                    if handle < 0:
                        break
                if handle >= 0:
                    names = ["/".join((*parts, entry.name)) for entry in walk(handle)]
            finally:
                if handle not in (root, -1):
                    os.close(handle)
        for name in names:
            check_name(name)
        yield from sorted(names)

    def entries(self, prefix: str) -> Iterator[Entry]:
        for name in self.list(prefix):
            with self._errors("look at", name):
                descriptor = self._open(name)
                if descriptor is None:
                    continue
                try:
                    state = os.fstat(descriptor)
                finally:
                    os.close(descriptor)
            when = datetime.fromtimestamp(state.st_mtime, UTC)
            yield Entry(name=name, size=state.st_size, written=when)

    def unfinished(self) -> Iterator[Entry]:
        """In `.incoming/`; what is locked is being written."""
        found: list[Entry] = []
        with self._errors("look at"), self._root_handle(create=False) as root:
            incoming = self._descend(root, _INCOMING) if root >= 0 else -1
            if incoming < 0:
                return
            try:
                for name in sorted(os.listdir(incoming)):  # noqa: PTH208 - of a handle
                    with contextlib.suppress(FileNotFoundError, BlockingIOError, PermissionError):
                        descriptor = open_below(incoming, name)
                        try:
                            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                            state = os.fstat(descriptor)
                        finally:
                            os.close(descriptor)
                        when = datetime.fromtimestamp(state.st_mtime, UTC)
                        size = state.st_size
                        found.append(Entry(name=f"{_INCOMING}/{name}", size=size, written=when))
            finally:
                os.close(incoming)
        yield from found

    # -- handles

    @contextlib.contextmanager
    def _root_handle(self, *, create: bool) -> Iterator[int]:
        """A handle on the folder (its own path may go through links); -1 where there is none."""
        handle = -1
        try:
            handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            if create:
                self._root.mkdir(parents=True, exist_ok=True)
                handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            if handle >= 0:
                os.close(handle)

    def _descend(self, handle: int, part: str) -> int:
        try:
            return os.open(part, _OPEN_DIR, dir_fd=handle)
        except FileNotFoundError:
            return -1
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise self._planted(part) from error
            raise

    def _folder(self, root: int, parts: tuple[str, ...]) -> int:
        """A handle on a folder below the root, made and synced where it is missing."""
        here = os.dup(root)
        for part in parts:
            try:
                below = self._descend(here, part)
                if below < 0:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=here)
                        os.fsync(here)
                    below = self._descend(here, part)
            finally:
                os.close(here)
            here = below
        return here

    def _open(self, name: str) -> int | None:
        check_name(name)
        with self._root_handle(create=False) as root:
            if root < 0:
                return None
            try:
                return open_below(root, name)
            except OSError as error:
                if error.errno in _MISSING:
                    return None
                raise

    def _found(self, name: str) -> int:
        descriptor = self._open(name)
        if descriptor is None:
            raise NotFound(f"{self.uri} has no {name}")
        return descriptor

    # -- writing

    @contextlib.contextmanager
    def _temporary(self, incoming: int) -> Iterator[tuple[int, str]]:
        """A locked file in `.incoming/`; what a killed run leaves there is unlocked, so swept."""
        while True:
            name = secrets.token_hex(16)
            descriptor = os.open(name, _CREATE, 0o444, dir_fd=incoming)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink == 0:
                    continue  # swept by another run between open and lock
                try:
                    yield descriptor, name
                finally:
                    os.unlink(name, dir_fd=incoming)
                return
            finally:
                os.close(descriptor)

    def _sweep(self, incoming: int) -> None:
        with os.scandir(incoming) as listing:
            names = [item.name for item in listing if item.is_file(follow_symlinks=False)]
        for name in names:
            with contextlib.suppress(FileNotFoundError, BlockingIOError, PermissionError):
                descriptor = os.open(
                    name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=incoming
                )
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=incoming)
                finally:
                    os.close(descriptor)

    # -- errors

    @contextlib.contextmanager
    def _errors(self, doing: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"{doing} {name or 'the store'} in {self.uri}"
            if error.errno in _MISSING:
                raise StoreError(
                    f"could not {what}: {error.strerror}",
                    why="part of the path is not a folder, or was removed meanwhile",
                    fix="check the store's path",
                    reason="missing-path",
                ) from error
            raise disk_error(error, what) from error

    def _not_create_only(self, why: str) -> StoreError:
        return StoreError(
            f"{self.uri} cannot promise create-only writes",
            why=why,
            fix="use a folder on a file system with hard links, or another store",
            reason="not-create-only",
        )

    def _planted(self, part: str) -> VerificationFailed:
        return VerificationFailed(
            f"{part!r} in {self.uri} is a link, or is not a folder",
            fix="find out who put it there, and remove it",
            reason="not-regular",
        )
