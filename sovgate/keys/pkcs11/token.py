"""One token, found by what its URI says, with one read-only session; and what it answers, in words.

The PIN comes through `_secret` and goes to the module's process alone. RULES 29. A wrong PIN is
never tried twice: tokens count.
"""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sovgate.errors import KeyServiceError, SovgateError
from sovgate.formats.pkcs11uri import Pkcs11Uri, escape
from sovgate.keys._answers import bad_answer, refused
from sovgate.keys._secret import maybe, secret, source
from sovgate.keys.pkcs11 import module
from sovgate.keys.pkcs11.process import PATIENCE, FailedError, Process

PIN = "SOVGATE_PIN"
# CK_TOKEN_INFO's flags (PKCS#11 3.0, 3.2).
_LOGIN_REQUIRED, _PROTECTED_PATH, _FINAL_TRY, _LOCKED = 0x4, 0x100, 0x20000, 0x40000

#: Tokens that refused a PIN in this process.
_WRONG: set[tuple[str, ...]] = set()
_OPEN: weakref.WeakValueDictionary[tuple[object, ...], Token] = weakref.WeakValueDictionary()
_OPENING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a slot's token says of itself; `hardware`: what the slot says (CKF_HW_SLOT)."""

    slot: int
    label: str
    serial: str
    manufacturer: str
    model: str
    flags: int
    hardware: bool

    @classmethod
    def of(cls, told: object) -> Info | None:
        """None unless it has just these fields, of these kinds."""
        kinds = {"slot": int, "flags": int, "hardware": bool}
        if not isinstance(told, dict) or set(told) != {one.name for one in fields(cls)}:
            return None
        right = all(isinstance(value, kinds.get(name, str)) for name, value in told.items())
        return cls(**told) if right else None

    def __str__(self) -> str:
        return f"pkcs11:token={escape(self.label)};serial={escape(self.serial)}"


class Token:
    """A token in a module's process. `mechanisms`: the numbers of CKM_… that it has.

    Its session, and the module, are closed when nobody holds it any more.
    """

    def __init__(self, process: Process, info: Info, uri: Pkcs11Uri) -> None:
        self._process, self._uri = process, uri
        self.info = info
        self.mechanisms: frozenset[int] = frozenset()
        self.logged_in = False

    def __repr__(self) -> str:
        return f"Token({self._uri.key[:200]!r})"

    def login(self, pin: str | None, *, private: bool, writing: bool = False) -> None:
        """Open the session, logged in where there is a PIN, or where the token asks for it."""
        wants = self.info.flags & (_PROTECTED_PATH | _LOGIN_REQUIRED)
        protected = pin is None and private and wants == _PROTECTED_PATH | _LOGIN_REQUIRED
        try:
            told = self._process.ask(
                "open",
                "log in for",
                seconds=PATIENCE if protected else None,
                slot=self.info.slot,
                pin=pin,
                protected=protected,
                writing=writing,
            )
        except FailedError as error:
            if error.name in _PINS:
                raise _refused_pin(error.name, self.info, _said_by(self._uri)) from None
            raise explained(error, self.info, "log in for", self._uri.key) from None
        listed = told.get("mechanisms")
        if not isinstance(listed, list):
            raise bad_answer(self._uri.key, "its module told no list of mechanisms")
        self.mechanisms = frozenset(one for one in listed if isinstance(one, int))
        self.logged_in = pin is not None or protected

    def ask(self, do: str, doing: str, **parameters: Any) -> dict[str, Any]:
        """Raises FailedError, for `explained` where its use knows no better; KeyServiceError."""
        return self._process.ask(do, doing, **parameters)

    def explained(self, error: FailedError, doing: str, key: str) -> SovgateError:
        return explained(error, self.info, doing, key)

    def can_login(self) -> bool:
        """Whether a login would ask nobody for a PIN."""
        if not self.info.flags & _LOGIN_REQUIRED:
            return True
        return maybe(_what(self.info), PIN, file=_pin_file(self._uri)) is not None

    @property
    def alive(self) -> bool:
        return self._process.alive


def opened(uri: Pkcs11Uri, base: Path, *, private: bool) -> Token:
    """The one token that the URI names, logged in if `private`, or if a PIN is at hand anyway.

    Raises ConfigError, VerificationFailed (`module.checked`), KeyServiceError: "no-token",
    "two-tokens", "pin-…", "module-not-loaded", "no-answer", "timed-out".
    """
    assert uri.module is not None  # noqa: S101 - `module.named` looked
    path = module.checked(uri.module, base)
    named = (path, uri.module.variable, uri.token, uri.serial, uri.manufacturer, uri.model)
    with _OPENING:
        held = _OPEN.get((*named, True)) or (None if private else _OPEN.get((*named, False)))
        if held is not None and held.alive:
            return held
        token = _opened(uri, path, private=private)
        _OPEN[(*named, private)] = token
        return token


def opened_to_write(uri: Pkcs11Uri, base: Path) -> Token:
    """The same with a session that may make keys, which nobody else gets. Raises as `opened`."""
    assert uri.module is not None  # noqa: S101 - `module.named` looked
    return _opened(uri, module.checked(uri.module, base), private=True, writing=True)


def _opened(uri: Pkcs11Uri, path: str, *, private: bool, writing: bool = False) -> Token:
    try:
        process = Process(path, uri.module.variable if uri.module else None, uri.key)
    except FailedError as error:
        raise _not_loaded(path, error) from None
    try:
        return _found(process, uri, path, private=private, writing=writing)
    except BaseException:  # whoever keeps the error keeps no session open
        process.end()
        raise


def _found(process: Process, uri: Pkcs11Uri, path: str, *, private: bool, writing: bool) -> Token:
    try:
        told = process.ask("tokens", "look for the token of").get("tokens")
    except FailedError as error:
        raise _not_loaded(path, error) from None
    listed = told if isinstance(told, list) else [None]
    tokens = [one for one in map(Info.of, listed) if one is not None]
    if len(tokens) != len(listed):
        raise bad_answer(uri.key, "its module told no list of tokens")
    info = _one(tokens, uri)
    token = Token(process, info, uri)
    named = (path, info.label, info.serial)
    try:
        pin = _pin(info, uri, wrong=named in _WRONG) if private else None
        token.login(pin, private=private, writing=writing)
    except KeyServiceError as error:
        if error.reason == "pin-wrong":
            _WRONG.add(named)
        raise
    return token


def _one(tokens: list[Info], uri: Pkcs11Uri) -> Info:
    wanted = (uri.token, uri.serial, uri.manufacturer, uri.model)
    found = [
        one
        for one in tokens
        if all(
            want in (None, has)
            for want, has in zip(
                wanted, (one.label, one.serial, one.manufacturer, one.model), strict=True
            )
        )
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        there = ", ".join(str(one) for one in tokens[:8] if one.label) or "none"
        raise KeyServiceError(
            f"there is no token for {uri.key[:200]}",
            why=f"the module sees these: {there}",
            fix="plug it in or start its service, or correct token= and serial= of the key",
            reason="no-token",
        )
    raise KeyServiceError(
        f"{len(found)} tokens fit {uri.key[:200]}",
        why="a key is in one: " + ", ".join(str(one) for one in found[:8]),
        fix="add serial=NUMBER to the key's URI",
        reason="two-tokens",
    )


def _pin(info: Info, uri: Pkcs11Uri, *, wrong: bool) -> str | None:
    """None for a token that needs none, or that asks for it at its own keys."""
    if not info.flags & _LOGIN_REQUIRED:
        return None
    if info.flags & _LOCKED:
        raise _refused_pin("PinLocked", info)
    if wrong:
        raise _refused_pin("PinIncorrect", info, _said_by(uri))
    if info.flags & _FINAL_TRY:
        raise _refused_pin("FinalTry", info)
    file = _pin_file(uri)
    if info.flags & _PROTECTED_PATH:
        return maybe(_what(info), PIN, file=file)
    return secret(_what(info), PIN, file=file, reason="pin-missing")


def _said_by(uri: Pkcs11Uri) -> str:
    return f"the PIN file {uri.pin_source!r}" if uri.pin_source else source(PIN)


def _what(info: Info) -> str:
    return f"the PIN of token {info.label[:40]!r}"


def _pin_file(uri: Pkcs11Uri) -> Path | None:
    return Path(uri.pin_source) if uri.pin_source is not None else None


#: By python-pkcs11's name of the return value: reason, why, fix.
_PINS = {
    "PinIncorrect": (
        "pin-wrong",
        "the token counts wrong tries and locks after some, so it is not tried again",
        "correct the PIN before you run anything again",
    ),
    "PinLocked": (
        "pin-locked",
        "its user PIN was wrong too often",
        "let its security officer set a new PIN, for example with pkcs11-tool --init-pin",
    ),
    "FinalTry": (
        "pin-last-try",
        "one more wrong PIN locks it, and a pipeline that is run again would do that",
        "log in once by hand with the vendor's tool, which sets the count back, and correct the "
        "PIN here",
    ),
    "UserPinNotInitialized": (
        "pin-unset",
        "it has no user PIN yet",
        "let its security officer set one, for example with pkcs11-tool --init-pin",
    ),
    "PinExpired": ("pin-expired", "its PIN has expired", "set a new one with the vendor's tool"),
}
_PINS |= dict.fromkeys(("PinInvalid", "PinLenRange"), _PINS["PinIncorrect"])


def _refused_pin(name: str, info: Info, said_by: str = "") -> KeyServiceError:
    reason, why, fix = _PINS[name]
    by = f"{said_by} was refused; " if said_by and reason == "pin-wrong" else ""
    return KeyServiceError(
        f"could not log in to the token {info}",
        why=f"{by}{why}",
        fix=fix,
        reason=reason,
    )


def _not_loaded(path: str, error: FailedError) -> KeyServiceError:
    said = error.said or f"it answered {error.name} when it was asked to begin"
    return KeyServiceError(
        f"the PKCS#11 module {path!r} could not be loaded",
        why=said,
        fix="name a module of this machine's architecture, with the libraries and the settings "
        "that it needs (module-variable), and try it with pkcs11-tool --module PATH --list-slots",
        reason="module-not-loaded",
    )


_GONE = (
    "DeviceRemoved",
    "TokenNotPresent",
    "TokenNotRecognised",
    "SessionHandleInvalid",
    "SessionClosed",
    "ObjectHandleInvalid",
    "KeyHandleInvalid",
    "SlotIDInvalid",
    "UserNotLoggedIn",
)


def explained(error: FailedError, info: Info, doing: str, key: str) -> SovgateError:
    """What a module's refusal means, whatever it was asked to do."""
    if error.name in _GONE:
        return KeyServiceError(
            f"could not {doing} {key[:200]}",
            why=f"the token was removed, or its session was ended ({error.name})",
            fix="plug it in or start its service, and run it again",
            reason="token-gone",
        )
    if error.name in ("MechanismInvalid", "FunctionNotSupported"):
        return KeyServiceError(
            f"could not {doing} {key[:200]}",
            why=f"the token {info} does not do that ({error.name})",
            fix="ask for its mechanisms with pkcs11-tool --module PATH --list-mechanisms, and "
            "name a key in a token that has the one needed",
            reason="no-mechanism",
        )
    return refused(key, doing, f"the module answered {error.name}")
