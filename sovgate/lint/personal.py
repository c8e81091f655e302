"""Tells records about people in a table: by its column names and, where they can, its values.

Built for few false alarms: values that have a check digit must pass it, and what has none counts
only in company. Bytes in, no I/O; looks at the beginning only.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping

MAX_LINES = 1000
MAX_COLUMNS = 512
#: As many different values of one kind are no accident.
ENOUGH = 3
_MAX_CELL = 256


def _mod97(text: str) -> bool:
    digits = "".join(str(int(c, 36)) for c in text[4:] + text[:4])
    return int(digits) % 97 == 1


def _iban(text: str) -> bool:
    text = text.replace(" ", "").upper()
    return re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", text) is not None and _mod97(text)


def _email(text: str) -> bool:
    match = re.fullmatch(
        r"[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+)", text
    )
    domain = match.group(1).lower() if match else ""
    return bool(domain) and not re.search(
        r"(^|\.)(example\.(com|net|org)|example|test|invalid|localhost)$", domain
    )


def _luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _digits(text: str) -> str:
    return re.sub(r"[ ./-]", "", text)


def _card(text: str) -> bool:
    digits = _digits(text)
    return re.fullmatch(r"[3-6][0-9]{12,18}", digits, re.ASCII) is not None and _luhn(digits)


def _weighted(digits: str, weights: Iterable[int]) -> int:
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False))


_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def _dni(text: str) -> bool:  # Spain: DNI, NIE
    match = re.fullmatch(r"([XYZ]?)([0-9]{7,8})-?([A-Z])", text.upper(), re.ASCII)
    if match is None or len(match.group(1) + match.group(2)) != 8:
        return False
    number = int({"": "", "X": "0", "Y": "1", "Z": "2"}[match.group(1)] + match.group(2))
    return _LETTERS[number % 23] == match.group(3)


def _fiscal(text: str) -> bool:  # Italy: codice fiscale
    return (
        re.fullmatch(
            r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]", text.upper(), re.ASCII
        )
        is not None
    )


def _nir(text: str) -> bool:  # France
    digits = _digits(text)
    return re.fullmatch(r"[12][0-9]{14}", digits, re.ASCII) is not None and (
        97 - int(digits[:13]) % 97 == int(digits[13:])
    )


def _bsn(text: str) -> bool:  # the Netherlands
    digits = _digits(text)
    return (
        re.fullmatch(r"[0-9]{9}", digits, re.ASCII) is not None
        and digits != "000000000"
        and (_weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0)
    )


def _pesel(text: str) -> bool:  # Poland
    return (
        re.fullmatch(r"[0-9]{11}", text, re.ASCII) is not None
        and text.strip("0") != ""
        and (_weighted(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0)
    )


def _personnummer(text: str) -> bool:  # Sweden
    digits = _digits(text.replace("+", ""))
    return re.fullmatch(r"[0-9]{10}|[0-9]{12}", digits, re.ASCII) is not None and _luhn(
        digits[-10:]
    )


def _ssn(text: str) -> bool:  # United States
    return (
        re.fullmatch(r"(?!000|666|9)[0-9]{3}-?(?!00)[0-9]{2}-?(?!0000)[0-9]{4}", text, re.ASCII)
        is not None
    )


def _nino(text: str) -> bool:  # United Kingdom
    return (
        re.fullmatch(
            r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][0-9]{6}[A-D]",
            text.replace(" ", "").upper(),
            re.ASCII,
        )
        is not None
    )


def _number(text: str) -> bool:  # any other document's
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ./-]{4,24}", text, re.ASCII) is not None and (
        sum(c.isdigit() for c in text) >= 4
    )


Check = Callable[[str], bool]
#: Values that give themselves away under any name.
_BY_VALUE: Mapping[str, Check] = {"IBANs": _iban, "e-mail addresses": _email}
#: Values that need a name above them: kind, names (no separators), check.
_BY_NAME: tuple[tuple[str, frozenset[str], Check], ...] = (
    (
        "card numbers",
        frozenset(
            {"card", "cardnumber", "cardno", "creditcard", "creditcardnumber", "pan", "ccnumber"}
        ),
        _card,
    ),
    ("social security numbers", frozenset({"ssn", "socialsecurity", "socialsecuritynumber"}), _ssn),
    (
        "national ids",
        frozenset(
            {
                "nationalid",
                "nationalidnumber",
                "nationalnumber",
                "idnumber",
                "personalid",
                "personalnumber",
                "passport",
                "passportnumber",
                "passportno",
                "taxid",
                "taxnumber",
                "steuerid",
                "steueridnr",
                "tin",
                "driverslicense",
                "drivinglicence",
                "sozialversicherungsnummer",
                "svnr",
            }
        ),
        _number,
    ),
    ("DNI numbers", frozenset({"dni", "nie", "nif"}), _dni),
    ("codici fiscali", frozenset({"codicefiscale", "cf"}), _fiscal),
    ("NIR numbers", frozenset({"nir", "numerosecu", "numerosecuritesociale", "insee"}), _nir),
    ("BSN numbers", frozenset({"bsn", "burgerservicenummer"}), _bsn),
    ("PESEL numbers", frozenset({"pesel"}), _pesel),
    (
        "personnummer",
        frozenset({"personnummer", "personnr", "fodselsnummer", "henkilotunnus"}),
        _personnummer,
    ),
    ("NINO numbers", frozenset({"nino", "nationalinsurance", "nationalinsurancenumber"}), _nino),
)
#: Names that say "person" only together.
_COMPANY: Mapping[str, str] = {
    name: kind
    for kind, names in {
        "first name": "firstname givenname forename vorname prenom nombre",
        "last name": "lastname surname familyname nachname nomdefamille apellido apellidos cognome",
        "full name": "fullname customername patientname personname",
        "date of birth": "dateofbirth dob birthdate birthday geburtsdatum datenaissance",
        "telephone": "phone phonenumber telephone mobile mobilenumber telefon handynummer",
        "street": "street streetaddress homeaddress addressline1 strasse straße",
        "patient": "patientid medicalrecordnumber mrn diagnosis icd10 icdcode",
        "e-mail": "email emailaddress mail",
    }.items()
    for name in names.split()
}
_TELLING = frozenset(
    {
        "iban",
        "bsn",
        "pesel",
        "codicefiscale",
        "personnummer",
        "nationalid",
        "socialsecuritynumber",
        "passportnumber",
        "creditcardnumber",
    }
)
_PARQUET_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_ .-]{1,60}")


def find(name: str, data: bytes) -> str | None:
    """What makes the table one of people, e.g. "IBANs in column 'konto'"; None where nothing does.

    `data` is the file's beginning, for Parquet its end.
    """
    ending = name.rpartition(".")[2].lower()
    if ending in ("csv", "tsv", "tab", "psv"):
        return _columns(_csv(data))
    if ending in ("jsonl", "ndjson"):
        return _columns(_jsonl(data))
    if ending in ("parquet", "pq") and data.endswith(b"PAR1"):
        return _names(_parquet(data))
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _columns(table: Mapping[str, list[str]]) -> str | None:
    company: dict[str, str] = {}
    for name, cells in table.items():
        values = {cell.strip()[:_MAX_CELL] for cell in cells} - {""}
        plain = _plain(name)
        for kind, check in _BY_VALUE.items():
            if _many(values, check):
                return f"{kind} in column {name[:60]!r}"
        for kind, names, check in _BY_NAME:
            if plain in names and _many(values, check):
                return f"{kind} in column {name[:60]!r}"
        if plain in _COMPANY and len(values) >= ENOUGH:
            company.setdefault(_COMPANY[plain], name)
    return _together(company)


def _many(values: set[str], check: Check) -> bool:
    """Enough values pass, and they are most of them."""
    right = sum(check(value) for value in values)
    return right >= ENOUGH and right * 2 >= len(values)


def _together(company: Mapping[str, str]) -> str | None:
    if len(company) < 2:
        return None
    return "columns " + ", ".join(repr(name[:60]) for name in [*company.values()][:4])


def _names(names: Iterable[str]) -> str | None:
    """By names alone: one that says it all, or two that say it together."""
    company: dict[str, str] = {}
    for name in names:
        plain = _plain(name)
        if plain in _TELLING:
            return f"column {name[:60]!r}"
        if plain in _COMPANY:
            company.setdefault(_COMPANY[plain], name)
    return _together(company)


def _text(data: bytes) -> list[str]:
    text = data.decode("utf-8-sig", "replace")
    lines = text.splitlines()
    return lines[: MAX_LINES + 1]


def _csv(data: bytes) -> dict[str, list[str]]:
    """Columns by name; by number where the first line holds data itself, or is too short."""
    lines = [line for line in _text(data) if line.strip()]
    if lines and re.fullmatch(r"\W?sep=.\W?", lines[0]):  # what Excel wants there
        del lines[0]
    if not lines:
        return {}
    # Of the first lines, since a title may stand above the table.
    delimiter = max(",;\t|", key=lambda sign: sum(line.count(sign) for line in lines[:9]))
    rows: list[list[str]] = []
    # A field that is larger than the reader takes ends it, not what was read before.
    with contextlib.suppress(csv.Error):
        for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter):
            rows.append(row)  # noqa: PERF402 - what was read stays
    width = min(max(map(len, rows), default=0), MAX_COLUMNS)
    while width > 1 and len(rows[0]) == 1:  # a title
        del rows[0]
    head = [*(rows[0] if rows else ()), *[""] * width][:width]
    table: dict[str, list[str]] = {}
    for index, name in enumerate(head):
        # The head is a value too, since it may be one: a name never passes a check digit.
        cells = [row[index] for row in rows if index < len(row)]
        table.setdefault(name if name.strip() else str(index + 1), []).extend(cells[1:])
        if _iban(name) or _email(name):
            table[name].append(name)
    return table


def _jsonl(data: bytes) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for line in _text(data):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            for name, value in [*row.items()][:MAX_COLUMNS]:
                if isinstance(value, str | int) and len(table) < MAX_COLUMNS:
                    small = isinstance(value, str) or abs(value) < 10**30
                    table.setdefault(name, []).append(str(value)[:_MAX_CELL] if small else "")
    return table


def _parquet(data: bytes) -> list[str]:
    """Column names in the footer: in Thrift's compact form a name stands behind its length."""
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8] if size + 8 <= len(data) else data[:-8]
    return [
        match.group()[:length].decode("ascii")
        for match in _PARQUET_NAME.finditer(footer)
        if match.start() and 2 <= (length := footer[match.start() - 1]) <= len(match.group())
    ]
