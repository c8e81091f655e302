"""The files and folders of a model that is being decrypted, in a private folder.

Written through handles, never through a link; others may read nothing of it before it is verified.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from sovgate import files

_BLOCK = 1024 * 1024
_MASK = threading.Lock()


class Tree:
    """The files and folders being written; opened relative to a handle, never through a link."""

    def __init__(self, target: Path, *, single: bool) -> None:
        self._target = target
        self._single = single
        self._folders: set[str] = set()
        self._making = threading.Lock()
        self._hidden = _umask()
        if not single:
            target.mkdir(mode=0o700)

    def create(self, name: str) -> int:
        """A new private file. Manifest names are checked when the manifest is made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        if self._single:
            return os.open(self._target, flags, 0o600)
        parts = name.split("/")
        with files.opened_dir(self._target) as root:
            here = os.dup(root)
            try:
                for depth, part in enumerate(parts[:-1], 1):
                    folder = "/".join(parts[:depth])
                    with self._making:  # files are created from several threads
                        if folder not in self._folders:
                            os.mkdir(part, 0o700, dir_fd=here)
                            self._folders.add(folder)
                    # Forgotten first, then closed, as in files.open_below.
                    above, here = (
                        here,
                        os.open(
                            part,
                            os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                            dir_fd=here,
                        ),
                    )
                    os.close(above)
                return os.open(parts[-1], flags, 0o600, dir_fd=here)
            finally:
                os.close(here)

    def finish(self, descriptor: int) -> None:
        """A file is verified: whoever the user lets read new files may read it."""
        os.fchmod(descriptor, 0o644 & ~self._hidden)
        os.fsync(descriptor)

    def copy(self, verified: str, name: str) -> None:
        """A file of the same content. Nobody else could write into the private folder."""
        with files.opened_dir(self._target) as root:
            source = files.open_below(root, verified)
        try:
            target = self.create(name)
            try:
                while part := os.read(source, _BLOCK):
                    view = memoryview(part)
                    while view:
                        view = view[os.write(target, view) :]
                self.finish(target)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def publish(self) -> None:
        """All is verified: give folders the modes that others may read, deepest first."""
        if self._single:
            return
        for folder in (*sorted(self._folders, key=len, reverse=True), "."):
            path = self._target / folder
            path.chmod(0o755 & ~self._hidden)
            files.sync_dir(path)


def _umask() -> int:
    """What the user hides of new files. It can only be read by setting it, for the whole process:
    two at once would leave ours for good."""
    with _MASK:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask
