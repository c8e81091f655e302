"""Tables in whatever carries them: CSV, JSON, YAML, notebooks, dumps, HTML, archives. Bytes in.

By content, not by a file's ending. No I/O, no third-party import; looks at the beginning only, and
what is broken off or damaged gives what was read before.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Name of a column -> the texts below it.
Table = dict[str, list[str]]

MAX_LINES = 1000
MAX_COLUMNS = 512
MAX_CELL = 256
#: So much comes out of a compressed file, and so deep are carriers within carriers opened.
MAX_UNPACKED, MAX_DEPTH, MAX_MEMBERS = 1024 * 1024, 3, 32
#: Values of a JSON document that are walked through, and places where one may begin.
_MAX_VALUES, _MAX_BEGINS = 100_000, 200

_PAIR = re.compile(r"(\s*(?:-\s+)?)[\"']?([A-Za-z_][\w .-]{0,60}?)[\"']?\s*:\s+(\S.{0,256})")
_INSERT = re.compile(
    r"INSERT\s+(?:OR\s+\w+\s+)?INTO\s+\S{1,130}\s*\(([^()]{1,4000})\)\s*VALUES\s*", re.IGNORECASE
)
_COPY = re.compile(r"COPY\s+\S{1,130}\s*\(([^()]{1,4000})\)\s+FROM\s+stdin;", re.IGNORECASE)
_VALUES = re.compile(r"\(((?:[^()']|'(?:[^']|'')*'){0,8000})\)")
_ELEMENT = re.compile(r"<([A-Za-z_][\w.:-]{0,60})(?:\s[^<>]{0,200})?>([^<>]{1,256})</\1>")
_HTML_ROW = re.compile(r"<tr\b[^<>]{0,200}>(.{0,20000}?)</tr>", re.IGNORECASE | re.DOTALL)
_HTML_CELL = re.compile(r"<t[dh]\b[^<>]{0,200}>(.{0,2000}?)</t[dh]>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,200}>")
_WIDE = re.compile(r" {2,}|\t")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a file's name says of it. `table`: one column is a table too, and no list of words.

    `code`: it is a program, of which `"name": value` is a line and no record.
    """

    table: bool = False
    code: bool = False


_ANY = Kind()


def tables(data: bytes, kind: Kind = _ANY, depth: int = 0) -> Iterator[Table]:
    """Every table that is found in the beginning of a file; none where nothing is one."""
    if depth > MAX_DEPTH or not data:
        return
    for inner in _unpacked(data):
        yield from tables(inner, kind, depth + 1)
    if b"\0" in data[:4096]:
        return
    yield from _of_text(data.decode("utf-8-sig", "replace"), kind)


def _unpacked(data: bytes) -> Iterator[bytes]:
    """What is inside, at most MAX_UNPACKED bytes of each; nothing where it is not packed."""
    opener: Any = None
    if data.startswith(b"\x1f\x8b"):
        opener = zlib.decompressobj(31)
    elif data.startswith(b"BZh"):
        opener = bz2.BZ2Decompressor()
    elif data.startswith(b"\xfd7zXZ\0"):
        opener = lzma.LZMADecompressor(memlimit=64 * 1024 * 1024)
    if opener is not None:
        with contextlib.suppress(zlib.error, OSError, lzma.LZMAError, EOFError, MemoryError):
            yield opener.decompress(data, MAX_UNPACKED)
    elif data.startswith(b"PK\3\4"):
        yield from _members(data)


def _members(data: bytes) -> Iterator[bytes]:
    """The members of a zip file, or of a spreadsheet, that lie whole in what was read."""
    with contextlib.suppress(
        zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, ValueError, EOFError
    ):
        archive = zipfile.ZipFile(io.BytesIO(data))
        for info in archive.infolist()[:MAX_MEMBERS]:
            with contextlib.suppress(zipfile.BadZipFile, RuntimeError, zlib.error, EOFError):
                with archive.open(info) as member:
                    found = member.read(MAX_UNPACKED)
                # Of a spreadsheet all texts lie here, one after the other.
                if info.filename == "xl/sharedStrings.xml":
                    texts = re.findall(rb"<t\b[^<>]{0,100}>([^<>]{0,256})</t>", found)
                    rows = [{"text": one.decode("utf-8", "replace")} for one in texts]
                    found = json.dumps(rows).encode()
                yield found


def _of_text(text: str, kind: Kind) -> Iterator[Table]:
    start = text.lstrip()[:1]
    if start in ("{", "["):
        documents = list(_json(text))
        for document in documents:
            yield from _of_json(document)
        if documents:
            return
    if "<" in text:
        yield from _html(text)
        yield _columns(_ELEMENT.findall(text))
    yield from _sql(text)
    if kind.code:
        return
    yield _pairs(text)
    found = delimited(text)
    if len(found) > 1 or kind.table:
        yield found


# --- rows by name ----------------------------------------------------------------------------


def _columns(pairs: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> Table:
    table: Table = {}
    for name, value in pairs:
        if len(table) < MAX_COLUMNS or name in table:
            cells = table.setdefault(name, [])
            if len(cells) < MAX_LINES:
                cells.append(value[:MAX_CELL])
    return table


def _pairs(text: str) -> Table:
    """`name: value` lines that repeat, as lists of YAML and dumps of records have them."""
    matches = [_PAIR.fullmatch(line[:400]) for line in text.splitlines()[: MAX_LINES * 8]]
    table = _columns([(one[2], one[3].strip().strip("\"',")) for one in matches if one])
    return {name: cells for name, cells in table.items() if len(cells) > 1}


def _json(text: str) -> Iterator[Any]:
    """The document; or the documents that follow each other, one a line or not, whole or cut."""
    decoder = json.JSONDecoder()
    with contextlib.suppress(ValueError, RecursionError):
        yield json.loads(text)
        return
    position, begins = 0, 0
    rows: list[Any] = []
    while begins < _MAX_BEGINS and len(rows) < MAX_LINES:
        position = text.find("{", position)
        if position < 0:
            break
        try:
            row, position = decoder.raw_decode(text, position)
            rows.append(row)
        except (ValueError, RecursionError):
            begins += 1
            position += 1
    if rows:
        yield rows


def _of_json(document: Any) -> Iterator[Table]:
    """Lists of objects, columns that are lists, and what a notebook shows; wherever they stand."""
    left = [document]
    seen = 0
    while left and seen < _MAX_VALUES:
        value = left.pop()
        seen += 1
        if isinstance(value, list):
            rows = [row for row in value[:MAX_LINES] if isinstance(row, dict)]
            yield _columns([pair for row in rows for pair in _scalars(row)])
            left += [one for one in value[:MAX_LINES] if isinstance(one, (dict, list))]
        elif isinstance(value, dict):
            columns = {k: v for k, v in value.items() if isinstance(v, list)}
            yield _columns([(k, str(one)) for k, v in columns.items() for one in v if _plain(one)])
            names, cells = value.get("columns"), value.get("data")
            if isinstance(names, list) and isinstance(cells, list):  # pandas, orient="split"
                lines = [line for line in cells[:MAX_LINES] if isinstance(line, list)]
                yield _columns(
                    [(str(n), str(c)) for one in lines for n, c in zip(names, one, strict=False)]
                )
            keyed = [row for row in value.values() if isinstance(row, dict)]
            if len(keyed) > 1:  # an object of objects, by an id
                yield _columns([pair for row in keyed[:MAX_LINES] for pair in _scalars(row)])
            left += [one for one in value.values() if isinstance(one, (dict, list))]
            yield from _shown(value)


def _shown(value: dict[str, Any]) -> Iterator[Table]:
    """The text that a cell of a notebook printed, or a text that is a table itself."""
    for kind in ("text/plain", "text/html", "text/csv", "text/markdown", "text", "source"):
        said = value.get(kind)
        text = "".join(map(str, said)) if isinstance(said, list) else said
        if isinstance(text, str):
            yield from _html(text)
        if isinstance(text, str) and "\n" in text:
            yield delimited(text)
            yield aligned(text)


def _plain(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < 10**30)


def _scalars(row: dict[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    """Names and plain values of an object and of those within it, without the names above."""
    for name, value in [*row.items()][:MAX_COLUMNS]:
        if _plain(value):
            yield str(name), str(value)
        elif isinstance(value, dict) and depth < MAX_DEPTH:
            yield from _scalars(value, depth + 1)


def _sql(text: str) -> Iterator[Table]:
    """What a dump of a database inserts."""
    pairs: list[tuple[str, str]] = []
    for match in [*_INSERT.finditer(text)][:MAX_LINES]:
        names = [name.strip(' \t\r\n`"[]') for name in match[1].split(",")]
        position = match.end()
        while len(pairs) < MAX_LINES * 20 and (row := _VALUES.match(text, position)):
            cells: list[str] = []
            with contextlib.suppress(csv.Error):
                cells = next(csv.reader([row[1]], quotechar="'", skipinitialspace=True), [])
            pairs += zip(names, cells, strict=False)
            position = row.end()
            position += len(text[position : position + 9]) - len(
                text[position : position + 9].lstrip(" ,\r\n\t")
            )
    for match in [*_COPY.finditer(text)][:16]:
        names = [name.strip(' \t`"') for name in match[1].split(",")]
        for line in text[match.end() :].splitlines()[1 : MAX_LINES + 1]:
            if line == "\\.":
                break
            pairs += zip(names, line.split("\t"), strict=False)
    if pairs:
        yield _columns(pairs)


def _html(text: str) -> Iterator[Table]:
    found = [match[1] for match in [*_HTML_ROW.finditer(text)][:MAX_LINES]]
    rows = [[_TAG.sub("", cell).strip() for cell in _HTML_CELL.findall(row)] for row in found]
    if len(rows) > 1:
        yield _headed(rows)


# --- rows by place ---------------------------------------------------------------------------


def _headed(rows: list[list[str]]) -> Table:
    """Columns by the names of the first row; by number where it holds none.

    The head is a value too, since it may be one: a table without a head begins with a record.
    """
    width = min(max(map(len, rows), default=0), MAX_COLUMNS)
    while width > 1 and rows and len(rows[0]) == 1:  # a title
        del rows[0]
    head = [*(rows[0] if rows else ()), *[""] * width][:width]
    table: Table = {}
    for index, name in enumerate(head):
        cells = [row[index][:MAX_CELL] for row in rows if index < len(row)]
        table.setdefault(name if name.strip() else str(index + 1), []).extend(cells[1:])
        if "@" in name or (name[:1].isalpha() and name[2:4].isdigit()):  # a value, not a name
            table[name].append(name)
    return table


def delimited(text: str) -> Table:
    """Rows with a sign between their cells: of comma, semicolon, tab and bar the most frequent."""
    lines = [line for line in text.splitlines()[: MAX_LINES + 1] if line.strip()]
    if lines and re.fullmatch(r"\W?sep=.\W?", lines[0]):  # what Excel wants there
        del lines[0]
    if not lines:
        return {}
    # Of the first lines, since a title may stand above the table.
    sign = max(",;\t|", key=lambda one: sum(line.count(one) for line in lines[:9]))
    if sign == "|":  # Markdown: bars at the ends, and a line of dashes
        lines = [line.strip().strip("|") for line in lines if line.strip("|-: ")]
    rows: list[list[str]] = []
    # A field that is larger than the reader takes ends it, not what was read before.
    with contextlib.suppress(csv.Error):
        for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=sign):
            rows.append([cell.strip() for cell in row[:MAX_COLUMNS]])  # noqa: PERF401 - what was read stays
    return _headed(rows)


def aligned(text: str) -> Table:
    """A table as pandas prints it: cells apart by two blanks or more, a number before each row."""
    rows = [
        _WIDE.split(line.strip()) for line in text.splitlines()[: MAX_LINES + 1] if line.strip()
    ]
    if len(rows) < 2:
        return {}
    body = rows[1:]
    if body and all(len(row) == len(rows[0]) + 1 for row in body[:9]):
        body = [row[1:] for row in body]
    return _headed([rows[0], *body])
