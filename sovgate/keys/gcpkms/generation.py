"""Makes a key in Google Cloud KMS: one request that gives the key its name, so it is there or not.

In the key ring that the URI names, which lies in one location. Nothing is imported or exported.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from sovgate.errors import ConfigError, KeyServiceError, SovgateError
from sovgate.keys import _answers
from sovgate.keys._api import Made, Wanted
from sovgate.keys.gcpkms.names import Named, parse_uri
from sovgate.keys.gcpkms.version import OPENING, SIGNING, SYMMETRIC, Version, compare, word
from sovgate.uri import Uri

#: Kind -> purpose and algorithm.
KINDS = {
    "sign": {
        f"ec-p{size}": ("ASYMMETRIC_SIGN", f"EC_SIGN_P{size}_SHA{size}") for size in (256, 384)
    },
    "encrypt": {
        f"rsa-{size}": ("ASYMMETRIC_DECRYPT", f"RSA_DECRYPT_OAEP_{size}_SHA256")
        for size in (3072, 4096)
    }
    | {"symmetric": ("ENCRYPT_DECRYPT", SYMMETRIC)},
}
#: Seconds between two looks at a version that is being made; an HSM takes some of them.
PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


def generate(uri: Uri, base: Path, region: str | None, wanted: Wanted) -> Made:
    """Needs cloudkms.cryptoKeys.create on the key ring, cloudkms.cryptoKeyVersions.get and
    .viewPublicKey."""
    named = parse_uri(uri, region)
    if named.version is not None:
        raise ConfigError(
            f"{named.text} names a version, and KMS counts them itself",
            fix="leave /cryptoKeyVersions/N out",
            reason="bad-uri",
        )
    kind, (purpose, algorithm) = _answers.chosen(wanted, KINDS, "Google Cloud KMS")
    hsm = wanted.hsm or named.wanted == "HSM"
    ring, _, name = named.key.rpartition("/cryptoKeys/")
    try:
        made = named.ask(
            "create_crypto_key",
            "make",
            "cloudkms.cryptoKeys.create",
            parent=ring,
            crypto_key_id=name,
            crypto_key={
                "purpose": purpose,
                "version_template": {
                    "algorithm": algorithm,
                    "protection_level": "HSM" if hsm else "SOFTWARE",
                },
            },
        )
    except SovgateError as error:
        raise _explained(error, named, ring) from error
    compare(named.key, made.name)
    _, mark, settings = uri.text.partition("?")
    if kind == "symmetric":
        return Made(uri=f"{named.text}{mark}{settings}", name=named.key, public=None)
    first = f"{named.key}/cryptoKeyVersions/1"
    _wait(named, first)
    version = Version.open(replace(named, version=first), {**SIGNING, **OPENING})
    written = f"{named.text}/cryptoKeyVersions/1{mark}{settings}"
    return Made(uri=written, name=first, public=version.public)


def _explained(error: SovgateError, named: Named, ring: str) -> SovgateError:
    if error.reason == "no-such-key":
        return KeyServiceError(
            f"there is no key ring {ring[:200]}",
            fix=f"make it: gcloud kms keyrings create {ring.rpartition('/')[2]} --location "
            f"{named.row.region} --project {ring.split('/')[1]}",
            reason="no-such-key",
        )
    return _answers.not_known(named.key, error)


def _wait(named: Named, name: str) -> None:
    for pause in PAUSES:
        found = named.ask(
            "get_crypto_key_version", "look up", "cloudkms.cryptoKeyVersions.get", name=name
        )
        compare(name, found.name)
        if word(found, "state") != "PENDING_GENERATION":
            return
        time.sleep(pause)
    raise KeyServiceError(
        f"{name} is still being made",
        why=f"after {sum(PAUSES):g} seconds",
        fix="look again later: sovgate keys check; and write its public half with sovgate keys "
        "show URI -o FILE",
        reason="timed-out",
    )
