"""Git's trees read and written object by object, by id. Ground floor: standard library only.

RULES 26: no checkout, so there is nothing for a filter, a link, a submodule or a hostile name to
act on. Works on the one private repository of a `git.Git`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sovgate.errors import ConfigError, GitError
from sovgate.git.repo import Git
from sovgate.git.url import is_oid

REGULAR = ("100644", "100755")
MAX_LINK = 4096  # Linux has no longer path
_WHAT = {"120000": "it is a link", "160000": "it is a submodule", "040000": "it is a folder"}

#: What points to something that the repository itself does not hold at that place.
_OUTSIDE = ("120000", "160000")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One entry of a tree. `size` in bytes, 0 for what is no file."""

    mode: str
    kind: str
    oid: str
    size: int

    @property
    def regular(self) -> bool:
        return self.kind == "blob" and self.mode in REGULAR


Tree = Mapping[str, Item]


class Trees:
    """Reads are cached by object id: an id never changes its meaning."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._known: dict[str, Tree] = {}

    def resolve(self, ref: str) -> str:
        """The commit that one of our own refs names."""
        data = self._git.run("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        return _oid(data)

    def tree(self, oid: str) -> Tree:
        """The entries of a tree, or of a commit's root. Names that are not UTF-8 stay as bytes."""
        if oid not in self._known:
            found: dict[str, Item] = {}
            for line in self._git.run("ls-tree", "-z", "-l", "--full-tree", oid).split(b"\0")[:-1]:
                head, _, name = line.partition(b"\t")
                mode, kind, item, size = head.decode("ascii").split()
                found[name.decode("utf-8", "surrogateescape")] = Item(
                    mode=mode, kind=kind, oid=item, size=int(size) if size.isdigit() else 0
                )
            self._known[oid] = found
        return self._known[oid]

    def chain(self, root: str, parts: Sequence[str]) -> list[Tree]:
        """The trees from the root down to the folder `parts`.

        Raises ConfigError "no-overlay" where it is missing, GitError "not-regular" where a part is
        a link, a submodule or a file.
        """
        found = [self.tree(root)]
        for depth, part in enumerate(parts, 1):
            item = found[-1].get(part)
            shown = "/".join(parts[:depth])
            if item is None:
                raise ConfigError(
                    f"there is no {shown!r} in the Git repository",
                    fix="set gitops.path to the folder that the cluster builds, or commit it",
                    reason="no-overlay",
                )
            if item.kind != "tree":
                raise GitError(
                    f"{shown!r} is not a folder in the Git repository",
                    why=_WHAT.get(item.mode, "it is a file"),
                    fix="name a folder of this repository in gitops.path",
                    reason="not-regular",
                )
            found.append(self.tree(item.oid))
        return found

    def at(self, root: str, path: str) -> Item | Tree:
        """A file, or the entries of a folder, at a normal relative path.

        Raises ConfigError "no-overlay" where nothing is there, GitError "not-regular" where it or
        a part of the way is a link or a submodule.
        """
        here = self.tree(root)
        parts = [] if path == "." else path.split("/")
        for depth, part in enumerate(parts, 1):
            item = here.get(part)
            if item is not None and item.regular and depth == len(parts):
                return item
            if item is not None and item.mode in _OUTSIDE:
                shown = "/".join(parts[:depth])[:80]
                raise GitError(
                    f"{shown!r} cannot be followed: {_WHAT[item.mode]}", reason="not-regular"
                )
            if item is None or item.kind != "tree":
                raise ConfigError(
                    f"there is no {path[:80]!r} in the Git repository", reason="no-overlay"
                )
            here = self.tree(item.oid)
        return here

    def blob(self, item: Item, name: str, *, most: int) -> bytes:
        """The bytes of a regular file. Raises GitError "not-regular", "limits"."""
        if not item.regular:
            raise GitError(
                f"{name!r} is not a regular file in the Git repository",
                why=_WHAT.get(item.mode),
                fix="put a regular file there; replace a link with the file that it points to",
                reason="not-regular",
            )
        if item.size > most:
            raise GitError(
                f"{name!r} is larger than {most} bytes in the Git repository",
                why=f"it has {item.size}",
                fix="find out what happened to that file",
                reason="limits",
            )
        return self._git.run("cat-file", "blob", item.oid, most=most)

    def link(self, item: Item) -> str:
        """Where a link points to, as it says."""
        data = self._git.run("cat-file", "blob", item.oid, most=MAX_LINK)
        return data.decode("utf-8", "surrogateescape")

    def names(self, root: str) -> list[str]:
        """The paths of all files below a commit's root."""
        listed = self._git.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", root)
        return [name.decode("utf-8", "surrogateescape") for name in listed.split(b"\0")[:-1]]

    def replace(self, root: str, parts: Sequence[str], files: Mapping[str, bytes]) -> str:
        """A root tree like `root` but for `files` in the folder `parts`. Modes are kept."""
        trees = self.chain(root, parts)
        folder = dict(trees[-1])
        for name, data in files.items():
            oid = _oid(self._git.run("hash-object", "-w", "--no-filters", "--stdin", stdin=data))
            mode = folder[name].mode if name in folder else REGULAR[0]
            folder[name] = Item(mode=mode, kind="blob", oid=oid, size=len(data))
        oid = self._write(folder)
        for part, above in zip(reversed(parts), reversed(trees[:-1]), strict=True):
            item = Item(mode="040000", kind="tree", oid=oid, size=0)
            oid = self._write({**above, part: item})
        return oid

    def _write(self, tree: Tree) -> str:
        lines = (f"{i.mode} {i.kind} {i.oid}\t{name}\0" for name, i in tree.items())
        data = "".join(lines).encode("utf-8", "surrogateescape")
        return _oid(self._git.run("mktree", "-z", stdin=data))

    def commit(self, tree: str, parent: str, message: str, identity: tuple[str, str]) -> str:
        return _oid(
            self._git.run(
                "commit-tree",
                tree,
                "-p",
                parent,
                "-F",
                "-",
                stdin=message.encode(),
                identity=identity,
            )
        )


def _oid(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    if not is_oid(text):
        raise GitError("git answered with something else than an object id")
    return text
