"""Makes a pair of keys in a token, in one call: its private half is sensitive and not extractable.

In a session of its own that may write; all others are read-only. The token says afterwards whether
it did what was asked.
"""

from __future__ import annotations

import os
from pathlib import Path

from sovgate.errors import ConfigError, KeyServiceError, SovgateError
from sovgate.formats.pkcs11uri import Pkcs11Uri
from sovgate.keys import _answers
from sovgate.keys._api import Wanted
from sovgate.keys.pkcs11 import objects, token
from sovgate.keys.pkcs11.process import PATIENCE, FailedError

# CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN.
_RSA, _EC = (0x0, "CKM_RSA_PKCS_KEY_PAIR_GEN"), (0x1040, "CKM_EC_KEY_PAIR_GEN")
#: The first to encrypt is what most tokens can open: many have no OAEP with SHA-256.
KINDS = {
    "sign": {f"ec-p{size}": _EC for size in (256, 384, 521)},
    "encrypt": {"ec-p256": _EC, "rsa-3072": _RSA, "rsa-4096": _RSA},
}


def make(uri: Pkcs11Uri, base: Path, wanted: Wanted) -> None:
    """`uri` has a module and a label. Needs the PIN. Raises ConfigError, UsageError, …"""
    kind, (mechanism, name) = _answers.chosen(wanted, KINDS, "a token")
    if uri.label is None:
        raise ConfigError(
            f"{uri.key[:200]} does not say what the key is to be called",
            fix="write object=LABEL",
            reason="bad-uri",
        )
    opened = token.opened_to_write(uri, base)
    if wanted.hsm and not opened.info.hardware:
        raise KeyServiceError(
            f"the token {opened.info} is in no hardware slot",
            why="--hsm asks for one, and its module says that this is none (CKF_HW_SLOT)",
            fix="name a token of an HSM, or leave --hsm out",
            reason="protection-level",
        )
    if objects.there(opened, uri):
        raise _answers.taken(uri.key)
    if mechanism not in opened.mechanisms:
        raise KeyServiceError(
            f"the token {opened.info} makes no key of kind {kind}",
            why=f"it lists no {name}",
            fix="choose another --algorithm, or make the key with the vendor's tool",
            reason="no-mechanism",
        )
    number = uri.id or os.urandom(16)
    doing = "make"
    try:
        opened.ask(
            "make",
            doing,
            seconds=PATIENCE,  # RSA keys take an HSM a minute and more
            kind=kind,
            use=wanted.use,
            label=uri.label,
            id=number.hex(),
        )
    except FailedError as error:
        raise opened.explained(error, doing, uri.key) from None
    except SovgateError as error:
        raise _answers.not_known(uri.key, error) from error
    _require_kept(opened, uri)


def _require_kept(opened: token.Token, uri: Pkcs11Uri) -> None:
    """A token may ignore what it was asked for."""
    told = objects.private(opened, uri).told
    if told.get("EXTRACTABLE") is not False or told.get("SENSITIVE") is not True:
        raise KeyServiceError(
            f"the token did not make {uri.key[:200]} as it was asked",
            why="it says that its secret half may be extracted, or is not sensitive",
            fix="remove that key, and make it with the vendor's tool",
            reason="bare-key",
        )
