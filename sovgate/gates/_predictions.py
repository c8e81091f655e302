"""Reads predictions: CSV `id,label,prediction[,score]`, or Parquet with those columns.

Hostile input. Opens that file alone, in one bounded pass. Anything unclear is refused: a row that
is quietly left out, or a NaN that equals a NaN, would be worth points.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from sovgate.errors import Malformed, UsageError, VerificationFailed, disk_error
from sovgate.gates._api import Predictions

MAX_BYTES = 1 << 30
MAX_ROWS = 2_000_000
MAX_LINE = 16 * 1024
MAX_TEXT = 256

COLUMNS = ("id", "label", "prediction")
SCORE = "score"

_PARQUET = b"PAR1"
#: How programs spell a value that is not there. The word "none" is a label like any other.
_NOTHING = re.compile(r"\s*([-+]?(?i:nan|inf|infinity)|(?i:null)|None|NaT|<NA>)?\s*")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def read(path: Path, what: str) -> Predictions:
    """`what` is how messages name the file, e.g. "predictions".

    Raises UsageError (missing, or pyarrow is), DiskError, VerificationFailed "limits", Malformed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise disk_error(error, f"read the {what} {str(path)!r}") from error
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise VerificationFailed(f"the {what} is not a regular file", reason="not-regular")
    with open(descriptor, "rb") as file:
        if state.st_size > MAX_BYTES:
            raise VerificationFailed(
                f"the {what} file is larger than {MAX_BYTES} bytes",
                why=f"{state.st_size}",
                reason="limits",
            )
        table = _Table(what)
        try:
            if file.peek(4)[:4] == _PARQUET:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                _parquet(file, table)
            else:
                sha256 = _csv(file, table)
        except OSError as error:
            raise disk_error(error, f"read the {what} {str(path)!r}") from error
    return table.finish(sha256)


class _Table:
    """Collects rows, each checked; equal texts are kept once."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.ids: dict[str, None] = {}
        self.labels: list[str] = []
        self.predicted: list[str] = []
        self.scores: list[float] | None = None
        self._seen: dict[str, str] = {}
        self._headed = False

    def refuse(self, why: str) -> NoReturn:
        row = f"row {len(self.ids) + 1}: " if self._headed else ""
        raise Malformed(
            f"the {self.what} cannot be used",
            why=row + why,
            fix="write id,label,prediction[,score]: a row a sample, each id once, no empty value",
            reason="bad-predictions",
        )

    def head(self, names: list[str]) -> None:
        if tuple(names) == (*COLUMNS, SCORE):
            self.scores = []
        elif tuple(names) != COLUMNS:
            self.refuse(f"the columns are {','.join(names)[:120]!r}")
        self._headed = True

    def add(self, name: str, label: str, answer: str, score: str | None) -> None:
        if len(self.ids) >= MAX_ROWS:
            raise VerificationFailed(f"more than {MAX_ROWS} {self.what}", reason="limits")
        for text in (name, label, answer):
            if len(text) > MAX_TEXT:
                self.refuse(f"a value is longer than {MAX_TEXT}")
            if not text.isprintable() and _CONTROL.search(text):
                self.refuse("a value holds control characters")
        if name in self.ids:
            self.refuse(f"the id {name[:80]!r} is there twice")
        if not name:
            self.refuse("it has no id")
        label, answer = self._value(label, "label"), self._value(answer, "prediction")
        self.ids[name] = None
        self.labels.append(label)
        self.predicted.append(answer)
        if self.scores is not None:
            number = float(score) if score is not None and _NUMBER.fullmatch(score) else math.nan
            if not math.isfinite(number):
                self.refuse(f"the score {str(score)[:40]!r} is not a finite number")
            self.scores.append(number)

    def _value(self, text: str, column: str) -> str:
        known = self._seen.get(text)
        if known is not None:
            return known
        if _NOTHING.fullmatch(text):
            self.refuse(f"the {column} {text[:40]!r} is no value")
        if text != text.strip():
            self.refuse(f"the {column} {text[:40]!r} has white space around it")
        self._seen[text] = text
        return text

    def finish(self, sha256: str) -> Predictions:
        return Predictions(
            ids=tuple(self.ids),
            labels=tuple(self.labels),
            predicted=tuple(self.predicted),
            scores=None if self.scores is None else tuple(self.scores),
            sha256=sha256,
        )


def _csv(file: BinaryIO, table: _Table) -> str:
    digest = hashlib.sha256()
    rows = csv.reader(_lines(file, digest, table), strict=True)
    try:
        head = next(rows, None)
        if head is None:
            table.refuse("the file is empty")
        table.head(head)
        width = len(head)
        for row in rows:
            if len(row) != width:
                table.refuse(f"it has {len(row)} values, not {width}")
            table.add(row[0], row[1], row[2], row[3] if width > len(COLUMNS) else None)
    except csv.Error as error:
        table.refuse(f"not CSV: {error}")
    return digest.hexdigest()


def _lines(file: BinaryIO, digest: Any, table: _Table) -> Iterator[str]:
    """Lines one by one, each bounded: a file without line ends is no line of a gigabyte."""
    first = True
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            table.refuse(f"a line is longer than {MAX_LINE} bytes")
        digest.update(line)
        try:
            text = line.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError as error:
            table.refuse(f"not UTF-8: {error.reason}")
        first = False
        if "\x00" in text:
            table.refuse("a NUL byte")
        yield text


def _parquet(file: BinaryIO, table: _Table) -> None:
    try:
        pa: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise UsageError(
            "reading Parquet needs pyarrow, which is not installed",
            fix="pip install 'sovgate[gates]', or write the predictions as CSV",
            reason="missing-package",
        ) from error
    try:
        opened = parquet.ParquetFile(file)
        found = opened.metadata
        size = sum(found.row_group(i).total_byte_size for i in range(found.num_row_groups))
        if found.num_rows > MAX_ROWS or size > MAX_BYTES:
            raise VerificationFailed(
                f"more than {MAX_ROWS} {table.what}, or {MAX_BYTES} bytes of them", reason="limits"
            )
        columns = list(opened.schema_arrow.names)
        table.head(columns)
        _check_types(pa.types, opened.schema_arrow, table)
        # Text stays as the file holds it, each value once and rows that point at it: spelled out, a
        # few kilobytes would become as many gigabytes as their writer likes.
        opened = parquet.ParquetFile(file, read_dictionary=columns)
        for batch in opened.iter_batches(batch_size=8192):
            texts = [_texts(batch.column(i), columns[i], table) for i in range(len(columns))]
            for row in zip(*texts, strict=True):
                table.add(row[0], row[1], row[2], row[3] if len(row) > len(COLUMNS) else None)
    except (pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
        table.refuse(f"not Parquet: {str(error)[:120] or 'it unpacks to more than fits'}")
    except OSError as error:
        if error.errno is not None:  # the disk's; what Arrow says of damage has no number
            raise
        table.refuse(f"not Parquet: {str(error)[:120]}")


def _check_types(types: Any, schema: Any, table: _Table) -> None:
    """Flat columns alone: the list in one row may claim a billion values in a few bytes."""
    flat = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean)
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if not any(is_(kind) for is_ in flat) and not (
            field.name == SCORE and types.is_floating(kind)
        ):
            table.refuse(
                f"the {field.name} is neither text nor a whole number, but {str(kind)[:40]!r}"
            )


def _texts(column: Any, name: str, table: _Table) -> Iterable[str]:
    """Text, whole numbers and truth values as text. A fraction has no one spelling: scores only."""
    if hasattr(column, "dictionary"):
        compute: Any = import_module("pyarrow.compute")
        longest = compute.max(compute.binary_length(column.dictionary)).as_py() or 0
        if longest > 4 * MAX_TEXT:  # UTF-8 takes four bytes at most
            table.refuse(f"a value is longer than {MAX_TEXT}")
        column = column.dictionary_decode()
    for value in column.to_pylist():
        if isinstance(value, bool):
            yield "true" if value else "false"
        elif isinstance(value, (str, int)) or (isinstance(value, float) and name == SCORE):
            yield str(value)
        else:
            table.refuse(f"the {name} {str(value)[:40]!r} is neither text nor a whole number")
