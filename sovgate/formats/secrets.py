"""The one list of secrets: private keys, tokens, cloud credentials, told by their form. No I/O.

What goes into Git (`guard`) and what goes into a model are held against it (RULES 38). A header
alone is none: documents and programs speak of keys. What follows it must be one.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Protocol

from sovgate.formats import archives, key_spellings, long_words
from sovgate.formats.key_spellings import decoded
from sovgate.formats.secret_forms import IS, PATTERNS, SEQ, SPACED, Q

#: Of a file that is not text so much is searched at its beginning, and so much at its end.
SCAN, TAIL = 8 * 1024 * 1024, 1024 * 1024
#: Of a text: all of it, up to here. Windows overlap by more than the longest pattern takes.
MAX_TEXT, WINDOW, OVERLAP = 1024 * 1024 * 1024, 4 * 1024 * 1024, 16 * 1024
_HEAD = 64 * 1024
#: Of a file in an archive that is no text.
MEMBER = 256 * 1024
#: Of an archive that has more in it than anybody looks through (RULES 34).
UNSEARCHED = "more files, or files in files, than are looked through, and perhaps a secret"
#: Of one that does not open, or not to its end: other programs may read on.
UNOPENED = "an archive that is damaged or cannot be opened, and perhaps a secret"
UNKNOWN = (UNSEARCHED, UNOPENED)


def _beginning(pattern: bytes) -> bytes:
    """The letters that whatever this pattern finds begins with."""
    plain = re.match(rb"(?:[\w :=\"</>-]|\\[.{(\"])*", pattern)
    letters = plain.group() if plain else b""
    if pattern[len(letters) : len(letters) + 1] in (b"?", b"*", b"{"):
        letters = letters[:-1]
    return letters.replace(b"\\", b"")


#: Most files hold none of these words: that is told a few times faster than by the patterns.
_BEGINS = tuple((_beginning(pattern.pattern), what, pattern) for what, pattern in PATTERNS)
#: With the one letter of it, if it has it, that is looked for many times faster than a word, and
#: that hardly any base64 has.
_MARKED = tuple(
    (b"_" if b"_" in begin else b"-" if b"-" in begin else b"", begin, what, pattern)
    for begin, what, pattern in _BEGINS
)
#: In any case of letters, so it has no such word.
_AWS = (
    "an AWS secret key",
    re.compile(
        rb"(?i:aws_?secret_?(?:access_?)?key)" + IS + rb"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    ),
)
#: In base64 a name and a password, as Docker keeps them.
_LOGIN = re.compile(rb"\"auth\"\s{0,9}:\s{0,9}\"([A-Za-z0-9+/]{12,500}={0,2})\"")
#: By the names of such files alone: pages that explain them have the like.
_NETRC = re.compile(
    rb"machine\s+\S+\s+login\s+\S+\s+password\s+\S{6}|://[^\s/:@]+:[^\s/@]{6,}@"
    rb"|(?:^|\n|:)[ \t]{0,9}_?password[ \t]{0,9}[=:][ \t]{0,9}[^\s$<{]\S{5}",
)
_NETRC_NAMES = frozenset(
    {".netrc", "_netrc", ".git-credentials", ".npmrc", ".pypirc", ".condarc", "pip.conf", "pip.ini"}
)
#: Settings of a process: `.env`, `.env.local`, `prod.env`; not the examples that teams commit.
_ENV_NAME = re.compile(
    r"(?:[\w.-]*\.)?env(?:\.(?!example|sample|template|dist|defaults?)[\w-]{1,40})?",
    re.ASCII | re.IGNORECASE,
)
#: A name that ends like one of a secret, and a value that is none to be filled in, and no path.
_ENV = re.compile(
    rb"(?:^|\n)[ \t]{0,9}(?:export[ \t]{1,9})?[A-Z0-9_]{0,64}"
    rb"(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|SECRET_?KEY|ACCESS_?KEY|PRIVATE_?KEY)"
    rb"[ \t]{0,9}=[ \t]{0,9}[\"']?(?!your|change|replace|example|placeholder|x{3}|\*{3}|file:|none)"
    rb"[^\s\"'#$<\[{/.~%][^\s\"'#]{7}",
    re.IGNORECASE,
)
#: What `kubectl` reads, and a token or a password in it.
_KUBE = re.compile(rb"kind\"?\s{0,9}:\s{0,9}\"?Config\b")
_KUBE_SECRET = re.compile(
    rb"[\s\"{](?:token|password)\"?:[ \t]{0,9}[\"']?([A-Za-z0-9._:~+/=-]{16})", re.ASCII
)
#: A JSON Web Token with a signature. One of Kubernetes says so in its middle part.
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{10,2000}\.(eyJ[A-Za-z0-9_-]{10,8000})\.[A-Za-z0-9_-]{40}")
_TOKEN_LETTERS = re.compile(rb"[A-Za-z0-9_-]{1,2000}")
_JWK = re.compile(rb"\"kty" + Q + rb"\s{0,9}:")
_JWK_SECRET = re.compile(rb"\"[dk]" + Q + rb"\s{0,9}:\s{0,9}" + Q + rb"[A-Za-z0-9_-]{20,}" + Q)
#: A key in DER in base64, without what PEM puts around it.
_DER64 = re.compile(
    rb"M(?:II[A-Za-z0-9+/]{2}[AQgw]IBA|I[GH][A-Za-z0-9+/]AgE[AB]|[A-H][A-Za-z0-9+/]CAQ[AE])"
    rb"[A-Za-z0-9+/\r\n \\]{40,8192}"
)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
#: `sovgate data key` writes this and nothing else.
_COMMITMENT = re.compile(rb"[A-Za-z0-9+/]{43}=\r?\n?")
#: In two bytes a letter it has less than that.
_SHORT = 100
#: Public examples of the providers' own documentation.
_EXAMPLE = re.compile(rb"EXAMPLE|example", re.ASCII)
#: A token to be filled in: its own beginning, and one letter over and over.
_FILLER = re.compile(rb"[\w.-]{1,24}?[xX]{16,250}")
_WORD = re.compile(rb"[A-Za-z0-9]")
_BINARY = {"p12": "a PKCS#12 key store", "pfx": "a PKCS#12 key store", "jks": "a Java key store"}
#: Key stores and keys by how they begin: a PFX of version 3 with its content type (RFC 7292),
#: Java's two; in DER PKCS#8, in the clear and encrypted, SEC1, PKCS#1.
STORES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    (
        "a PKCS#12 key store",
        re.compile(
            rb"\x30(?:\x80|[\x81-\x84].{1,4})\x02\x01\x03\x30(?:[\x80-\x84].{0,4}|.)"
            rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07",
            re.DOTALL,
        ),
    ),
    ("a Java key store", re.compile(rb"(?:\xfe\xed\xfe\xed|\xce\xce\xce\xce)\0\0\0[\1\2]")),
    (
        "a private key",
        re.compile(
            SEQ + rb"\x02\x01[\x00\x01]\x30.\x06(?:\x07\x2a\x86\x48\xce\x3d\x02\x01|"
            rb"\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01|\x03\x2b\x65[\x6e-\x71]\x04)",
            re.DOTALL,
        ),
    ),
    ("a private key", re.compile(SEQ + rb"\x02\x01\x01\x04[\x20\x30\x42].{32}", re.DOTALL)),
    ("a private key", re.compile(SEQ + rb"\x02\x01\x00\x02\x82[\x01-\x04].\x00", re.DOTALL)),
    (
        "an encrypted private key",
        re.compile(SEQ + SEQ + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d", re.DOTALL),
    ),
)
#: UTF-32's begins like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARK = tuple(mark for mark, _ in _MARKS)


class Bytes(Protocol):
    """Random access to a file: `formats.tensors._source.Source`."""

    @property
    def size(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...


def search(
    name: str,
    source: Bytes,
    visit: Callable[[tuple[str, ...], archives.Content], None] | None = None,
) -> tuple[str, int | None] | None:
    """The first secret of a file, and its line; None where none is found.

    A text is searched as a whole, anything else at its beginning and end; of what lies in archives,
    at any depth, texts and the beginnings of other files. What is too much to be looked through, or
    does not open, counts (`UNKNOWN`). `visit` is shown each file in an archive, and the way to it.
    Raises Malformed where the file changes underneath.
    """
    head = source.read(0, min(source.size, _HEAD))
    if not archives.is_archive(head, source):
        return _search(name, source, head)
    try:
        for way, file in archives.walk(source):
            if visit is not None:
                visit(way, file)
                file.seek(0)
            if (inside := _inside(way[-1], file)) is not None:
                shown = " > ".join(part[:160] for part in way if part) or "what is packed in it"
                return f"{inside} in {shown}", None
    except archives.TooMuchError:
        return _search(name, source, head) or (UNSEARCHED, None)
    except archives.BrokenError:
        return _search(name, source, head) or (UNOPENED, None)
    return _search(name, source, head)


def _inside(name: str, file: archives.Content) -> str | None:
    """The first secret of a file in an archive."""
    data = file.read(MEMBER)
    if (found := find(name, utf8(data))) is not None:
        return found[0]
    taken, more = len(data), data
    while b"\0" not in more and len(more) >= OVERLAP and taken < MAX_TEXT:
        data, more = more[-OVERLAP:], file.read(WINDOW)
        taken += len(more)
        if (found := _find(data + more, None)) is not None:
            return found[0]
    return None


def _search(name: str, source: Bytes, head: bytes) -> tuple[str, int | None] | None:
    size = source.size
    if head.startswith(_MARK):
        return find(name, utf8(source.read(0, min(size, MAX_TEXT // 16))))
    if key_spellings.is_wide(head):
        return find(name, source.read(0, min(size, MAX_TEXT // 16)))
    if size <= WINDOW:
        return find(name, source.read(0, size))
    if b"\0" in head:
        found = find(name, source.read(0, min(size, SCAN)))
        return found or _find(source.read(max(0, size - TAIL), min(size, TAIL)), None)
    lines, at = 0, 0
    while at < min(size, MAX_TEXT):
        data = source.read(at, min(WINDOW + OVERLAP, size - at))
        if (found := _find(data, lines)) is not None:
            return found
        lines += data.count(b"\n", 0, WINDOW)
        at += WINDOW
    return None


def is_commitment_key(data: bytes) -> bool:
    """Whether these bytes are all of a file as `data key` writes it."""
    return _COMMITMENT.fullmatch(data) is not None


def find(name: str, data: bytes) -> tuple[str, int | None] | None:
    """What secret these bytes of a file hold from its beginning on, and its line; or None."""
    if is_commitment_key(data) or is_commitment_key(key_spellings.narrowed(data[:_SHORT])):
        return "a commitment key", 1
    ending = name.rpartition(".")[2].lower()
    if ending in _BINARY and data[:1] in (b"\x30", b"\xfe"):
        return _BINARY[ending], None
    for what, pattern in STORES:
        if pattern.match(data):
            return what, None
    base = name.rpartition("/")[2]
    settings = base in _NETRC_NAMES or _ENV_NAME.fullmatch(base)
    text = (key_spellings.narrowed(data) or data) if settings else b""
    if base in _NETRC_NAMES and (match := _NETRC.search(text)):
        return "a password", _line(text, match)
    if (known := _find(data, 0)) is not None:
        return known
    if _ENV_NAME.fullmatch(base) and (match := _ENV.search(text)):
        return "a password or token", _line(text, match)
    return None


def _line(data: bytes, match: re.Match[bytes]) -> int:
    start = match.start() + len(match.group()) - len(match.group().lstrip())
    return data.count(b"\n", 0, start) + 1


def _find(data: bytes, lines: int | None) -> tuple[str, int | None] | None:
    """`lines` are those before these bytes, None where nobody counted."""
    for start, end in key_spellings.words(data):
        before = None if lines is None else lines + data.count(b"\n", 0, start)
        if (found := _in_text(data[start:end], before)) is not None:
            return found
    if (key := key_spellings.binary_key(data)) is not None:
        return key[0], None
    narrow = key_spellings.narrowed(data)
    found = _in_text(narrow, None) if narrow else None
    return None if found is None else (found[0], None)


def _in_text(data: bytes, lines: int | None) -> tuple[str, int | None] | None:
    def line(at: int) -> int | None:
        return None if lines is None else lines + data.count(b"\n", 0, at) + 1

    words = long_words.near(data)
    asked = [
        (what, pattern)
        for mark, begin, what, pattern in _MARKED
        if mark in (text := data if what in SPACED else words) and begin in text
    ]
    if b"aws" in words.lower():
        asked.append(_AWS)
    for what, pattern in asked:
        for match in pattern.finditer(data):
            at = match.start()
            inside = _WORD.match(data, at) and at > 0 and _WORD.match(data, at - 1)
            example = what.startswith("an AWS") and _EXAMPLE.search(match.group())
            if inside or example or _FILLER.fullmatch(match.group()):
                continue
            return what, line(at)
    for spelled in (key_spellings.base64_key, key_spellings.hex_key):
        if (known := spelled(data)) is not None:
            return known[0], line(known[1])
    for match in _DER64.finditer(data):
        if _is_key(match.group()):
            return "a private key in base64", line(match.start())
    for match in _LOGIN.finditer(data):
        if b":" in decoded(match.group(1)):
            return "a password of a registry", line(match.start())
    kube = _KUBE_SECRET.search(data) if b"clusters" in data and _KUBE.search(data) else None
    if kube is not None:
        return "a token or password of Kubernetes", line(kube.start(1))
    for match in _tokens(data) if b"eyJ" in words else ():
        if b"kubernetes" in decoded(match.group(1).translate(_URL_SAFE)):
            return "a service account token of Kubernetes", line(match.start())
    found = _JWK.search(data)
    if found and _JWK_SECRET.search(data):
        return "a private JSON Web Key", line(found.start())
    return None


def _tokens(data: bytes) -> Iterator[re.Match[bytes]]:
    """Of letters in a row from the first beginning on alone: each of the others would read on as
    far."""
    at = data.find(b"eyJ")
    while at >= 0:
        match = _JWT.match(data, at)
        if match is not None:
            yield match
            at = match.end()
        else:
            rest = _TOKEN_LETTERS.match(data, at)
            at = rest.end() if rest is not None else at + 1
        at = data.find(b"eyJ", at)


def _is_key(text: bytes) -> bool:
    data = decoded(re.sub(rb"\\[rn]|[\r\n \\]", b"", text))
    if (known := key_spellings.binary_key(data)) is not None and known[1] == 0:
        return True
    return any(pattern.match(data) for what, pattern in STORES if what == "a private key")


def masked(text: str) -> str:
    """A message without what has the form of a secret."""
    data = text.encode("utf-8", "replace")
    asked = [pattern for begin, _, pattern in _BEGINS if begin in data]
    for pattern in (*asked, _AWS[1]):
        data = pattern.sub("…".encode(), data)
    return data.decode("utf-8", "replace")


def utf8(data: bytes) -> bytes:
    """What Windows programs write as UTF-16, as the rules read it. Known by its mark alone."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data.decode(name, "replace").encode("utf-8", "replace")
    return data
