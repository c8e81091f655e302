"""The part of `doctor` about Git: secrets that it would take, and what a clone would lack.

Asks Git alone; writes nothing.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sovgate import uri
from sovgate.errors import SovgateError
from sovgate.pipeline.look.diagnosis import MISSING, OK, WARN, Diagnosis

if TYPE_CHECKING:
    from sovgate.pipeline.project import Project

#: Bytes of names that Git may tell of a project.
_NAMES = 16 * 1024 * 1024
#: A commitment key's file is no larger, with the end of its line.
_COMMITMENT_KEY = 46


def check_ignored(found: Diagnosis, opened: Project) -> None:
    """Every secret file that the project names, asked of Git: one that it would take is told."""
    from sovgate.git.ignored import is_ignored

    paths = set(_secret_files(opened))
    states: list[bool | None] = []
    for path in sorted(paths):
        try:
            states.append(is_ignored(opened.base / path))
        except (SovgateError, OSError, ValueError) as error:
            found.say("keys and Git", WARN, f"{path}: {error}", "git check-ignore says why")
            continue
        if states[-1] is False:
            found.say(
                "keys and Git", MISSING, f"{path} is not ignored by Git", _unignored(opened, path)
            )
    loose = _commitment_keys(found, opened)
    _needed_by_a_clone(found, opened, paths)
    if True in states and False not in states and not loose:
        found.say("keys and Git", OK, f"{states.count(True)} secret files, all ignored by Git")


def _needed_by_a_clone(found: Diagnosis, opened: Project, secrets: set[str]) -> None:
    """What says whom to trust and encrypt for has to be in Git: a pipeline runs a clone."""
    from sovgate.git.ignored import is_ignored, pattern

    for path in sorted(set(_public_files(opened)) - secrets):
        whole = opened.base / path
        with contextlib.suppress(SovgateError, OSError, ValueError):  # said of that file itself
            if not whole.is_file() or is_ignored(whole) is not True:
                continue
            folder, _, name = path.rpartition("/")
            rules = f"{folder}/.gitignore" if folder else ".gitignore"
            found.say(
                "keys and Git",
                WARN,
                f"{path} is ignored by Git, and a clone of the project needs it",
                f"echo {shlex.quote('!' + pattern(name))} >> {shlex.quote(rules)}; or, if that is "
                f"not enough: git check-ignore -v {shlex.quote(path)} names the rule",
            )


def _file(text: str | None) -> str | None:
    """The path of a key's file; None for a key of a service."""
    parsed = uri.parse(text, what="key") if text is not None else None
    return parsed.rest if parsed is not None and parsed.scheme == "file" else None


def _public_files(opened: Project) -> Iterator[str]:
    """Paths of public halves, root certificates and trusted roots that the project names."""
    zones = [zone.keys for zone in opened.config.zones.values()]
    trust = opened.config.trust or ()
    halves = [text for keys in zones for text in (keys.sign_public, keys.encrypt_public)]
    for text in (*halves, *(entry.key for entry in trust)):
        path = _file(text)
        if path is not None:
            yield path
    for entry in trust:
        if entry.certificate is not None:
            yield entry.certificate.root
        if entry.keyless is not None:
            yield entry.keyless.trusted_root


def _secret_files(opened: Project) -> Iterator[str]:
    """Paths of secret keys; where a public half belongs, of what is none (`lint` says that)."""
    from sovgate.keys.registry import is_private

    zones = [zone.keys for zone in opened.config.zones.values()]
    for text in (text for keys in zones for text in (keys.sign, keys.encrypt)):
        path = _file(text)
        if path is not None and not path.endswith(".pub.pem"):
            yield path
    public = [text for keys in zones for text in (keys.sign_public, keys.encrypt_public)]
    for text in (*public, *(entry.key for entry in opened.config.trust or ())):
        with contextlib.suppress(SovgateError):  # not there or unreadable: said of that key itself
            if text is not None and is_private(text, opened.base):
                yield uri.parse(text, what="key").rest


def _commitment_keys(found: Diagnosis, opened: Project) -> bool:
    """Whether Git would take keys of `data key`; no file names them, so their content tells."""
    from sovgate.formats.secrets import is_commitment_key
    from sovgate.git.ignored import takes

    loose = False
    try:
        for path in takes(opened.base, most=_NAMES):
            if path.is_symlink() or not path.is_file() or path.stat().st_size > _COMMITMENT_KEY:
                continue
            if is_commitment_key(path.read_bytes()):
                loose = True
                name = path.relative_to(opened.base).as_posix()
                said = f"{name}, a commitment key, is not ignored by Git"
                found.say("keys and Git", MISSING, said, _unignored(opened, name))
    except (SovgateError, OSError, ValueError) as error:
        found.say("keys and Git", WARN, str(error), "git ls-files says why")
    return loose


def check_opened(found: Diagnosis, opened: Project) -> None:
    """Models that lie in the project's own folder, not encrypted, since a release opened them."""
    from sovgate.git.ignored import OPENED

    models = [path for path in opened.base.glob(f"{OPENED}/*/*") if path.suffix != ".evidence"]
    models = [path for path in models if path.is_dir() and not path.name.startswith(".")]
    if models:
        found.say(
            "opened models",
            WARN,
            f"{OPENED} holds {len(models)} of them, not encrypted; no later command needs them",
            f"rm -r -- {shlex.quote(str(opened.base / OPENED))}",
        )


def _unignored(opened: Project, path: str) -> str:
    from sovgate.git.ignored import is_tracked, pattern

    if is_tracked(opened.base / path):
        return (
            f"git rm --cached {shlex.quote(path)}, and make another key in its place: whoever has "
            "the repository has this one"
        )
    folder, _, name = path.rpartition("/")
    rules = f"{folder}/.gitignore" if folder else ".gitignore"
    return f"echo {shlex.quote(pattern(name))} >> {shlex.quote(rules)}"
