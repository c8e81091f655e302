"""How text lies on a terminal: aligned rows, tables and trees, in as many columns as there are.

In a log a line has no end, and nothing is broken there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

#: What is copied stays in one line, which the terminal itself breaks: commands, diffs, keys.
_COPIED = re.compile(
    r"^[ +@-]|(?:^|[ :`(])(?:sovgate|git|pip|python3?|aws|gcloud|curl|hf|helm|openssl|cp|rm|find)"
    r" (?!at |and |or |is |does |has )[a-z./~-]"
)
Escape = Callable[[str], str]
#: Fewer columns than these are no room for a sentence.
_LEAST = 24


@dataclass(frozen=True, kw_only=True)
class Branch:
    """`status` is a word of TREE_MARKS; `more` are further lines below `text`."""

    label: str
    text: str
    status: str
    more: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()


#: status -> (mark on a terminal, its colour, word elsewhere)
TREE_MARKS = {
    "verified": ("✓", "1;32", "ok"),
    "failed": ("✗", "1;31", "FAILED"),
    "missing": ("?", "33", "MISSING"),
    "stated": ("·", "2", "-"),
}


class Style:
    """Colours where a person looks at a terminal; nothing elsewhere."""

    def __init__(self, stream: Any) -> None:
        #: Whether lines have an end there.
        self.narrow = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.on = self.narrow and not os.environ.get("NO_COLOR")  # no-color.org: not empty

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text

    def bold(self, text: str) -> str:
        return self("1", text)

    def dim(self, text: str) -> str:
        return self("2", text)

    def good(self, text: str) -> str:
        return self("1;32", text)

    def bad(self, text: str) -> str:
        return self("1;31", text)

    def warn(self, text: str) -> str:
        return self("33", text)


def room(style: Style, taken: int) -> int:
    """Columns beside what is `taken`; a log has no end of a line."""
    if not (style.narrow or style.on):
        return sys.maxsize
    import shutil

    return max(shutil.get_terminal_size().columns - taken, _LEAST)


def fold(text: str, width: int) -> list[str]:
    """The text in lines, broken between words; what is to be copied, and one long word, is not."""
    if len(text) <= width or _COPIED.search(text):
        return [text]
    return wrap(text, width, break_long_words=False, break_on_hyphens=False) or [text]


def hanging(text: str, indent: int, style: Style) -> list[str]:
    """The text in lines; all but the first begin with `indent` blanks."""
    first, *more = fold(text, room(style, indent))
    return [first, *(" " * indent + line for line in more)]


def aligned(rows: tuple[tuple[str, str], ...], style: Style, escape: Escape) -> list[str]:
    width = max((len(label) for label, _ in rows), default=0)
    lines = []
    for label, value in rows:
        first, *more = hanging(escape(value), width + 4, style)
        lines += [f"  {style.dim(escape(label).ljust(width))}  {first}".rstrip(), *more]
    return lines


def columns(table: tuple[tuple[str, ...], ...], style: Style, escape: Escape) -> list[str]:
    cells = [[escape(cell) for cell in row] for row in table]
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    taken = sum(widths[:-1]) + 2 * len(widths[:-1])
    lines: list[str] = []
    for *before, last in cells:
        lead = "".join(f"{c.ljust(w)}  " for c, w in zip(before, widths, strict=False))
        first, *more = hanging(last, taken, style)
        lines += [f"{lead}{first}".rstrip(), *more]
    return [style.bold(lines[0]), *lines[1:]]


def tree_lines(branches: tuple[Branch, ...], style: Style, escape: Escape) -> list[str]:
    """A tree with aligned labels; in a log without any character that is not ASCII of ours."""
    rows: list[tuple[str, str, str, str]] = []

    def draw(branch: Branch, lead: str, below: str) -> None:
        mark, colour, word = TREE_MARKS[branch.status]
        shown = style(colour, mark) if style.on else word.ljust(7)
        rows.append((lead, escape(branch.label), shown, escape(branch.text)))
        stem = ("│ " if style.on else "| ") if branch.branches else "  "
        rows.extend(
            (below + stem, "", "" if style.on else " " * 7, escape(line)) for line in branch.more
        )
        for number, child in enumerate(branch.branches):
            last = number == len(branch.branches) - 1
            if style.on:
                fork, stem = ("└─ ", "   ") if last else ("├─ ", "│  ")
            else:
                fork, stem = ("`- ", "   ") if last else ("|- ", "|  ")
            draw(child, below + fork, below + stem)

    for branch in branches:
        draw(branch, "", "")
    width = max((len(lead) + len(label) for lead, label, _, _ in rows), default=0)
    lines = []
    columns_left = room(style, width + (4 if style.on else 10))
    for lead, label, mark, text in rows:
        gap = " " * (width - len(lead) - len(label))
        first, *more = wrap(text, columns_left, break_long_words=False, break_on_hyphens=False) or [
            ""
        ]
        lines.append(f"{style.dim(lead)}{label}{gap}  {mark or ' '} {first}".rstrip())
        stem = lead.replace("├─", "│ ").replace("└─", "  ")
        space = " " * (width - len(stem) + 4)
        lines += [f"{style.dim(stem)}{space}{line}" for line in more]
    return lines
