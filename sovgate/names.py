"""Which file names a model may hold: the same on every system, and none that leaves its folder.

Ground floor: standard library only, no I/O. RULES 4.
"""

from __future__ import annotations

import re
import unicodedata

from sovgate.errors import VerificationFailed

MAX_NAME_BYTES = 4096

_NAME_BAD = re.compile(r"[\x00-\x1f\x7f-\x9f\\:\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{p}{n}" for p in ("com", "lpt") for n in "123456789"}


def check_name(name: str) -> None:
    """RULES 4: UTF-8, relative, no `..`, backslash, colon, control, bidi or reserved names.

    Raises VerificationFailed, reason "unsafe-name".
    """
    bad = None
    try:
        if len(name.encode()) > MAX_NAME_BYTES:
            bad = "it is too long"
    except UnicodeEncodeError:
        bad = "it is not UTF-8"
    if bad is None and (match := _NAME_BAD.search(name)):
        bad = f"it holds {match.group()!r}"
    if bad is None:
        for part in name.split("/"):
            if part in ("", ".", ".."):
                bad = f"the part {part!r} is not allowed"
            elif part.split(".", 1)[0].lower() in _RESERVED or part[-1] in ". ":
                bad = f"the part {part!r} is reserved on some systems"
            if bad:
                break
    if bad:
        raise VerificationFailed(
            f"the file name {name[:160]!r} is unsafe",
            why=bad,
            fix="rename the file and sign the model again",
            reason="unsafe-name",
        )


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
                    reason="unsafe-name",
                )
