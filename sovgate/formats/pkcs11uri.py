"""PKCS#11 URIs (RFC 7512): text -> what names one key in one token. No I/O.

Strict where the RFC leaves a choice: what is not known, given twice or not spelt as the RFC spells
it is refused, so that no attribute is passed over. Values are never repeated in an error: a PIN may
stand where it does not belong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NoReturn

from sovgate.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ESCAPE = r"%[0-9A-Fa-f]{2}"
# RFC 7512, 2.3: pk11-pchar and pk11-qchar.
_PATH_VALUE = re.compile(rf"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|{_ESCAPE})*", re.ASCII)
_QUERY_VALUE = re.compile(rf"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|{_ESCAPE})*", re.ASCII)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

#: Path attributes that name a token or an object, in the order of the RFC -> most bytes. Tokens'
#: fields have a fixed width in CK_TOKEN_INFO; what an object is called is bounded by us.
_BYTES = {
    "token": 32,
    "manufacturer": 32,
    "serial": 16,
    "model": 16,
    "object": 256,
    "type": 16,
    "id": 256,
}
_TOKEN = ("token", "manufacturer", "serial", "model")
_OBJECT = ("object", "id")
#: A key pair is named by either of its halves: tools print the URI of each object.
_TYPES = ("private", "public")
_REFUSED_PATH = {
    "slot-id": "slots are numbered anew by many tokens",
    "slot-description": "a token may be in another slot tomorrow",
    "slot-manufacturer": "a token may be in another slot tomorrow",
    "library-manufacturer": "the module is named by module-path",
    "library-description": "the module is named by module-path",
    "library-version": "the module is named by module-path, and pinned by module-sha256",
}
_MODULE = "module-path"
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}=[^\x00-\x1f\x7f]{0,1024}", re.ASCII)
#: What chooses other native code than the module, or how it is loaded.
_NO_VARIABLE = re.compile(r"(?:LD_|DYLD_|GLIBC|GCONV|MALLOC|PYTHON|OPENSSL|SSL_|PATH=|IFS=)", re.I)
_QUERY = (_MODULE, "module-sha256", "module-variable", "pin-source", "public-key")


@dataclass(frozen=True, kw_only=True)
class Module:
    """Native code: absolute path, SHA-256 in hex, and the (name, value) that it finds in its
    environment."""

    path: str
    sha256: str | None = None
    variable: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Pkcs11Uri:
    """What a URI says. None: the URI does not say it, and anything matches.

    token, manufacturer, serial, model   of the token, without the spaces that pad them
    label, id                            of the key's objects: CKA_LABEL, CKA_ID
    pin_source                           absolute path of a file that holds the PIN
    public_key                           path of the public half, in the project
    """

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    label: str | None = None
    id: bytes | None = None
    module: Module | None = None
    pin_source: str | None = None
    public_key: str | None = None

    @property
    def key(self) -> str:
        """The token and the key alone, in the one spelling that we write; no module, no PIN."""
        said = {
            "token": self.token,
            "manufacturer": self.manufacturer,
            "serial": self.serial,
            "model": self.model,
            "object": self.label,
            "id": self.id,
        }
        return "pkcs11:" + ";".join(
            f"{name}={escape(value)}" for name, value in said.items() if value is not None
        )


def escape(value: str | bytes) -> str:
    """Percent-encoded: everything but unreserved characters. An id is bytes, and is all encoded."""
    if isinstance(value, bytes):
        return "".join(f"%{byte:02x}" for byte in value)
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in value.encode("utf-8")
    )


def parse(text: str) -> Pkcs11Uri:
    """Read one URI. Raises ConfigError: "secret-in-uri" for a PIN in it, otherwise "bad-uri"."""
    if not text.startswith("pkcs11:"):
        _bad("it does not begin with pkcs11:", "write pkcs11:token=LABEL;object=LABEL")
    path, mark, query = text.removeprefix("pkcs11:").partition("?")
    if path.startswith("/"):
        _bad("a PKCS#11 URI has no //", "write pkcs11:token=LABEL;object=LABEL")
    named = _attributes(path, ";", _PATH_VALUE) if path else {}
    asked = _attributes(query, "&", _QUERY_VALUE) if mark else {}
    for name in (*named, *asked):
        if "pin" in name.lower() and name != "pin-source":
            raise ConfigError(
                "the key URI carries a PIN",
                why="it would be read by all who read sovgate.yaml, logs or process lists",
                fix="take it out and change that PIN; use pin-source=file:/PATH instead",
                reason="secret-in-uri",
            )
    return _path(named, _query(asked))


def _path(named: dict[str, bytes], query: Pkcs11Uri) -> Pkcs11Uri:
    for name, value in named.items():
        if name in _REFUSED_PATH:
            _bad(
                f"it has the attribute {name}: {_REFUSED_PATH[name]}",
                "name the token by token=LABEL or serial=NUMBER",
            )
        if name not in _BYTES:
            _unknown(name, (*_TOKEN, *_OBJECT, "type"))
        if not value:
            _bad(f"{name} is empty", "take it out, or write its value")
        if len(value) > _BYTES[name]:
            _bad(f"{name} has more than {_BYTES[name]} bytes", f"check the value of {name}")
    texts = {name: _text(name, value) for name, value in named.items() if name != "id"}
    kind = texts.get("type")
    if kind is not None and kind not in _TYPES:
        _bad("its type is not a key pair's", "write type=private, or leave type out")
    if not any(name in named for name in _TOKEN):
        _bad("it names no token", "add token=LABEL or serial=NUMBER")
    if not any(name in named for name in _OBJECT):
        _bad("it names no key in its token", "add object=LABEL or id=%01")
    return replace(
        query,
        token=texts.get("token"),
        manufacturer=texts.get("manufacturer"),
        serial=texts.get("serial"),
        model=texts.get("model"),
        label=texts.get("object"),
        id=named.get("id"),
    )


def _query(asked: dict[str, bytes]) -> Pkcs11Uri:
    if "module-name" in asked:
        _bad(
            "it has module-name, which is looked for in folders that nobody named",
            f"name the file by its absolute path: {_MODULE}=/usr/lib/…/NAME.so",
        )
    for name in asked:
        if name not in _QUERY:
            _unknown(name, _QUERY)
    texts = {name: _text(name, value) for name, value in asked.items()}
    module = texts.get(_MODULE)
    if module is not None and not _absolute(module):
        _bad(f"{_MODULE} is not an absolute path", f"write {_MODULE}=/usr/lib/…/NAME.so")
    digest = texts.get("module-sha256")
    if digest is not None and not _SHA256.fullmatch(digest):
        _bad("module-sha256 is not 64 hex digits in lower case", "write what sha256sum prints")
    variable = texts.get("module-variable")
    if variable is not None and (not _VARIABLE.fullmatch(variable) or _NO_VARIABLE.match(variable)):
        _bad(
            "module-variable is not NAME=VALUE, or names a variable that loads other code",
            "write the one variable that the module's manual names, as SOFTHSM2_CONF=/PATH",
        )
    if module is None and (digest is not None or variable is not None):
        _bad(f"it says something of a module, and has no {_MODULE}", f"add {_MODULE}=/PATH")
    if any(not value for value in texts.values()):
        _bad("what follows ? has an empty value", "take it out, or write its value")
    name, _, value = (variable or "").partition("=")
    return Pkcs11Uri(
        module=None
        if module is None
        else Module(
            path=module,
            sha256=digest,
            variable=(name, value) if variable is not None else None,
        ),
        pin_source=_pin_source(texts.get("pin-source")),
        public_key=texts.get("public-key"),
    )


def _pin_source(text: str | None) -> str | None:
    if text is None:
        return None
    if text.startswith("|"):
        _bad("pin-source names a program", "no program is run for a PIN: name a file")
    path = text.removeprefix("file:")
    if path.startswith("///"):
        path = path[2:]
    if not text.startswith("file:") or not _absolute(path):
        _bad(
            "pin-source is not file: and an absolute path", "write pin-source=file:/run/secrets/pin"
        )
    return path


def _absolute(path: str) -> bool:
    return path.startswith("/") and not path.startswith("//") and ".." not in path.split("/")


def _attributes(text: str, between: str, value: re.Pattern[str]) -> dict[str, bytes]:
    """Names and their values, decoded, each once."""
    found: dict[str, bytes] = {}
    for part in text.split(between):
        name, equals, written = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            _bad(
                f"between two {between!r} stands no NAME=VALUE",
                f"percent-encode what stands in a value: {between} is %{ord(between):02X}",
            )
        if name in found:
            _bad(f"{name} is given twice", "write each attribute once")
        if not value.fullmatch(written):
            _bad(
                f"the value of {name} has characters that a URI cannot have",
                "percent-encode them, as in token=NSS%20Certificate%20DB",
            )
        found[name] = _decoded(written)
    return found


def _decoded(written: str) -> bytes:
    head, *rest = written.split("%")
    return head.encode("ascii") + b"".join(
        bytes([int(part[:2], 16)]) + part[2:].encode("ascii") for part in rest
    )


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        _bad(f"the value of {name} is not UTF-8", f"check the value of {name}")
    if not text.isprintable() or text != text.strip(" "):
        # Tokens pad their fields with spaces, so what ends with one would match nothing.
        _bad(
            f"the value of {name} holds control characters, or begins or ends with a space",
            f"check the value of {name}",
        )
    return text


def _unknown(name: str, known: tuple[str, ...]) -> NoReturn:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    _bad(
        f"it has an attribute that is not known: {name}",
        f"did you mean {close[0]}?" if close else f"write only {', '.join(known)}",
    )


def _bad(why: str, fix: str) -> NoReturn:
    raise ConfigError("the PKCS#11 URI cannot be used", why=why, fix=fix, reason="bad-uri")
