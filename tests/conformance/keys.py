"""The adapters that the key conformance suite runs over. A new one joins with a line in ADAPTERS.

Each makes real keys where it keeps them and names them by URI, as a project file would.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sovgate.clouds.aws import client as aws
from sovgate.keys.gcpkms import service as google
from sovgate.pipeline.look.keys import generate
from sovgate.transport import wire
from tests import components, servers, tokens
from tests.azurevault import HOST as VAULT_HOST
from tests.azurevault import Refusal, Vault, azure_vault
from tests.conformance import moto_keys, token_keys, transit
from tests.conformance.troubles import (
    BUSY,
    TROUBLES,
    Crowd,
    Rotated,
    Trouble,
    Wrong,
    silent,
    unused_port,
)
from tests.faultproxy import What, between
from tests.googlekms import GoogleKms, RefusedError, google_kms

T = TypeVar("T")
REGION = "aws:eu-central-1"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """URIs; two of each, so that one can be taken for the other. `base`: where paths start.

    sign    by curve, "ec-p256" to "ec-p521"
    wrap    by kind: (recipient, identity), which may be one URI
    untagged kinds that a stand-in for the service encrypts without a tag, unlike the service
    troubles by name (`troubles.TROUBLES` and "busy"): how to get the service into it
    lacks    the others, each with why this kind of key has no such thing
    rotated  a kind of `wrap` under a new version: what was wrapped before still opens
    wrong    what a stand-in does otherwise than its service; what rests on it is not asked of it:
             "sign", "wrap-2" (a second kind), "other-key" (that one is told from damage)
    repointed a signing key of which another version or key becomes the one that a URI means
    crowded  a key of `wrap` at a service that asks the crowd; None: it has no service to crowd
    """

    sign: dict[str, tuple[str, str]]
    wrap: dict[str, tuple[tuple[str, str], tuple[str, str]]]
    base: Path
    region: str
    untagged: frozenset[str] = frozenset()
    troubles: Mapping[str, Trouble]
    lacks: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, Wrong] = field(default_factory=dict)
    rotated: Callable[[], Rotated] | None = None
    repointed: Callable[[], Rotated] | None = None
    crowded: Callable[[Crowd], contextlib.AbstractContextManager[str]] | None = None


def file_keys(tmp: Path) -> Keys:
    def made(kind: str, algorithm: str, count: int) -> tuple[str, str]:
        name = f"{kind}-{algorithm}-{count}"
        generate(kind, out=tmp / f"{name}.pem", algorithm=algorithm)
        return f"{name}.pub.pem", f"file:{name}.pem"

    return Keys(
        sign={
            name: (made("sign", name, 1)[1], made("sign", name, 2)[1])
            for name in ("ec-p256", "ec-p384", "ec-p521")
        },
        wrap={
            name: (made("encrypt", name, 1), made("encrypt", name, 2))
            for name in ("rsa-3072", "ec-p256", "ml-kem-768-x25519")
        },
        base=tmp,
        region=REGION,
        troubles={"missing": partial(contextlib.nullcontext, "file:gone.pem")},
        lacks=dict.fromkeys((*TROUBLES, BUSY), "no service is asked") | {"missing": ""},
    )


def kms_keys(server: Callable[[], str], region: str = REGION) -> Callable[[Path], Keys]:
    def keys(tmp: Path) -> Keys:
        url, there = components.found(server), region.partition(":")[2]

        def both(spec: str) -> tuple[str, str]:
            return (kms_key(url, spec, there), kms_key(url, spec, there))

        symmetric, rsa = both("SYMMETRIC_DEFAULT"), both("RSA_4096")
        return Keys(
            sign={f"ec-p{size}": both(f"ECC_NIST_P{size}") for size in (256, 384, 521)},
            wrap={
                "symmetric": ((symmetric[0],) * 2, (symmetric[1],) * 2),
                "rsa-4096": ((rsa[0],) * 2, (rsa[1],) * 2),
            },
            base=tmp,
            region=region,
            untagged=frozenset({"symmetric"}),
            troubles=_kms_troubles(url, there),
            lacks={},
            rotated=partial(_kms_rotated, url, there),
            repointed=partial(_kms_repointed, url),
            crowded=partial(_kms_crowded, url, symmetric[0]),
        )

    return keys


def kms_key(url: str, spec: str, region: str = "eu-central-1", **more: object) -> str:
    """A new key in the service at `url`; its URI."""
    usage = "SIGN_VERIFY" if spec.startswith("ECC") else "ENCRYPT_DECRYPT"
    made = servers.sdk("kms", url, region).create_key(KeySpec=spec, KeyUsage=usage, **more)
    return f"awskms://{url.removeprefix('http://')}/{made['KeyMetadata']['Arn']}"


def _at(uri: str, port: int) -> str:
    """The same key, asked for at another port."""
    return f"awskms://127.0.0.1:{port}/{uri.removeprefix('awskms://').partition('/')[2]}"


def _kms_troubles(url: str, region: str) -> dict[str, Trouble]:
    key, other = (kms_key(url, "ECC_NIST_P256", region) for _ in range(2))
    arns = [uri.removeprefix("awskms://").partition("/")[2] for uri in (key, other)]

    @contextlib.contextmanager
    def disabled() -> Iterator[str]:
        uri = kms_key(url, "ECC_NIST_P256", region)
        servers.sdk("kms", url, region).disable_key(KeyId=uri.rpartition("/")[2])
        yield uri

    @contextlib.contextmanager
    def refusing(what: What, times: int = 1000) -> Iterator[str]:
        with between(url) as proxy:
            proxy.fault(what, "POST", "", times)
            yield _at(key, proxy.server_port)

    @contextlib.contextmanager
    def slow() -> Iterator[str]:
        with silent() as port, pytest.MonkeyPatch.context() as patch:
            patch.setattr(aws, "READ_TIMEOUT", 0.2)  # a person waits for sixty seconds
            yield _at(key, port)

    @contextlib.contextmanager
    def another() -> Iterator[str]:
        def swapped(answer: bytes) -> bytes:
            if b'"Signature"' not in answer:
                return answer
            return answer.replace(arns[0].encode(), arns[1].encode())

        with between(url) as proxy:
            proxy.edits("POST", swapped)
            yield _at(key, proxy.server_port)

    return {
        "missing": partial(contextlib.nullcontext, key[:-12] + "000000000000"),
        "disabled": disabled,
        "denied": partial(refusing, What.DENY),
        "throttled": partial(refusing, What.BUSY),
        "busy": partial(refusing, What.BUSY, 2),
        "slow": slow,
        "down": lambda: contextlib.nullcontext(_at(key, unused_port())),
        "another": another,
    }


@contextlib.contextmanager
def _kms_crowded(url: str, key: str, crowd: Crowd) -> Iterator[str]:
    with between(url) as proxy:
        proxy.chooses = lambda *_: What.BUSY if crowd.refuses() else None
        yield _at(key, proxy.server_port)


def _kms_rotated(url: str, region: str) -> Rotated:
    uri = kms_key(url, "SYMMETRIC_DEFAULT", region)
    arn = uri.removeprefix("awskms://").partition("/")[2]
    rotate = partial(servers.sdk("kms", url, region).enable_key_rotation, KeyId=arn)
    return Rotated(uri=uri, rotate=rotate)


def _kms_repointed(url: str) -> Rotated:
    """Asymmetric keys do not rotate: an alias gets another key."""
    keys = [kms_key(url, "ECC_NIST_P256") for _ in range(2)]
    arns = [uri.removeprefix("awskms://").partition("/")[2] for uri in keys]
    name = f"alias/repointed-{arns[0][-12:]}"
    sdk = servers.sdk("kms", url)
    sdk.create_alias(AliasName=name, TargetKeyId=arns[0])
    rotate = partial(sdk.update_alias, AliasName=name, TargetKeyId=arns[1])
    return Rotated(uri=f"awskms://{url.removeprefix('http://')}/{name}", rotate=rotate)


def google_keys(tmp: Path) -> Keys:
    """At a server of ours that the vendor's client accepts. It lives as long as the tests do."""
    kms = _lasting(google_kms())

    def both(algorithm: str) -> tuple[str, str]:
        names = (kms.make(algorithm), kms.make(algorithm, level="HSM"))
        return (kms.uri(f"{names[0]}/cryptoKeyVersions/1"), kms.uri(names[1]))

    symmetric, rsa = both("GOOGLE_SYMMETRIC_ENCRYPTION"), both("RSA_DECRYPT_OAEP_3072_SHA256")
    return Keys(
        sign={f"ec-p{size}": both(f"EC_SIGN_P{size}_SHA{size}") for size in (256, 384)},
        wrap={
            "symmetric": ((symmetric[0],) * 2, (symmetric[1],) * 2),
            "rsa-3072": ((rsa[0],) * 2, (rsa[1],) * 2),
        },
        base=tmp,
        region="gcp:europe-west3",
        troubles=_google_troubles(kms),
        rotated=partial(_google_rotated, kms, "GOOGLE_SYMMETRIC_ENCRYPTION"),
        repointed=partial(_google_rotated, kms, "EC_SIGN_P256_SHA256"),
        crowded=partial(_google_crowded, kms, rsa[0]),
    )


def _lasting(made: contextlib.AbstractContextManager[T]) -> T:
    """Entered, and left when the tests end."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(made)


def _google_rotated(kms: GoogleKms, algorithm: str) -> Rotated:
    name = kms.make(algorithm)
    return Rotated(uri=kms.uri(name), rotate=kms.keys[name].add)


@contextlib.contextmanager
def _google_crowded(kms: GoogleKms, key: str, crowd: Crowd) -> Iterator[str]:
    busy = RefusedError("RESOURCE_EXHAUSTED", "Quota exceeded")
    kms.refuses = lambda *_: busy if crowd.refuses() else None
    yield key
    kms.refuses = lambda *_: None


def _google_troubles(kms: GoogleKms) -> dict[str, Trouble]:
    name, other = (kms.make("EC_SIGN_P256_SHA256") for _ in range(2))
    key = f"{name}/cryptoKeyVersions/1"

    @contextlib.contextmanager
    def disabled() -> Iterator[str]:
        made = kms.make("EC_SIGN_P256_SHA256")
        kms.keys[made].versions[0].state = kms.DISABLED
        yield kms.uri(f"{made}/cryptoKeyVersions/1")

    @contextlib.contextmanager
    def refusing(status: str, said: str, times: int = 1000) -> Iterator[str]:
        left = iter(range(times))

        def refuses(_call: str, about: str) -> RefusedError | None:
            return (
                RefusedError(status, said)
                if about == key and next(left, None) is not None
                else None
            )

        kms.refuses = refuses
        yield kms.uri(key)
        kms.refuses = lambda *_: None

    @contextlib.contextmanager
    def slow() -> Iterator[str]:
        with silent() as port, pytest.MonkeyPatch.context() as patch:
            patch.setattr(google, "TIMEOUT", 0.3)  # a person waits for twenty seconds
            patch.setattr(google, "CONNECT_TIMEOUT", 0.3)
            yield f"gcpkms://{key}?address=http://127.0.0.1:{port}"

    @contextlib.contextmanager
    def another() -> Iterator[str]:
        def edits(call: str, answer: Any) -> Any:
            if call == "AsymmetricSign":
                answer.name = f"{other}/cryptoKeyVersions/1"
            return answer

        kms.edits = edits
        yield kms.uri(key)
        kms.edits = lambda _call, answer: answer

    denied = f"Permission 'cloudkms.cryptoKeyVersions.useToSign' denied on resource '{key}'"
    quota = "Quota exceeded for quota metric 'Cryptographic requests'"
    return {
        "missing": lambda: contextlib.nullcontext(kms.uri(f"{name}0/cryptoKeyVersions/1")),
        "disabled": disabled,
        "denied": partial(refusing, "PERMISSION_DENIED", denied),
        "throttled": partial(refusing, "RESOURCE_EXHAUSTED", quota),
        "busy": partial(refusing, "RESOURCE_EXHAUSTED", quota, 2),
        "slow": slow,
        "down": lambda: contextlib.nullcontext(
            f"gcpkms://{key}?address=http://127.0.0.1:{unused_port()}"
        ),
        "another": another,
    }


def _in_tokens(make: Callable[[Path], tokens.Token], *wrapping: str) -> Callable[[Path], Keys]:
    return lambda tmp: Keys(**token_keys.fields(make, wrapping, tmp), region=REGION)


def azure_keys(tmp: Path) -> Keys:
    """At a server of ours that the vendor's client accepts. It lives as long as the tests do."""
    vault = _lasting(azure_vault())

    def both(kind: str, size: str) -> tuple[str, str]:
        names = [vault.make(kind, size), vault.make(f"{kind}-HSM", size)]
        return (vault.pinned(names[0]), vault.uri(names[1]))

    rsa = {f"rsa-{size}": both("RSA", str(size)) for size in (2048, 3072)}
    return Keys(
        sign={f"ec-p{size}": both("EC", f"P-{size}") for size in (256, 384, 521)},
        wrap={kind: ((one,) * 2, (two,) * 2) for kind, (one, two) in rsa.items()},
        base=tmp,
        region="azure:germanywestcentral",
        troubles=_azure_troubles(vault),
        repointed=partial(_azure_repointed, vault),
        crowded=partial(_azure_crowded, vault, rsa["rsa-2048"][0]),
    )


@contextlib.contextmanager
def _azure_crowded(vault: Vault, key: str, crowd: Crowd) -> Iterator[str]:
    busy = Refusal(status=429, code="Throttled")
    vault.refuses = lambda *_: busy if crowd.refuses() else None
    yield key
    vault.refuses = lambda *_: None


def _azure_repointed(vault: Vault) -> Rotated:
    """A vault has asymmetric keys, and what was wrapped for a version opens with that alone."""
    name = vault.make("EC", "P-256")
    return Rotated(uri=vault.uri(name), rotate=vault.keys[name].add)


def _azure_troubles(vault: Vault) -> dict[str, Trouble]:
    name, other = (vault.make("EC", "P-256") for _ in range(2))
    path = f"{name}/{vault.keys[name].current}"

    def at(port: int) -> str:
        return f"azurekms://{VAULT_HOST}/{path}?address=http://127.0.0.1:{port}"

    @contextlib.contextmanager
    def disabled() -> Iterator[str]:
        made = vault.make("EC", "P-256")
        vault.keys[made].enabled = False
        yield vault.pinned(made)

    @contextlib.contextmanager
    def refusing(refusal: Refusal, times: int = 1000) -> Iterator[str]:
        left = iter(range(times))

        def refuses(_verb: str, about: str) -> Refusal | None:
            return refusal if about == name and next(left, None) is not None else None

        vault.refuses = refuses
        yield vault.pinned(name)
        vault.refuses = lambda *_: None

    @contextlib.contextmanager
    def slow() -> Iterator[str]:
        with silent() as port, pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire, "READ_TIMEOUT", 0.2)  # a person waits for sixty seconds
            yield at(port)

    @contextlib.contextmanager
    def another() -> Iterator[str]:
        kid = f"https://{VAULT_HOST}/keys/{other}/{vault.keys[other].current}"
        vault.edits = lambda verb, answer: answer | {"kid": kid} if verb == "sign" else answer
        yield vault.pinned(name)
        vault.edits = lambda _verb, answer: answer

    denied = Refusal(status=403, code="Forbidden", inner="ForbiddenByRbac")
    throttled = Refusal(status=429, code="Throttled")
    return {
        "missing": lambda: contextlib.nullcontext(vault.uri(f"{name}0/{1:032x}")),
        "disabled": disabled,
        "denied": partial(refusing, denied),
        "throttled": partial(refusing, throttled),
        "busy": partial(refusing, throttled, 2),
        "slow": slow,
        "down": lambda: contextlib.nullcontext(at(unused_port())),
        "another": another,
    }


#: Name -> makes new keys; `tmp` is a folder for those that live in one.
ADAPTERS: dict[str, Callable[[Path], Keys]] = {
    "file": file_keys,
    "awskms-ministack": kms_keys(servers.ministack),
    # AWS's other partitions, and a second opinion where both do as KMS does.
    "awskms-moto": moto_keys.keys,
    "openbao": transit.keys("openbao"),
    "hashivault-openbao": transit.keys("hashivault"),
    "gcpkms": google_keys,
    "azurekms": azure_keys,
    # Both: what one of them cannot do the other can, and they say things differently.
    "pkcs11-nss": _in_tokens(tokens.nss, "rsa-2048"),
    "pkcs11-softhsm": _in_tokens(tokens.softhsm),
}

_made: dict[str, Keys] = {}


def keys_of(name: str, factory: pytest.TempPathFactory) -> Keys:
    """The keys of an adapter, made once a session: RSA keys take a second each."""
    if name not in _made:
        _made[name] = ADAPTERS[name](factory.mktemp(name))
    return _made[name]
