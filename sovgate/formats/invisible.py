"""Characters that a person cannot see, or takes for another one. Text -> words, no I/O.

For messages about a line that does not parse or says what it should not: never a judgement.
"""

from __future__ import annotations

import re
import unicodedata

#: Looks like the character of YAML in the second place, and is none.
_LOOKALIKES = {
    "\u201c": '"',
    "\u201d": '"',
    "\u201e": '"',
    "\u00ab": '"',
    "\u00bb": '"',
    "\uff02": '"',
    "\u2018": "'",
    "\u2019": "'",
    "\u201a": "'",
    "\uff07": "'",
    "\uff1a": ":",
    "\u2236": ":",
    "\ua789": ":",
    "\uff0c": ",",
    "\u2010": "-",
    "\u2011": "-",
    "\u2012": "-",
    "\u2013": "-",
    "\u2014": "-",
    "\u2212": "-",
    "\uff0d": "-",
    "\uff3b": "[",
    "\uff3d": "]",
    "\uff5b": "{",
    "\uff5d": "}",
    "\uff03": "#",
}
_PLAIN = re.compile(r"[\x20-\x7e\n]*")
#: Drawn as nothing, though Unicode's category does not say so.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u2800\u3164\ufe0f\uffa0"
#: Lines that are told apart; of more, the first ones.
MAX_LINES = 1000


def hidden(text: str) -> dict[int, str]:
    """Line, counted from 1 -> what is wrong in it and what to type instead; no such line: {}."""
    if _PLAIN.fullmatch(text):
        return {}
    found: dict[int, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if len(found) == MAX_LINES:
            break
        if said := in_line(line):
            found[number] = ": ".join(said)
    return found


def in_line(line: str) -> tuple[str, str] | None:
    """What the first such character of a line is, and the fix; None where all can be seen."""
    line = line.removesuffix("\r")
    indent = len(line) - len(line.lstrip(" \t"))
    if "\t" in line[:indent] or line[indent:].startswith(("-\t", "?\t")):
        return "there is a tab, and YAML wants blanks", "type blanks in its place"
    for character in line:
        if character.isascii() and (character.isprintable() or character == "\t"):
            continue
        if character in _LOOKALIKES:
            like = _LOOKALIKES[character]
            return (
                f"{_named(character)} only looks like {like}",
                f"type a plain {like} in its place",
            )
        category = unicodedata.category(character)
        if category == "Zs":
            return f"{_named(character)} only looks like a blank", "type a plain blank in its place"
        if category in ("Cc", "Cf", "Cn", "Co", "Zl", "Zp") or character in _BLANK:
            return f"{_named(character)} cannot be seen", "delete it, or type the line again"
    return None


def _named(character: str) -> str:
    name = unicodedata.name(character, "a control character").lower()
    return f"the character U+{ord(character):04X} ({name})"


def encoding(data: bytes, start: int) -> tuple[str, str]:
    """What bytes that are no UTF-8 are, as far as can be told, and the fix."""
    for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if data.startswith(mark):
            return f"it is {name}, not UTF-8", f"save it as UTF-8: iconv -f {name} -t UTF-8"
    line = data.count(b"\n", 0, start) + 1
    return (
        f"line {line} is not UTF-8: byte 0x{data[start]:02x}",
        "save it as UTF-8, in the editor or with iconv -f LATIN1 -t UTF-8",
    )
