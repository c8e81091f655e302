"""Makes keys in a token, in a process of its own: `make_keys.py MODULE`, and the rest as JSON.

On standard input: {"token", "pin", "keys": [{"label", "id", "kind", …}]}. A script of the tests.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters

CURVES = {"ec-p256": "secp256r1", "ec-p384": "secp384r1", "ec-p521": "secp521r1"}


def make(session: Any, wanted: dict[str, Any]) -> None:
    """`private`: more attributes of the private half; `no-public`: its public half is destroyed."""
    kind = wanted["kind"]
    private = {Attribute[name]: value for name, value in wanted.get("private", {}).items()}
    named = {"label": wanted["label"], "id": bytes.fromhex(wanted["id"]), "store": True}
    if kind == "aes":
        session.generate_key(KeyType.AES, 256, **named)
        return
    if kind.startswith("rsa-"):
        size = int(kind.removeprefix("rsa-"))
        pair = session.generate_keypair(
            KeyType.RSA, size, private_template={Attribute.EXTRACTABLE: False, **private}, **named
        )
    else:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(CURVES.get(kind, kind))}
        parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
        template = {Attribute.EXTRACTABLE: False, Attribute.DERIVE: True, **private}
        pair = parameters.generate_keypair(private_template=template, **named)
    if wanted.get("no-public"):
        pair[0].destroy()


def main() -> None:
    asked = json.load(sys.stdin)
    token = pkcs11.lib(sys.argv[1]).get_token(token_label=asked["token"])
    with token.open(rw=True, user_pin=asked["pin"]) as session:
        for wanted in asked["keys"]:
            make(session, wanted)


main()
