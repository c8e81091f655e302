"""Holds a PKCS#11 module in a process of its own, and asks it. A script; imports none of sovgate.

Its one descriptor is a socket to the process that started it: requests and answers of JSON, each
after its length. It opens what is not in its way: the module, and what that opens. It keeps one
read-only session, and closes it and the module whichever way it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

#: A request holds a digest, a point, a wrapped key or a PIN, which may be escaped sixfold.
MAX_REQUEST = 128 * 1024
#: Seconds to close the session and the module in, once nobody asks any more.
GRACE = 2.0
#: Two are one too many; a few more are told so that a person finds the right one.
MOST_FOUND = 8
#: Attributes that are told of an object where it has them: name -> CKA_ name.
BOOLEANS = (
    "SIGN",
    "DECRYPT",
    "DERIVE",
    "SENSITIVE",
    "EXTRACTABLE",
    "ALWAYS_SENSITIVE",
    "NEVER_EXTRACTABLE",
    "LOCAL",
    "ALWAYS_AUTHENTICATE",
)
DATES = ("START_DATE", "END_DATE")
#: Named curves, in DER.
CURVES = {
    "ec-p256": "06082a8648ce3d030107",
    "ec-p384": "06052b81040022",
    "ec-p521": "06052b81040023",
}
BYTES = ("ID", "EC_PARAMS", "EC_POINT", "MODULUS", "PUBLIC_EXPONENT", "VALUE")


class Worker:
    """`pkcs11`: the library; `held`: the module that it loaded."""

    def __init__(self, pkcs11: Any, path: str) -> None:
        self._p11 = pkcs11
        self.held = pkcs11.lib(path)
        self._session: Any = None
        self._objects: list[Any] = []

    def tokens(self) -> dict[str, Any]:
        """What each slot holds, read anew: a token may come and go."""
        found = []
        for slot in self.held.get_slots(token_present=True):
            with contextlib.suppress(
                self._p11.exceptions.TokenNotPresent, self._p11.exceptions.TokenNotRecognised
            ):
                token = slot.get_token()
                found.append(
                    {
                        "slot": slot.slot_id,
                        "label": token.label,
                        "serial": bytes(token.serial).decode("utf-8", "replace").rstrip("\0 "),
                        "manufacturer": token.manufacturer_id,
                        "model": token.model,
                        "flags": int(token.flags),
                        "hardware": bool(slot.flags & self._p11.SlotFlag.HW_SLOT),
                    }
                )
        return {"tokens": found, "module": self.held.manufacturer_id}

    def open(
        self, slot: int, pin: str | None, protected: bool, writing: bool = False
    ) -> dict[str, Any]:
        """A session, logged in where there is a PIN or the token asks for it itself; read-only,
        but for who makes a key."""
        self.close()
        slots = self.held.get_slots(token_present=True)
        found = next((one for one in slots if one.slot_id == slot), None)
        if found is None:
            raise self._p11.exceptions.TokenNotPresent
        self._pin = self._p11.types.PROTECTED_AUTH if protected else pin
        self._session = found.get_token().open(rw=writing, user_pin=self._pin)
        return {"mechanisms": sorted(int(one) for one in found.get_mechanisms())}

    def find(self, kind: str, label: str | None, id: str | None) -> dict[str, Any]:  # noqa: A002
        """Objects of a class by label and id, with what they tell of themselves."""
        named = self._p11.Attribute
        wanted: dict[Any, Any] = {named.CLASS: self._p11.ObjectClass[kind]}
        if label is not None:
            wanted[named.LABEL] = label
        if id is not None:
            wanted[named.ID] = bytes.fromhex(id)
        told = []
        for one in self._session.get_objects(wanted):
            told.append({"at": len(self._objects), **self._facts(one)})
            self._objects.append(one)
            if len(told) == MOST_FOUND:
                break
        return {"objects": told}

    def _facts(self, found: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for name in BOOLEANS:
            value = self._attribute(found, name)
            facts[name] = None if value is None else bool(value)
        for name in BYTES:
            value = self._attribute(found, name)
            facts[name] = None if value is None else _bytes(value).hex()
        kind = self._attribute(found, "KEY_TYPE")
        facts["KEY_TYPE"] = None if kind is None else int(kind)
        facts["LABEL"] = self._attribute(found, "LABEL")
        for name in DATES:
            facts[name] = self._date(found, name)
        return facts

    def _attribute(self, found: Any, name: str) -> Any:
        """None where the object has none, or gives it to nobody. A private value is not asked for:
        VALUE is of certificates alone."""
        if name == "VALUE" and found.object_class != self._p11.ObjectClass.CERTIFICATE:
            return None
        try:
            return found[self._p11.Attribute[name]]
        except (self._p11.PKCS11Error, NotImplementedError, KeyError, ValueError):
            return None

    def _date(self, found: Any, name: str) -> str | None:
        """As ISO 8601; None where the object has none. Most have an empty one."""
        value = self._attribute(found, name)
        return value.isoformat() if hasattr(value, "isoformat") else None

    def make(self, kind: str, use: str, label: str, id: str) -> dict[str, Any]:  # noqa: A002
        """A pair of keys in one call; the private half is sensitive and never to be had."""
        named = self._p11.Attribute
        does = {"sign": "SIGN", "encrypt": "DECRYPT" if kind.startswith("rsa-") else "DERIVE"}
        can = {named[name]: name == does[use] for name in ("SIGN", "DECRYPT", "DERIVE")}
        private = {named.SENSITIVE: True, named.EXTRACTABLE: False, named.PRIVATE: True}
        private |= {named.UNWRAP: False, **can}
        more = {"id": bytes.fromhex(id), "label": label, "store": True}
        if kind.startswith("rsa-"):
            public = {named.VERIFY: False, named.ENCRYPT: True, named.WRAP: False}
            self._session.generate_keypair(
                self._p11.KeyType.RSA,
                int(kind.removeprefix("rsa-")),
                public_template=public,
                private_template=private,
                **more,
            )
            return {}
        curve = {named.EC_PARAMS: bytes.fromhex(CURVES[kind])}
        parameters = self._session.create_domain_parameters(self._p11.KeyType.EC, curve, local=True)
        public = {named.VERIFY: use == "sign"}
        parameters.generate_keypair(public_template=public, private_template=private, **more)
        return {}

    def sign(self, at: int, digest: str) -> dict[str, Any]:
        """r and s of ECDSA over a digest, one after the other."""
        key = self._objects[at]
        made = key.sign(
            bytes.fromhex(digest), mechanism=self._p11.Mechanism.ECDSA, pin=self._again(key)
        )
        return {"bytes": bytes(made).hex()}

    def decrypt(self, at: int, wrapped: str) -> dict[str, Any]:
        """RSA-OAEP, SHA-256 and MGF1 with SHA-256, no label."""
        key = self._objects[at]
        named = self._p11
        opened = key.decrypt(
            bytes.fromhex(wrapped),
            mechanism=named.Mechanism.RSA_PKCS_OAEP,
            mechanism_param=(named.Mechanism.SHA256, named.MGF.SHA256, None),
            pin=self._again(key),
        )
        return {"bytes": bytes(opened).hex()}

    def derive(self, at: int, point: str) -> dict[str, Any]:
        """The x-coordinate that ECDH gives, 32 bytes: a session object, destroyed at once."""
        named = self._p11
        made = self._objects[at].derive_key(
            named.KeyType.GENERIC_SECRET,
            256,
            mechanism=named.Mechanism.ECDH1_DERIVE,
            mechanism_param=(named.KDF.NULL, None, bytes.fromhex(point)),
            template={
                named.Attribute.EXTRACTABLE: True,
                named.Attribute.SENSITIVE: False,
                named.Attribute.TOKEN: False,
            },
        )
        try:
            return {"bytes": bytes(made[named.Attribute.VALUE]).hex()}
        finally:
            made.destroy()

    def _again(self, key: Any) -> str | None:
        """The PIN, for a key that wants it at each use."""
        wants = self._attribute(key, "ALWAYS_AUTHENTICATE")
        return self._pin if wants and isinstance(self._pin, str) else None

    def close(self) -> None:
        session, self._session, self._objects, self._pin = self._session, None, [], None
        if session is not None:
            session.close()


def _bytes(value: Any) -> bytes:
    if isinstance(value, int):  # some attributes are read as big-endian numbers
        return value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes(value)


def _requests(channel: socket.socket) -> Iterator[dict[str, Any]]:
    while len(head := _take(channel, 4)) == 4:
        length = int.from_bytes(head, "big")
        body = _take(channel, length) if length <= MAX_REQUEST else b""
        if len(body) != length:
            return
        yield json.loads(body)


def _take(channel: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = channel.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def _answer(channel: socket.socket, told: dict[str, Any]) -> None:
    body = json.dumps(told).encode()
    channel.sendall(len(body).to_bytes(4, "big") + body)


def _failed(error: Exception) -> dict[str, Any]:
    """By the name of the return value; a library's own text is left out, it may hold anything."""
    return {"error": type(error).__name__}


def _serve(channel: socket.socket, path: str) -> None:
    import pkcs11

    try:
        worker = Worker(pkcs11, path)
    except Exception as error:  # noqa: BLE001 - whatever a foreign library raises is an answer
        load = type(error) is pkcs11.PKCS11Error  # the dynamic loader's own words
        _answer(
            channel, {"error": "NotLoaded", "said": str(error)[:400]} if load else _failed(error)
        )
        return
    try:
        _answer(channel, {})
        for request in _requests(channel):
            operation = request.pop("do")
            try:
                told = getattr(worker, operation)(**request)
            except Exception as error:  # noqa: BLE001 - as above
                told = _failed(error)
            _answer(channel, told)
    finally:
        with contextlib.suppress(Exception):
            worker.close()
        with contextlib.suppress(Exception):
            worker.held.finalize()


def _watch(channel: socket.socket) -> None:
    """End this process when nobody is left to answer to, even where the module never returns."""
    hung_up = select.poll()
    hung_up.register(channel, 0)  # POLLHUP is told in any case
    hung_up.poll()
    time.sleep(GRACE)
    os._exit(1)


def _alone() -> socket.socket:
    """The socket, with streams that lead nowhere: a module that prints spoils no answer, and what
    it prints may be a secret. No core is dumped, for it would hold the PIN."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    return channel


if __name__ == "__main__":
    path, packages = sys.argv[1:3]
    connection = _alone()
    threading.Thread(target=_watch, args=(connection,), daemon=True).start()
    sys.path.append(packages)
    with contextlib.suppress(OSError):
        _serve(connection, path)
