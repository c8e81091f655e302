"""Each way to sign, as a user of Actions or Tasks sets it up, at services on this machine.

Every service is reached by its real host name, behind a proxy; who logs in to it, and with what, is
remembered there. A new scheme of keys joins with an entry in WAYS.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import yaml
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from sovgate.pipeline.look.keys import generate
from tests import components, openbao, servers, tokens
from tests.azurevault import HOST as VAULT
from tests.azurevault import TENANT, Key, azure_vault
from tests.conformance.keys import kms_key
from tests.faultproxy import between
from tests.forked import SOVGATE
from tests.googlekms import RING, CryptoKey, google_kms
from tests.integration.test_cloud_connections import tls_for
from tests.sigstores import Sigstore
from tests.sigstoreserver import IDENTITY, ISSUER, serving
from tests.vendor import Asked, Said, Vendor, standing

GITHUB, ENTRA = "run.actions.githubusercontent.com", "login.microsoftonline.com"
STS, IAM = "sts.googleapis.com", "iamcredentials.googleapis.com"
OAUTH = "oauth2.googleapis.com"
AWS, AWS_STS, GOOGLE = (
    "kms.eu-central-1.amazonaws.com",
    "sts.eu-central-1.amazonaws.com",
    "cloudkms.googleapis.com",
)
#: What GitHub gives a job that may ask for a token of its own.
JOB = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": f"https://{GITHUB}/token?x=1",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary-of-the-job",
}
PEM = (form.Encoding.PEM, form.PrivateFormat.PKCS8)


@dataclass
class Place:
    """Where a way is set up, and what came of it.

    repository  a checkout with sovgate.yaml, public keys and a model at build/churn
    ca, proxy   of the services' certificates, and the way to them
    values      what a page names -> what it is here: "secrets.EU_PIN", "vars.EU_ROLE", or a text
    more        what sovgate.yaml has besides its zone
    canaries    secrets, which may stand in no log and no result
    opened      raises where the service was asked by nobody who had logged in
    hsm         folder of an HSM's client, as a volume of a pod would have it
    """

    repository: Path
    folder: Path
    ca: Path
    vendor: Vendor
    keys: dict[str, object] = field(default_factory=dict)
    more: dict[str, object] = field(default_factory=dict)
    region: str = "declared:here"
    values: dict[str, str] = field(default_factory=dict)
    canaries: set[str] = field(default_factory=set)
    opened: Callable[[], None] = lambda: None
    subject: str = "repo:bank/churn:environment:eu"
    issuer: openbao.Issuer = field(default_factory=openbao.Issuer.new)
    hsm: Path | None = None

    def public(self, name: str, key: PublicKeyTypes) -> None:
        pem = key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        (self.repository / "keys" / f"{name}.pub.pem").write_bytes(pem)

    def written(self) -> None:
        """sovgate.yaml as it stands by now."""
        keys = {**self.keys, "sign-public": "keys/eu-sign.pub.pem"}
        keys["encrypt-public"] = "keys/eu.pub.pem"
        zone = {"region": self.region, **({"keys": keys} if self.keys else {})}
        text = {"version": 1, "model": "churn", "zones": {"eu": zone}, **self.more}
        here = {"country": "DE", "operator": "Bank", "controlled-from": "DE"}
        here |= {"source": "https://bank.example", "date": "2026-11-01"}
        if self.region == "declared:here":
            text["regions"] = {"here": here}
        (self.repository / "sovgate.yaml").write_text(yaml.safe_dump(text, sort_keys=False))

    def token(self, audience: str) -> str:
        """Of the job, or of the pod's service account."""
        return self.secret(self.vouch(audience))

    def vouch(self, audience: str) -> str:
        return self.issuer.token(self.subject, audience)

    def secret(self, text: str = "") -> str:
        made = text or f"canary-{secrets.token_hex(16)}"
        self.canaries.add(made)
        return made


def _answers(place: Place, logged_in: dict[str, str]) -> Callable[[Asked], Said]:
    """GitHub's, Entra's and Google's token services: a token for whoever shows a job's or a pod's.

    `logged_in`: host of a login -> the token that it gives, for what the services' own check.
    """

    def said(**answer: object) -> Said:
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def answer(asked: Asked) -> Said:
        form_of = {name: value[0] for name, value in parse_qs(asked.body.decode()).items()}
        if asked.host == GITHUB:
            assert asked.headers["authorization"] == f"bearer {JOB[list(JOB)[1]]}"
            (audience,) = parse_qs(asked.path.partition("?")[2])["audience"]
            return said(value=place.token(audience))
        if asked.host == AWS_STS:
            assert form_of["WebIdentityToken"] in place.canaries
            return _assumed(place)
        if asked.host == IAM:
            assert asked.headers["authorization"] == f"Bearer {logged_in[STS]}"
            return said(accessToken=logged_in[IAM], expireTime="2999-01-01T00:00:00Z")
        shown = [
            form_of.get(name) for name in ("client_assertion", "subject_token", "client_secret")
        ]
        if asked.host == OAUTH:  # where an account's own key has signed
            place.secret(form_of["assertion"])
            shown.append(form_of["assertion"])
        known = place.canaries.intersection(filter(None, shown))
        assert known, "whoever logs in shows what the issuer made, or what only it knows"
        return said(access_token=logged_in[asked.host], expires_in=3600, token_type="Bearer")

    return answer


def _assumed(place: Place) -> Said:
    """A role's credentials, as STS gives them."""
    found = {
        "AccessKeyId": "ASIAEXAMPLEOFTHEPOD0",
        "SecretAccessKey": place.secret(),
        "SessionToken": place.secret(),
        "Expiration": "2999-01-01T00:00:00Z",
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in found.items())
    call, xmlns = "AssumeRoleWithWebIdentity", 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
    result = f"<{call}Result><Credentials>{inner}</Credentials></{call}Result>"
    whole = f"<{call}Response {xmlns}>{result}</{call}Response>"
    return 200, {"Content-Type": "text/xml"}, whole.encode()


# -- the ways. Each fills in a place, and keeps its service up meanwhile.


@contextlib.contextmanager
def _file(place: Place, passphrase: str = "") -> Iterator[None]:
    key = ec.generate_private_key(ec.SECP256R1())
    lock: form.KeySerializationEncryption = form.NoEncryption()
    if passphrase:
        lock = form.BestAvailableEncryption(place.secret(passphrase).encode())
    place.public("eu-sign", key.public_key())
    text = key.private_bytes(*PEM, lock).decode()
    place.canaries |= {line for line in text.splitlines() if "-" not in line}
    place.values |= {"secrets.EU_SIGN_KEY": text.strip(), "secrets.EU_KEY_PASSPHRASE": passphrase}
    generate("encrypt", out=place.repository / "keys" / "eu.pem", algorithm="ec-p256")
    place.keys |= {"sign": "file:keys/eu-sign.pem", "encrypt": "file:keys/eu.pem"}
    yield


@contextlib.contextmanager
def _encrypted_file(place: Place) -> Iterator[None]:
    with _file(place, f"canary of a passphrase {secrets.token_hex(8)}"):
        yield


@contextlib.contextmanager
def _awskms(place: Place) -> Iterator[None]:
    url = components.found(servers.ministack)
    sdk = servers.sdk("kms", url)
    with between(url, place.vendor.tls) as kms:
        place.vendor.leads = {AWS: kms.server_port}
        for use, spec in (("sign", "ECC_NIST_P256"), ("encrypt", "RSA_2048")):
            arn = "arn:" + kms_key(url, spec).partition("/arn:")[2]
            der = sdk.get_public_key(KeyId=arn)["PublicKey"]
            place.public(_public(use), form.load_der_public_key(der))
            place.keys[use] = f"awskms:///{arn}"
        place.region = "aws:eu-central-1"
        account = arn.split(":")[4]
        place.values |= {
            "vars.EU_ROLE": f"arn:aws:iam::{account}:role/eu",
            "steps.aws.outputs.aws-access-key-id": "ASIAEXAMPLEOFTHEJOB0",
            "steps.aws.outputs.aws-secret-access-key": place.secret(),
            "steps.aws.outputs.aws-session-token": place.secret(),
        }

        def opened() -> None:
            said = {h.get("authorization", "").partition("Credential=")[2] for h in kms.headers}
            assert said
            assert {one[:20] for one in said} <= {"ASIAEXAMPLEOFTHEJOB0", "ASIAEXAMPLEOFTHEPOD0"}
            assert all(h.get("x-amz-security-token") in place.canaries for h in kms.headers)

        place.opened = opened
        yield


@contextlib.contextmanager
def _gcpkms(place: Place) -> Iterator[None]:
    token = place.secret()
    tls = ((place.folder / "server.pem").read_bytes(), place.ca.read_bytes())
    with google_kms(token, tls) as kms:
        place.vendor.leads = {GOOGLE: kms.port}
        place.vendor.answers = _answers(place, {STS: place.secret(), IAM: token, OAUTH: token})
        place.values["the token"] = token
        for use, kind in (
            ("sign", "EC_SIGN_P256_SHA256"),
            ("encrypt", "RSA_DECRYPT_OAEP_2048_SHA256"),
        ):
            name = f"{RING}/{use}"
            kms.keys[name] = CryptoKey(algorithm=kind)
            kms.keys[name].add()
            place.public(_public(use), kms.keys[name].versions[0].secret.public_key())
            place.keys[use] = f"gcpkms://{name}/cryptoKeyVersions/1"
        place.region = "gcp:europe-west3"

        def opened() -> None:
            assert set(kms.tokens) == {f"Bearer {token}"}

        place.opened = opened
        yield


@contextlib.contextmanager
def _azurekms(place: Place) -> Iterator[None]:
    token = place.secret()
    with azure_vault(token, place.vendor.tls) as vault:
        place.vendor.leads = {VAULT: vault.server_port}
        place.vendor.answers = _answers(place, {ENTRA: token})
        place.values["the token"] = token
        for use, kind, size in (("sign", "EC-HSM", "P-256"), ("encrypt", "RSA-HSM", "2048")):
            operations = ["sign"] if use == "sign" else ["unwrapKey"]
            key = vault.keys[use] = Key(kind=kind, size=size, operations=operations)
            key.add()
            place.public(_public(use), key.versions[key.current].public_key())
            place.keys[use] = f"azurekms://{VAULT}/{use}/{key.current}"
        place.region = "azure:germanywestcentral"
        place.values |= {"vars.AZURE_TENANT_ID": TENANT, "vars.AZURE_CLIENT_ID": "app-of-the-job"}

        def opened() -> None:
            assert set(vault.tokens) == {None, f"Bearer {token}"}

        place.opened = opened
        yield


def _transit(place: Place, scheme: str, login: Mapping[str, str]) -> openbao.Bao:
    bao = openbao.here()
    rules = [("auth/token/revoke-self", "update")]
    for use, kind in (("sign", "ecdsa-p256"), ("encrypt", "rsa-2048")):
        name = bao.key(kind)
        told = bao.ask("GET", f"transit/keys/{name}")["data"]["keys"]["1"]["public_key"]
        place.public(_public(use), form.load_pem_public_key(told.encode()))
        uri, _, _ = bao.uri(name, scheme).partition("?")
        place.keys[use] = {"key": uri, "address": bao.url, **login}
        verb = "sign" if use == "sign" else "decrypt"
        rules += [(f"transit/keys/{name}", "read"), (f"transit/{verb}/{name}", "update")]
    place.values["the policy"] = bao.policy(*rules)
    place.vendor.answers = _answers(place, {})
    return bao


@contextlib.contextmanager
def _openbao(place: Place) -> Iterator[None]:
    """By JWT: of the job, or of the pod's service account."""
    at, audience = f"jwt-{secrets.token_hex(4)}", "https://bao.bank.example"
    login = {"login": "jwt", "login-mount": at, "role": "churn-eu", "audience": audience}
    bao = _transit(place, "openbao", login)
    bao.mounted("jwt", at, under="sys/auth")
    bao.ask("POST", f"auth/{at}/config", {"jwt_validation_pubkeys": [place.issuer.pem]})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": [audience]}
    role |= {"bound_subject": place.subject, "token_ttl": "60"}
    role["token_policies"] = [place.values["the policy"]]
    bao.ask("POST", f"auth/{at}/role/churn-eu", role)
    yield


@contextlib.contextmanager
def _hashivault(place: Place) -> Iterator[None]:
    """By AppRole."""
    bao = _transit(place, "hashivault", {})
    bao.mounted("approle", "approle", under="sys/auth")
    there = f"auth/approle/role/r-{secrets.token_hex(4)}"
    role = {"token_policies": [place.values["the policy"]], "token_ttl": "60"}
    bao.ask("POST", there, role)
    place.values |= {
        "the role": there,
        "secrets.VAULT_ROLE_ID": bao.ask("GET", f"{there}/role-id")["data"]["role_id"],
        "secrets.VAULT_SECRET_ID": place.secret(
            bao.ask("POST", f"{there}/secret-id", {})["data"]["secret_id"]
        ),
    }
    yield


@contextlib.contextmanager
def _pkcs11(place: Place) -> Iterator[None]:
    place.hsm = place.folder / "hsm"
    token = components.found(tokens.softhsm, place.hsm, "eu")
    token.make({"label": "sign", "kind": "ec-p256"}, {"label": "encrypt", "kind": "ec-p256"})
    beside = {"module-path": str(token.real), "module-variable": token.setting}
    for use in ("sign", "encrypt"):
        place.keys[use] = {"key": f"pkcs11:token=eu;object={use}", **beside}
    place.values["secrets.EU_PIN"] = place.secret(token.pin)
    place.written()
    for use in ("sign", "encrypt"):
        shown = SOVGATE.run(
            *("keys", "show", f"pkcs11:token=eu;object={use}"),
            *("-o", f"keys/{_public(use)}.pub.pem"),
            cwd=place.repository,
            env={**os.environ, "SOVGATE_PIN": token.pin},
        )
        assert shown.returncode == 0, shown.stderr
    yield


@contextlib.contextmanager
def _sigstore(place: Place) -> Iterator[None]:
    """Keyless: who signs is whom a job's, or a pod's, token names. It is no zone's key."""
    with serving(Sigstore()) as served:
        files = {"signing_config": served.signing_config(2)}
        files["trusted_root"] = served.instance.trusted_root()
        for name, told in files.items():
            (place.repository / "keys" / f"{name}.json").write_text(json.dumps(told))
        who = {"identity": IDENTITY, "issuer": ISSUER, "trusted-root": "keys/trusted_root.json"}
        place.more["trust"] = [{"name": "release", "may": ["signature"], "keyless": who}]
        place.vouch = lambda audience: served.token(IDENTITY, aud=audience)  # type: ignore[method-assign]

        def opened() -> None:
            assert {one for one in served.heard if one} <= place.canaries
            assert served.asked[-1] == "/api/v2/log/entries"

        place.opened = opened
        yield


def _public(use: str) -> str:
    return "eu-sign" if use == "sign" else "eu"


#: By scheme of the registry, and what tells two ways of one scheme apart.
WAYS = {
    "file": _file,
    "file, encrypted": _encrypted_file,
    "awskms": _awskms,
    "gcpkms": _gcpkms,
    "azurekms": _azurekms,
    "openbao": _openbao,
    "hashivault": _hashivault,
    "pkcs11": _pkcs11,
    "sigstore": _sigstore,
}


@contextlib.contextmanager
def set_up(name: str, folder: Path) -> Iterator[Place]:
    """A repository of one zone, "eu", whose keys are kept in this way."""
    ca, repository = folder / "ca", folder / "repository"
    ca.mkdir()
    for part in ("keys", "build/churn"):
        (repository / part).mkdir(parents=True)
    (repository / "build/churn/weights.bin").write_bytes(b"weights" * 100)
    hosts = (GITHUB, ENTRA, STS, IAM, OAUTH, AWS, AWS_STS, GOOGLE, VAULT)
    context, root = tls_for(*hosts, folder=ca)
    with standing(context, lambda _: (404, {}, b"")) as vendor:
        place = Place(repository=repository, folder=ca, ca=root, vendor=vendor)
        vendor.answers = _answers(place, {})
        with WAYS[name](place):
            place.written()
            yield place
