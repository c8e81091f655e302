"""Tells records about people in a table: by its column names and, where they can, its values.

Built for few false alarms: values that have a check digit must pass it, and what has none counts
only in company. Bytes in, no I/O; looks at the beginning only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from sovgate.lint import carriers

#: As many different values of one kind are no accident.
ENOUGH = 3
#: Two people are a table of people, where the names of its columns say so.
TWO = 2


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
        "first name": "firstname givenname forename vorname prenom nombre voornaam fornavn fornamn "
        "imie etunimi firstnames givennames",
        "last name": "lastname surname familyname nachname nomdefamille apellido apellidos cognome "
        "achternaam etternavn efternamn nazwisko sukunimi familienname",
        "full name": "name fullname customername patientname personname clientname employeename "
        "holder accountholder cardholder nom nome naam namn navn nimi displayname contactname",
        "date of birth": "dateofbirth dob birthdate birthday birth geburtsdatum datenaissance "
        "datedenaissance geboortedatum fechanacimiento fechadenacimiento datadinascita "
        "datanascita fodselsdato fodelsedatum dataurodzenia syntymaaika birthyear",
        "telephone": "phone phonenumber telephone telephonenumber tel telno mobile mobilenumber "
        "mobilephone mobileno cell cellphone telefon telefono telefoon telefonnummer handy "
        "handynummer gsm msisdn puhelin",
        "street": "street streetaddress homeaddress postaladdress addressline1 address strasse "
        "straße anschrift adresse adres direccion indirizzo domicilio adress osoite",
        "patient": "patientid medicalrecordnumber mrn diagnosis diagnose icd10 icdcode",
        "e-mail": "email emailaddress mail mailaddress emailadresse correo courriel",
        "salary": "salary gehalt salaire sueldo stipendio annualincome",
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
#: Files that name the authors of a program: no records about people.
_AUTHORS = frozenset(
    {
        "package.json",
        "composer.json",
        "codemeta.json",
        ".zenodo.json",
        "citation.cff",
        ".all-contributorsrc",
        "authors",
        "authors.md",
        "authors.txt",
        "contributors.md",
    }
)
#: Where `"name": value` is a line of a program.
_CODE = frozenset(
    {"py", "pyi", "js", "ts", "jsx", "tsx", "mjs", "go", "rs", "java", "kt", "scala", "c", "h"}
    | {"cc", "cpp", "cs", "rb", "php", "swift", "rego"}
)
_CREATE = re.compile(rb"CREATE TABLE [^()]{1,200}\(([^()]{1,8000})", re.IGNORECASE)
_PARQUET_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_ .-]{1,60}")


def find(name: str, data: bytes) -> str | None:
    """What makes the table one of people, e.g. "IBANs in column 'konto'"; None where nothing does.

    `data` is the file's beginning, for Parquet its end. Any carrier is looked into, by content.
    """
    if data.endswith(b"PAR1"):
        return _names(_parquet(data))
    if data.startswith(b"SQLite format 3\0"):
        return _names(_sqlite(data))
    base, _, ending = name.rpartition("/")[2].lower().rpartition(".")
    if f"{base}.{ending}" in _AUTHORS:
        return None
    kind = carriers.Kind(table=ending in ("csv", "tsv", "tab", "psv"), code=ending in _CODE)
    for table in carriers.tables(data, kind):
        if found := _columns(table):
            return found
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _columns(table: Mapping[str, list[str]]) -> str | None:
    company: dict[str, str] = {}
    for name, cells in table.items():
        values = {cell.strip()[: carriers.MAX_CELL] for cell in cells} - {""}
        plain = _plain(name)
        for kind, check in _BY_VALUE.items():
            if _many(values, check):
                return f"{kind} in column {name[:60]!r}"
        for kind, names, check in _BY_NAME:
            if plain in names and _many(values, check, TWO):
                return f"{kind} in column {name[:60]!r}"
        if plain in _COMPANY and len(values) >= TWO:
            company.setdefault(_COMPANY[plain], name)
    return _together(company)


def _many(values: set[str], check: Check, enough: int = ENOUGH) -> bool:
    """Enough values pass, and they are most of them."""
    right = sum(check(value) for value in values)
    return right >= enough and right * 2 >= len(values)


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


def _sqlite(data: bytes) -> list[str]:
    """Column names of its tables, as they were created."""
    found: list[str] = []
    for match in _CREATE.finditer(data):
        for column in match.group(1).decode("utf-8", "replace").split(","):
            found += column.split()[:1]
    return [name.strip("\"`[]'") for name in found]


def _parquet(data: bytes) -> list[str]:
    """Column names in the footer: in Thrift's compact form a name stands behind its length."""
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8] if size + 8 <= len(data) else data[:-8]
    return [
        match.group()[:length].decode("ascii")
        for match in _PARQUET_NAME.finditer(footer)
        if match.start() and 2 <= (length := footer[match.start() - 1]) <= len(match.group())
    ]
