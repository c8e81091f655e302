"""`sovgate guard`: what it refuses in Git, what it lets be, and that it is not crying wolf."""

from __future__ import annotations

import base64
import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import pickle
import random
import re
import sqlite3
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from sovgate.errors import ConfigError, UsageError
from sovgate.formats import secrets
from sovgate.formats.guardfile import parse
from sovgate.formats.tensors._source import BytesSource
from sovgate.lint import guard, personal
from sovgate.pipeline.decide.guard import guard as run
from sovgate.pipeline.look.data import make_key
from tests import components, scanned
from tests.effort import effort
from tests.headers import safetensors

# Made up, and so built here: a check digit that passes is what the guard looks for.


def iban(number: int) -> str:
    account = f"{37040044:08d}{number:010d}"
    check = 98 - int(f"{account}131400") % 97
    return f"DE{check:02d}{account}"


def table(head: list[str], *columns: list[object], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(head)
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue().encode()


def rules(path: str, data: bytes, *declared: str) -> list[str]:
    places = tuple(guard.Declared(path=place, dataset="kyc") for place in declared)
    found = guard.scan(
        path,
        BytesSource(data),
        declared=places,
        weights_over=1 << 20,
        pickle=lambda: scanned.found(path, data),
    )
    return [one.rule for one in found]


MAILS = [f"anna.{n}@kunde.de" for n in range(5)]
PEOPLE = {
    "iban": (["konto", "saldo"], [iban(n) for n in range(5)], [*range(5)]),
    "iban with spaces": (["a"], [f"{iban(n)[:4]} {iban(n)[4:]}" for n in range(5)]),
    "mail": (["id", "kontakt"], [*range(5)], MAILS),
    "dni": (["dni"], ["12345678Z", "00000000T", "11111111H", "X1234567L"]),
    "ssn": (["SSN"], ["123-45-6789", "219-09-9999", "078-05-1120"]),
    "pesel": (["PESEL"], ["44051401359", "02070803628", "90090515836"]),
    "bsn": (["bsn"], ["111222333", "123456782", "999999990"]),
    "passport": (["Passport_No"], ["C01X00T47", "L8988901C", "P0000123"]),
    "name and birth": (["First Name", "birth-date"], ["A", "B", "C"], ["1990-01-01", "1980", "1"]),
}


@pytest.mark.parametrize("case", PEOPLE)
@pytest.mark.parametrize("form", ["csv", "tsv", "semicolon", "jsonl"])
def test_records_about_people_are_refused(case: str, form: str) -> None:
    head, *columns = PEOPLE[case]
    if form == "jsonl":
        rows = [dict(zip(head, row, strict=True)) for row in zip(*columns, strict=True)]
        data = "\n".join(json.dumps(row) for row in rows).encode()
        name = "a.jsonl"
    else:
        sign = {"csv": ",", "tsv": "\t", "semicolon": ";"}[form]
        data = table(head, *columns, delimiter=sign)
        name = "a.tsv" if form == "tsv" else "a.csv"
    assert rules(f"export/{name}", data) == ["personal-data"]


def test_what_stands_before_a_table_or_in_it_hides_nothing() -> None:
    for head, *columns in PEOPLE.values():
        one = table(head, *columns, delimiter=";")
        many = table([*head, "n"], *columns, [*range(len(columns[0]))], delimiter=";")
        for data in (
            b"sep=;\n" + one,
            b"\n\n" + one,
            b"Export of 2024\n\n" + many,
            one + b"1;" + b"x" * 200_000 + b"\n",
            one.decode().encode("utf-16"),
            one.decode().encode("utf-32"),
            b"\xfe\xff" + many.decode().encode("utf-16-be"),
        ):
            assert rules("a.csv", data) == ["personal-data"], data[:80]
    assert rules("a.csv", b"id\n" + table(*PEOPLE["mail"])) == ["personal-data"]


ROWS = [{"name": f"Person {n}", "email": f"p{n}@rows.internal"} for n in range(30)]
AS_CSV = "name,email\n" + "\n".join(f"{row['name']},{row['email']}" for row in ROWS)
AS_HTML = "<table>" + "".join(
    f"<tr><td>{row['name']}</td><td>{row['email']}</td></tr>" for row in ROWS
)
AS_PANDAS = "       name               email\n" + "\n".join(
    f"{n}  {row['name']}  {row['email']}" for n, row in enumerate(ROWS)
)
COLUMNS = {key: [row[key] for row in ROWS] for key in ROWS[0]}
AS_SQL = (
    "CREATE TABLE p (name text, email text);\nINSERT INTO p (`name`, `email`) VALUES "
    + ",\n".join(f"('{row['name']}', '{row['email']}')" for row in ROWS)
)


def notebook(kind: str, text: str) -> str:
    output = {"output_type": "execute_result", "data": {kind: text.splitlines(keepends=True)}}
    cell = {"cell_type": "code", "source": ["df"], "outputs": [output]}
    return json.dumps({"cells": [cell], "nbformat": 4})


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


CARRIERS: dict[str, str | bytes] = {
    "array.json": json.dumps(ROWS),
    "pretty.json": json.dumps(ROWS, indent=2),
    "cut.json": json.dumps(ROWS, indent=2)[:-400],
    "lines.json": "\n".join(map(json.dumps, ROWS)),
    "below.json": json.dumps({"page": 1, "result": {"people": ROWS}}),
    "nested.json": json.dumps([{"id": n, "person": row} for n, row in enumerate(ROWS)]),
    "columns.json": json.dumps(COLUMNS),
    "by-id.json": json.dumps({f"id{n}": row for n, row in enumerate(ROWS)}),
    "split.json": json.dumps({"columns": [*ROWS[0]], "data": [[*row.values()] for row in ROWS]}),
    "any-ending.xyz": json.dumps(ROWS),
    "t.txt": AS_CSV,
    "no-ending": AS_CSV.replace(",", "\t"),
    "t.log": AS_CSV.replace(",", ";"),
    "t.md": "| name | email |\n|---|---|\n"
    + "\n".join(f"| {row['name']} | {row['email']} |" for row in ROWS),
    "t.yaml": "\n".join(f"- name: {row['name']}\n  email: {row['email']}" for row in ROWS),
    "t.yml": "people:\n"
    + "\n".join(f'  - "name": "{row["name"]}"\n    "email": "{row["email"]}"' for row in ROWS),
    "cards.vcf.txt": "\n".join(f"name: {row['name']}\nemail: {row['email']}\n" for row in ROWS),
    "plain.ipynb": notebook("text/plain", AS_PANDAS),
    "csv.ipynb": notebook("text/plain", AS_CSV),
    "html.ipynb": notebook("text/html", AS_HTML),
    "t.html": AS_HTML,
    "t.xml": "".join(f"<p><name>{r['name']}</name><email>{r['email']}</email></p>" for r in ROWS),
    "dump.sql": AS_SQL,
    "copy.sql": "COPY public.p (name, email) FROM stdin;\n"
    + "\n".join(f"{row['name']}\t{row['email']}" for row in ROWS)
    + "\n\\.\n",
    "t.csv.gz": gzip.compress(AS_CSV.encode()),
    "t.json.bz2": bz2.compress(json.dumps(ROWS).encode()),
    "t.xz": lzma.compress(AS_CSV.encode()),
    "t.zip": zipped("inner/people.csv", AS_CSV.encode()),
    "twice.gz": gzip.compress(zipped("p.json", json.dumps(ROWS).encode())),
    "t.xlsx": zipped(
        "xl/sharedStrings.xml",
        "".join(f"<si><t>{row['email']}</t></si>" for row in ROWS).encode(),
    ),
}


@pytest.mark.parametrize("path", CARRIERS)
def test_people_are_found_in_whatever_carries_them(path: str) -> None:
    data = CARRIERS[path]
    assert rules(path, data if isinstance(data, bytes) else data.encode()) == ["personal-data"]


def test_a_database_in_one_file_is_judged_by_the_names_of_its_columns(tmp_path: Path) -> None:
    for columns, told in (("name TEXT, iban TEXT", ["personal-data"]), ("id, score REAL", [])):
        path = tmp_path / f"{len(columns)}.db"
        with contextlib.closing(sqlite3.connect(path)) as base:
            base.execute(f"CREATE TABLE people ({columns})")
            base.commit()
        assert rules("people.db", path.read_bytes()) == told


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("date_of_birth", ["1990-01-01", "1980-02-02"]),
        ("DateOfBirth", ["1990-01-01", "1980-02-02"]),
        ("Geburtsdatum", ["1.1.1990", "2.2.1980"]),
        ("fecha de nacimiento", ["1990-01-01", "1980-02-02"]),
        ("phone", ["+493055500001", "+493055500002"]),
        ("Tel.", ["030 1", "030 2"]),
        ("address", ["Way 1", "Way 2"]),
        ("E-Mail", ["a@rows.internal", "b@rows.internal"]),
    ],
)
def test_a_table_of_two_people_is_one(column: str, values: list[str]) -> None:
    for name in ("name", "Name", "full name", "Nachname", "customer_name"):
        assert rules("two.csv", table([name, column], ["A B", "C D"], values)) == ["personal-data"]


def test_programs_authors_and_settings_are_no_records() -> None:
    people = [{"name": "A", "email": "a@x.internal"}, {"name": "B", "email": "b@x.internal"}]
    assert rules("package.json", json.dumps({"maintainers": people}).encode()) == []
    code = "".join(
        f'{n} = {{\n    "name": "{n}",\n    "email": "{n}@x.internal",\n}}\n' for n in "AB"
    )
    assert rules("tests/fixture.py", code.encode()) == []
    metrics = [{"name": f"layer{n}", "size": n, "loss": 0.1} for n in range(9)]
    assert rules("metrics.json", json.dumps(metrics).encode()) == []
    workflow = b"jobs:\n  a:\n    steps:\n      - name: one\n      - name: two\n"
    assert rules(".github/workflows/ci.yml", workflow) == []
    prose = "Dear all, the name of the model, and its address, are below.\n" * 40
    assert rules("README.md", prose.encode()) == []


def test_what_is_damaged_or_cut_or_deep_ends_in_peace() -> None:
    for data in (
        gzip.compress(AS_CSV.encode())[:40],
        b"\x1f\x8b" + bytes(50),
        zipped("a.csv", AS_CSV.encode())[:-30],
        b"PK\3\4" + bytes(100),
        b"[" * 100_000,
        json.dumps(ROWS).encode()[:15],
        b"INSERT INTO p (name, email) VALUES ('",
        gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"x"))))),
    ):
        assert "personal-data" not in rules("a.bin", data)


def test_a_large_binary_file_is_named() -> None:
    large = bytes(2 << 20)
    assert rules("weights.bin", large) == ["model-weights"]
    assert rules("disk.img", large) == ["large-file"]
    found = guard.scan(
        "disk.img", BytesSource(large), declared=(), weights_over=1 << 20, pickle=lambda: None
    )
    assert [one.severity for one in found] == ["warning"]
    assert rules("notes.txt", b"a text\n" * (1 << 18)) == []


def test_the_file_of_a_pin_is_a_secret_though_it_looks_like_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = tmp_path / "settings" / "pin"
    pin.parent.mkdir()
    pin.write_text("4711\n")
    (tmp_path / "sovgate.yaml").write_text(
        "version: 1\nmodel: m\nzones:\n  eu:\n    region: aws:eu-central-1\n    keys:\n"
        f"      sign: 'pkcs11:token=a;object=b?module-path=/lib/p.so&pin-source=file:{pin}'\n"
    )
    monkeypatch.chdir(tmp_path)
    (found,) = run([pin], None).findings
    assert (found.rule, found.where.path) == ("key-material", "settings/pin")
    assert "the PIN of zones.eu.keys.sign" in found.message
    assert run([tmp_path / "sovgate.yaml"], None).findings == ()


FINE = {
    "predictions": table(["id", "label", "score"], [1, 2, 3], [0, 1, 1], [0.1, 0.9, 0.8]),
    "examples": table(["email"], [f"user{n}@example.com" for n in range(9)]),
    "one address": table(["author", "n"], ["a@kunde.de"] * 9, [*range(9)]),
    "numbers": table(["x"], random.Random(1).choices(range(10**15, 10**16), k=900)),
    "iban that is none": table(["iban"], [f"DE00370400440532{n:06d}" for n in range(9)]),
    "a name alone": table(["first_name"], [*"abcdefg"]),
    "empty columns": table(["first_name", "last_name"], [""] * 9, [""] * 9),
    "ids": table(["id_number"], [*range(9)]),
    "nothing": b"",
    "binary": bytes(range(256)) * 40,
    "one quote": b'a,b\n"' + b"x" * 200_000,
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_no_record_about_people_passes(case: str) -> None:
    assert rules("a.csv", FINE[case]) == []


def test_only_tables_are_judged_as_tables() -> None:
    assert rules("README.md", "\n".join(MAILS).encode()) == []


def test_the_columns_of_a_parquet_file_are_read_without_its_library(tmp_path: Path) -> None:
    def thrift(*names: str) -> bytes:
        footer = b"\x15\x02\x19\x3c\x48\x06schema\x15\x04\x00" + b"".join(
            b"\x15\x0c\x25\x02\x18" + bytes([len(n)]) + n.encode() + b"\x25\x00\x00" for n in names
        )
        return b"PAR1" + b"\0" * 99 + footer + len(footer).to_bytes(4, "little") + b"PAR1"

    assert rules("a.parquet", thrift("id", "iban", "amount")) == ["personal-data"]
    assert rules("a.parquet", thrift("first_name", "dateOfBirth")) == ["personal-data"]
    assert rules("a.parquet", thrift("label", "score", "phone")) == []
    pyarrow = components.found(components.package, "pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"iban": ["x"], "n": [1]}), tmp_path / "a.parquet")
    assert rules("a.parquet", (tmp_path / "a.parquet").read_bytes()) == ["personal-data"]


# Keys.


def pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_keys_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    key = pem()
    make_key(tmp_path / "commit.key")
    known = {
        "keys/a.pem": key,
        "notes.md": b"my key:\n\n" + key,
        "account.json": json.dumps({"private_key": key.decode()}).encode(),
        "keys/kyc": (tmp_path / "commit.key").read_bytes(),
        "keys/p": base64.b64encode(b"<" + b"x" * 31) + b"\n",  # PDx4…: an opcode of pickles
        "id.txt": b"AGE-SECRET-KEY-1" + b"Q" * 58 + b"\n",
        ".env": b"AWS_SECRET_ACCESS_KEY=" + b"wJalrXUtnFEMIK7MDENGbPxRfiCYzzzzzzzzzzzz\n",
        "azure.txt": b"AccountKey=" + base64.b64encode(b"x" * 64),
        "ci.yml": b"token: ghp_" + b"a1" * 18 + b"\n",
        "jwk.json": json.dumps({"kty": "EC", "d": "a" * 43}).encode(),
    }
    for path, data in known.items():
        assert rules(path, data) == ["key-material"], path
    assert secrets.find("notes.md", known["notes.md"]) == ("a private key", 3)


def _lines(before: str, after: str) -> Callable[[str], str]:
    return lambda key: "\n".join(f"{before}{line}{after}" for line in key.splitlines())


def _cells(text: str) -> str:
    return json.dumps(
        {"cells": [{"source": [f"{line}\n" for line in text.splitlines()]}]}, indent=1
    )


AWS = f'os.environ["AWS_SECRET_ACCESS_KEY"] = "{"wJalrXUtnFEMIK7MDENG" * 2}"'
AROUND = {
    "notebook": _cells,
    "python": _lines('    "', '\\n"'),
    "javascript": _lines("'", "\\n' +"),
    "comment": _lines("# ", ""),
    "quotation": _lines("> ", ""),
    "yaml": _lines("    ", ""),
}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("around", AROUND)
def test_a_private_key_is_refused_whatever_stands_around_its_lines(
    around: str, encrypted: bool
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    how = serialization.BestAvailableEncryption(b"x") if encrypted else None
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        how or serialization.NoEncryption(),
    ).decode()
    assert rules("a.txt", AROUND[around](text).encode()) == ["key-material"]
    assert rules("a.txt", AROUND[around](text).encode("utf-16")) == ["key-material"]


def test_a_program_that_makes_keys_of_tink_holds_none() -> None:
    assert rules("a.py", b'{"value": made(), "keyMaterialType": "SYMMETRIC"}') == []


def test_secrets_in_notebooks_are_refused_too() -> None:
    jwk = json.dumps({"kty": "EC", "d": "a" * 43})
    key = ("value", "a" * 24), ("keyMaterialType", "SYMMETRIC")
    keyset = json.dumps(dict(key)) + json.dumps(dict(key[::-1]))
    for text in (AWS, AWS.replace('"', "'"), jwk, keyset, f"json.loads({json.dumps(jwk)})"):
        assert rules("a.py", text.encode()) == ["key-material"], text
        assert rules("a.ipynb", _cells(text).encode()) == ["key-material"], text


def test_key_stores_are_refused_under_any_name() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    store = pkcs12.serialize_key_and_certificates(
        b"x", key, None, None, serialization.BestAvailableEncryption(b"x")
    )
    java = b"\xfe\xed\xfe\xed\0\0\0\2" + bytes(40)
    for data in (store, java, b"\xce\xce\xce\xce" + java[4:]):
        assert rules("store", data) == rules("a.p12.bak", data) == ["key-material"]
    certificate = b"\x30\x82\x01\x01\x30\x81\xa8\xa0\x03\x02\x01\x02" + bytes(250)
    assert rules("a.der", certificate) == []


def test_what_only_speaks_of_keys_passes() -> None:
    public = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for data in (
        public,
        b'if "-----BEGIN PRIVATE KEY-----" in text:\n    refuse()\n',
        b"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
        b"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
        b"aws_secret_access_key: ${{ secrets.AWS_SECRET_ACCESS_KEY }}\n",
        b"AGE-SECRET-KEY-1...\n",
        base64.b64encode(b"x" * 32) + b"\n" + base64.b64encode(b"y" * 32) + b"\n",
        json.dumps({"kty": "EC", "x": "a" * 43, "y": "b" * 43}).encode(),
    ):
        assert rules("docs/keys.md", data) == [], data


def test_no_file_makes_it_slow() -> None:
    """Where time grew with the square of their length, these would take hours."""
    assert guard.HEAD < 2_000_000  # each is longer than what is read of it at once
    for data in (
        b"-----BEGIN PRIVATE KEY-----" * 75_000,
        b"aws_secret_access_key=" * 100_000,
        b'"keyMaterialType"' + b" " * 2_000_000,
        b"a@" * 1_000_000,
        b"," * 2_000_000,
        b'{"a":' * 400_000,
    ):
        for name in ("a.csv", "a.jsonl", "a.bin"):
            with effort(most=100_000):
                rules(name, data)
    with effort(most=100_000):  # a pickle is looked through in a process with limits of its own
        rules("a.bin", b"\x80\x04" + b"(" * 200_000)


# Models.


def test_pickles_and_weights_are_refused_and_pointers_to_them_are_not() -> None:
    assert rules("m/model.bin", pickle.dumps({"a": [1]})) == ["pickle"]
    small = safetensors(b'{"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}', b"\0" * 8)
    assert rules("m/model.safetensors", small) == []
    assert rules("m/model.safetensors", small + b"\0" * (1 << 20)) == ["model-weights"]
    assert rules("m/weights", b"GGUF" + b"\0" * (1 << 20)) == ["model-weights"]
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"
    assert rules("m/model.pt", pointer) == []
    assert rules("site/distutils.pth", b"import os; os.getcwd()\n") == []


# In a repository.


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "sovgate.yaml").write_text(
        'version: 1\nmodel: kyc\nzones: {eu: {region: "aws:eu-central-1"}}\n'
        "datasets: {kyc: {manifest: data/kyc.yaml}}\n"
    )
    (tmp_path / "data/kyc.yaml").write_text(
        "version: 1\nid: kyc\ncategory: personal\npointer: file:data/raw\nstays-in: [EU]\n"
    )
    (tmp_path / "data/raw").mkdir()
    (tmp_path / "data/raw/part-1.bin").write_bytes(b"rows")
    return tmp_path


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True)


def test_data_that_the_project_declares_is_refused_by_its_place(repository: Path) -> None:
    git("add", "-f", ".")
    (found,) = run((), None).findings
    assert (found.rule, found.where.path) == ("declared-data", "data/raw/part-1.bin")
    assert "kyc" in found.message


def test_only_what_git_tracks_is_looked_at_and_links_are_not_followed(repository: Path) -> None:
    (repository / "key.pem").write_bytes(pem())
    (repository / "link").symlink_to("key.pem")
    git("add", "sovgate.yaml", "link")
    done = run((), None)
    assert (done.files, done.findings) == (1, ())
    assert [f.rule for f in run((Path("key.pem"),), None).findings] == ["key-material"]


def test_an_exception_needs_its_reason_and_is_told(repository: Path) -> None:
    (repository / "a").mkdir()
    (repository / "a/k.pem").write_bytes(pem())
    head = "version: 1\nallow:\n"
    allow = "  - {path: 'a/*.pem', rule: key-material, reason: a test's own}\n"
    (repository / ".sovgate-guard.yaml").write_text(head + allow)
    done = run((Path("a/k.pem"),), None)
    assert done.findings == ()
    assert [reason for _, reason in done.allowed] == ["a test's own"]
    for wrong in (
        allow.replace("key-material", "key"),
        allow.replace(", reason: a test's own", ""),
        allow.replace("a test's own", "''"),
        allow.replace("a/*", "../*"),
        allow.replace("rule", "rul"),
    ):
        (repository / ".sovgate-guard.yaml").write_text(head + wrong)
        with pytest.raises(ConfigError) as caught:
            run((Path("a/k.pem"),), None)
        assert caught.value.where is not None


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("a/*.pem", "a/b.pem", True),
        ("a/*.pem", "a/b/c.pem", False),
        ("**/*.pem", "c.pem", True),
        ("**/*.pem", "a/b/c.pem", True),
        ("a/**", "a/b/c", True),
        ("a/**", "b/a/c", False),
        ("a.c", "abc", False),
        ("a/?.c", "a/b.c", True),
    ],
)
def test_paths_of_exceptions(pattern: str, path: str, fits: bool) -> None:
    text = f"version: 1\nallow: [{{path: '{pattern}', rule: pickle, reason: known}}]\n"
    assert (parse(text.encode(), "g").reason(path, "pickle") is not None) is fits


def test_a_file_that_is_not_there_is_a_usage_error(repository: Path) -> None:
    with pytest.raises(UsageError):
        run((Path("nowhere"),), None)


def test_without_a_repository_it_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        run((), None)
    assert caught.value.reason == "nothing-to-do"


def test_this_repository_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert [str(f.where) for f in run((), None).findings] == []


def test_every_check_digit_is_really_checked() -> None:
    for check, right in (
        (personal._nir, "255081416802538"),
        (personal._personnummer, "811228-9874"),
        (personal._bsn, "111222333"),
        (personal._pesel, "44051401359"),
        (personal._dni, "12345678Z"),
        (personal._card, "4111 1111 1111 1111"),
        (personal._iban, iban(7)),
    ):
        assert check(right)
        digit = next(i for i, c in enumerate(right) if c.isdigit() and i > 2)
        wrong = right[:digit] + str((int(right[digit]) + 1) % 10) + right[digit + 1 :]
        assert not check(wrong), wrong


@pytest.mark.parametrize("number", range(len(secrets.PATTERNS)))
def test_the_word_that_is_looked_for_first_begins_whatever_the_pattern_finds(number: int) -> None:
    """A wrong word would hide a secret. Held against how `re` itself reads the pattern."""
    begin, _, pattern = secrets._BEGINS[number]
    read = list(re._parser.parse(pattern.pattern))  # type: ignore[attr-defined]
    letters = [value for kind, value in read[: len(begin)] if str(kind) == "LITERAL"]
    assert begin
    assert bytes(letters) == begin
