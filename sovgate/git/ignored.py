"""Keeps secrets out of Git: asks whether Git would take a file; writes a `.gitignore` beside it.

Reads the repository around a file; writes `.gitignore` files of sovgate's own, never another's.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sovgate.errors import GitError
from sovgate.files import atomic_write, create_only, read_bounded
from sovgate.git.run import Done, Limits, execute, find_program

#: What a folder of key files needs, whatever else the repository says.
KEYS = """\
# Written by sovgate. Secret keys stay out of Git. Public halves (*.pub.pem) belong in it.
*
!*.pub.pem
!trusted_root.json
!trusted_root.jsonl
!signing_config.json
!README.md
!.gitignore
"""
#: What these lines let in by its name.
_LET_IN = re.compile(r".*\.pub\.pem|trusted_root\.jsonl?|signing_config\.json", re.DOTALL)
_OURS = "# Written by sovgate."
_SINGLE = f"{_OURS} Secrets that stay out of Git.\n"
_STATE = "# Written by sovgate. What it keeps on this machine stays out of Git.\n*\n"
_MAX = 64 * 1024
#: What a pattern of Git would take for something else than the character itself.
_SPECIAL = re.compile(r"([\\*?\[\]!# ])")
_KEY_FOLDER = re.compile(r"README\.md|\.gitignore|.*\.(pem|key)", re.DOTALL)


def work_tree(path: Path) -> Path | None:
    """The nearest folder at or above `path` that is the root of a repository."""
    here = Path(os.path.realpath(path))
    return next((one for one in (here, *here.parents) if os.path.lexists(one / ".git")), None)


def git(folder: Path, *words: str, stdin: bytes = b"", most: int = 1024 * 1024) -> Done:
    """Git asked about a repository, without its hooks and without the user's own settings.

    Raises GitError where there is no Git, or it does not end.
    """
    with tempfile.TemporaryDirectory() as empty:
        return execute(
            [
                find_program("git"),
                "-c",
                "core.fsmonitor=false",
                "-c",
                "safe.directory=*",
                "-C",
                str(folder),
                *words,
            ],
            environment={
                "PATH": "/usr/bin:/bin",
                "LC_ALL": "C",
                "GIT_CONFIG_NOSYSTEM": "1",
                "HOME": empty,
                "GIT_OPTIONAL_LOCKS": "0",
            },
            folder=Path(empty),
            stdin=stdin,
            limits=Limits(most=most, seconds=120),
        )


def is_ignored(path: Path) -> bool | None:
    """Whether Git ignores the file, and does not track it. None where no repository is around it.

    The file need not be there. Raises GitError where Git cannot say.
    """
    real = Path(os.path.realpath(path))
    root = work_tree(real.parent)
    if root is None:
        return None
    name = os.path.relpath(real, root)
    done = git(root, "check-ignore", "-q", "--", name)
    if done.code not in (0, 1):
        raise GitError(
            f"Git does not say whether it ignores {str(path)!r}", why=done.stderr or None
        )
    return done.code == 0


def is_tracked(path: Path) -> bool:
    """Whether Git has the file already. Raises GitError."""
    real = Path(os.path.realpath(path))
    root = work_tree(real.parent)
    if root is None:
        return False
    return git(root, "ls-files", "--error-unmatch", "--", os.path.relpath(real, root)).code == 0


def pattern(name: str) -> str:
    """The line of a `.gitignore` that names one file of its folder."""
    return "/" + _SPECIAL.sub(r"\\\1", name)


def _in_project(path: Path) -> bool:
    here = Path(os.path.realpath(path)).parent
    return any(os.path.lexists(one / "sovgate.yaml") for one in (here, *here.parents))


def takes(folder: Path, *, most: int) -> Iterator[Path]:
    """What lies in a folder and Git has, or would take with `git add`; nothing without repository.

    Raises GitError, also where the names are more than `most` bytes.
    """
    if work_tree(folder) is None:
        return
    words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    done = git(Path(os.path.realpath(folder)), *words, most=most)
    if done.code != 0:
        raise GitError(f"Git does not list {str(folder)!r}", why=done.stderr or None)
    for name in done.stdout.split(b"\0"):
        if name:
            yield folder / os.fsdecode(name)


def keep_out(secret: Path) -> str | None:
    """See to it that Git ignores a secret that was just written; what is left to do, or None.

    A `.gitignore` beside it is written where none is; one that somebody else wrote is not changed.
    A project that is in no repository yet may be in one tomorrow.
    """
    try:
        state = is_ignored(secret)
    except GitError as error:
        return f"whether Git ignores {secret} could not be asked: {error.what}"
    if state is True or (state is None and not _in_project(secret)):
        return None
    line = pattern(secret.name)
    rules = secret.parent / ".gitignore"
    others = {entry.name for entry in secret.parent.iterdir()}
    hidden = not _LET_IN.fullmatch(secret.name)  # else KEYS would let it in
    keys_alone = hidden and all(_KEY_FOLDER.fullmatch(one) for one in others)
    text = KEYS if keys_alone else f"{_SINGLE}{line}\n"
    if not create_only(rules, text.encode()):
        before = read_bounded(rules, most=_MAX, what="file").decode("utf-8", "replace")
        lines = set(before.splitlines())
        hidden = hidden and f"!{line}" not in lines
        if state is None and ({line, "*"} if hidden else {line}) & lines:
            return None
        if rules.is_symlink() or not before.startswith(_OURS):
            return f"Git does not ignore {secret}: add this line to {rules}, and commit it: {line}"
        atomic_write(rules, f"{before}{line}\n".encode())
    with contextlib.suppress(GitError):
        if is_ignored(secret) is False:
            return f"Git tracks {secret}: git rm --cached it, and make another key in its place"
    return None


def let_in(public: Path) -> str | None:
    """See to it that Git takes a public half that was just written; what is left to do, or None.

    A line is added to a `.gitignore` of sovgate's own beside it; another's is not changed.
    """
    line, rules = f"!{pattern(public.name)}", public.parent / ".gitignore"
    with contextlib.suppress(GitError):
        state = is_ignored(public)
        if state is False or (state is None and not _in_project(public)):
            return None
        before = ""
        if rules.is_file() and not rules.is_symlink():
            before = read_bounded(rules, most=_MAX, what="file").decode("utf-8", "replace")
        lines = before.splitlines()
        ours = before.startswith(_OURS) and "*" in lines and line not in lines
        if ours and not _LET_IN.fullmatch(public.name):
            atomic_write(rules, f"{before}{line}\n".encode())
            state = is_ignored(public)
        if state is True:
            return f"Git ignores {public}: add this line to {rules}, and commit it: {line}"
    return None


#: Where `release --through promote` opens models if nobody says where, below the project's folder.
OPENED = ".sovgate/pulled"


def keep_state_out(base: Path) -> None:
    """Make `.sovgate/` in a project's folder, with the file by which Git ignores all of it."""
    state = base / ".sovgate"
    state.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(state / ".gitignore"):
        create_only(state / ".gitignore", _STATE.encode())
