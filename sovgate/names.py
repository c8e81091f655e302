"""Which file names a model may hold: the same on every system, and none that leaves its folder.

Ground floor: standard library only, no I/O. RULES 4.
"""

from __future__ import annotations

import os
import re
import unicodedata

from sovgate.errors import VerificationFailed

MAX_NAME_BYTES = 4096
FIX = "rename the file and sign the model again"

#: What nobody sees: all that Unicode calls default-ignorable, what marks annotations, and what is
#: drawn as blank.
_UNSEEN = (
    "\u00a0\u00ad\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200d\u202f\u205f-\u2065"
    "\u206a-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_BLANK = re.compile(f"[{_UNSEEN}]")
#: Git's own names as NTFS shortens them: `git~1`, and `gi7eba~1` where the first four are taken.
_SHORT = re.compile(r"(git[a-z]{0,3}|gi[0-9a-f]{4})~[0-9]+.*", re.DOTALL)
_NAME_BAD = re.compile(r"[\x00-\x1f\x7f-\x9f\\:\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
#: Devices of Windows, which takes the small digits above the line for digits.
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "123456789\u00b9\u00b2\u00b3"
}


def check_name(name: str) -> None:
    """RULES 4: UTF-8, relative, no `..`, backslash, colon, control, bidi or reserved names.

    Raises VerificationFailed, reason "unsafe-name".
    """
    bad, fix = None, FIX
    try:
        if len(name.encode()) > MAX_NAME_BYTES:
            bad = "it is too long"
    except UnicodeEncodeError:
        bad, fix = _not_utf8(name)
    if bad is None and (match := _NAME_BAD.search(name)):
        bad = f"it holds {match.group()!r}"
    if bad is None and not name.isascii() and (match := _BLANK.search(name)):
        code = match.group()
        bad = f"it holds U+{ord(code):04X} ({unicodedata.name(code, 'no name')}), which nobody sees"
    if bad is None:
        for part in name.split("/"):
            if part in ("", ".", ".."):
                bad = f"the part {part!r} is not allowed"
            elif part.split(".", 1)[0].lower() in _RESERVED or part[-1] in ". ":
                bad = f"the part {part!r} is reserved on some systems"
            if bad:
                break
    if bad:
        shown = _BLANK.sub(lambda code: f"<U+{ord(code.group()):04X}>", name[:160])
        raise VerificationFailed(
            f"the file name {shown!r} is unsafe",
            why=bad,
            fix=fix,
            reason="unsafe-name",
        )


def _not_utf8(name: str) -> tuple[str, str]:
    """The reason and the fix: it may be that this Python was told to read names as ASCII."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeError:
        return "it is not UTF-8", FIX
    return (
        "it is UTF-8, but this process was told to read names as ASCII",
        "export PYTHONUTF8=1 (or LC_ALL=C.UTF-8), and run it again",
    )


def is_git_name(part: str) -> bool:
    """Whether Git acts on a part of a path, on whichever file system it is unpacked. RULES 2.

    NTFS drops dots and blanks at the end and has short names, HFS+ drops what nobody sees, ZFS may
    compare by compatibility, and none of them tells capitals.
    """
    if part.isascii():
        folded = part.casefold()
    else:
        seen = _BLANK.sub("", _NAME_BAD.sub("", part))
        folded = unicodedata.normalize("NFKC", seen).upper().casefold()
    folded = folded.lstrip(" ")
    return folded.startswith(".git") or ("~" in folded and _SHORT.fullmatch(folded) is not None)


def check_names(names: list[str]) -> None:
    """Each name by itself, and no two equal after NFC and case-folding, nor one inside another."""
    folded: dict[str, str] = {}
    for name in names:
        check_name(name)
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if key in folded:
            raise VerificationFailed(
                f"the file names {folded[key][:160]!r} and {name[:160]!r} collide",
                why="some systems treat them as the same name",
                fix="rename one of them and sign the model again",
                reason="unsafe-name",
            )
        folded[key] = name
    for key, name in folded.items():
        above = key
        while (cut := above.rfind("/")) > 0:
            above = above[:cut]
            if above in folded:
                raise VerificationFailed(
                    f"{folded[above][:160]!r} is a file and a folder at once",
                    why=f"{name[:160]!r} is inside it",
                    fix="rename one of them and sign the model again",
                    reason="unsafe-name",
                )
