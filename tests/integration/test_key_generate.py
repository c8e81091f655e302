"""`keys generate` in services: what is made, what is never overwritten, and what an end leaves."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sovgate import notices
from sovgate.errors import ConfigError, KeyServiceError, SovgateError, UsageError
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys._api import Wanted
from tests import components, openbao, servers, tokens
from tests.azurevault import HOST, Refusal, Vault, azure_vault
from tests.commands import run
from tests.faultproxy import Fault, What, between
from tests.googlekms import RING, GoogleKms, google_kms
from tests.integration.test_key_check import project

CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
KEY = bytes(range(32))
EU = "aws:eu-central-1"


@pytest.fixture(autouse=True)
def notes() -> Iterator[list[str]]:
    """What is said beside the work, such as which version of a key is used."""
    said: list[str] = []
    with notices.listening(said.append):
        yield said


@pytest.fixture
def google() -> Iterator[GoogleKms]:
    with google_kms() as made:
        yield made


@pytest.fixture
def azure() -> Iterator[Vault]:
    with azure_vault() as made:
        yield made


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where keys are made: a URI for a name that is free, and the zone's region."""

    uri: Callable[[str], str]
    region: str
    kinds: tuple[tuple[str, str | None], ...]
    base: Path = Path()


USUAL = (("sign", None), ("sign", "ec-p384"), ("encrypt", None), ("encrypt", "symmetric"))


@pytest.fixture(params=["awskms", "gcpkms", "azurekms", "openbao", "hashivault", "softhsm", "nss"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    name, unique = request.param, os.urandom(6).hex()
    if name == "awskms":
        host = request.getfixturevalue("ministack").removeprefix("http://")
        yield Place(
            uri=lambda key: f"awskms://{host}/alias/{key}-{unique}?region={EU}",
            region=EU,
            kinds=USUAL,
        )
    elif name == "gcpkms":
        kms = request.getfixturevalue("google")
        yield Place(
            uri=lambda key: kms.uri(f"{RING}/{key}"), region="gcp:europe-west3", kinds=USUAL
        )
    elif name == "azurekms":
        vault = request.getfixturevalue("azure")
        yield Place(uri=vault.uri, region="azure:germanywestcentral", kinds=USUAL[:3])
    elif name in ("openbao", "hashivault"):
        bao = openbao.here()
        yield Place(uri=lambda key: bao.uri(f"{key}-{unique}", name), region=EU, kinds=USUAL)
    else:
        # Apart: a module that lies in the project is not loaded.
        make = tokens.softhsm if name == "softhsm" else tokens.nss
        token = components.found(make, tmp_path / "token")
        (tmp_path / "pin").write_text(token.pin)
        (tmp_path / "project").mkdir()
        pin = f"file:{tmp_path / 'pin'}"
        more = (("encrypt", "rsa-3072"),) if name == "nss" else ()
        yield Place(
            uri=lambda key: token.uri(key, **{"pin-source": pin}),
            region=EU,
            kinds=(*USUAL[:3], *more),
            base=tmp_path / "project",
        )


def test_a_key_that_was_made_does_its_work_and_is_made_once(place: Place) -> None:
    for count, (use, kind) in enumerate(place.kinds):
        uri, wanted = place.uri(f"made-{count}"), Wanted(use=use, kind=kind)
        made = registry.generate(uri, place.base, place.region, wanted)
        if use == "sign":
            signer = registry.open_signer(made.uri, place.base, place.region)
            assert signer.public_key == made.public
            signer.public_key.verify(b"m", signer.sign(b"m"))
        else:
            wrapped = registry.open_recipient(made.uri, place.base, place.region).wrap(KEY, CONTEXT)
            identity = registry.open_identity(made.uri, place.base, place.region)
            assert identity.unwrap(wrapped, CONTEXT) == KEY
            assert (made.public is None) == (kind == "symmetric")
        facts = registry.describe(made.uri, place.base, place.region)
        assert facts.state == "enabled"
        assert facts.uses == (use,)
        assert facts.protection.exportable is False
        assert facts.history.origin in ("service", None)
        with pytest.raises(UsageError) as caught:
            registry.generate(uri, place.base, place.region, wanted)
        assert caught.value.reason == "output-exists"
        again = registry.describe(uri, place.base, place.region)
        assert (again.name, again.public) == (facts.name, facts.public)


def test_an_rsa_key_that_its_token_will_not_decrypt_with_is_told_before_it_is_named(
    tmp_path: Path,
) -> None:
    token = components.found(tokens.softhsm, tmp_path / "token")  # which has SHA-1 alone
    (tmp_path / "pin").write_text(token.pin)
    (tmp_path / "project").mkdir()
    uri = token.uri("rsa", **{"pin-source": f"file:{tmp_path / 'pin'}"})
    with pytest.raises(ConfigError) as caught:
        registry.generate(uri, tmp_path / "project", EU, Wanted(use="encrypt", kind="rsa-3072"))
    assert caught.value.reason == "unsupported-key-use"
    assert "the key is made" in caught.value.what
    assert "--algorithm ec-p256" in str(caught.value.fix)


def test_a_kind_that_a_service_does_not_make_is_told_with_those_that_it_does(place: Place) -> None:
    with pytest.raises(UsageError) as caught:
        wanted = Wanted(use="encrypt", kind="ml-kem-768-x25519")
        registry.generate(place.uri("k"), place.base, place.region, wanted)
    assert caught.value.reason == "bad-algorithm"
    assert "rsa-3072" in str(caught.value.fix)


def test_a_key_is_made_in_the_european_sovereign_cloud(moto: str, tmp_path: Path) -> None:
    region = "aws-eusc:eusc-de-east-1"
    uri = f"awskms://{moto.removeprefix('http://')}/alias/e-{os.urandom(4).hex()}?region={region}"
    made = registry.generate(uri, tmp_path, region, Wanted(use="encrypt", kind="symmetric"))
    assert made.name.startswith("arn:aws-eusc:kms:eusc-de-east-1:")
    assert registry.describe(uri, tmp_path, region).name == made.name


# -- in the zone, in an HSM


def test_the_key_that_a_zone_names_is_made_and_pinned(google: GoogleKms, tmp_path: Path) -> None:
    uri = google.uri(f"{RING}/churn", protection="hsm")
    where = project(tmp_path, "gcp:europe-west3", sign=uri, sign_public="eu.pub.pem")
    done = run("keys", "generate", "sign", "--zone", "eu", "--format", "json", cwd=where)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["uri"].partition("?")[0] == f"gcpkms://{RING}/churn/cryptoKeyVersions/1"
    assert (tmp_path / "eu.pub.pem").read_text() == told["pem"]
    assert google.keys[f"{RING}/churn"].level == "HSM"
    checked = run("keys", "check", "--zone", "eu", cwd=where)
    assert checked.returncode == 0, checked.stdout
    # Of a run that ended before it wrote the file, the next one says what finishes it.
    half = (tmp_path / "eu.pub.pem").read_bytes()
    (tmp_path / "eu.pub.pem").unlink()
    again = run("keys", "generate", "sign", "--zone", "eu", cwd=where)
    assert again.returncode == 2
    assert not (tmp_path / "eu.pub.pem").exists()
    (words,) = re.findall(r"sovgate (keys show .*?);", " ".join(again.stderr.split()))
    assert run(*shlex.split(words), cwd=where).returncode == 0
    assert (tmp_path / "eu.pub.pem").read_bytes() == half
    assert len(google.keys[f"{RING}/churn"].versions) == 1


def test_nothing_is_made_outside_of_the_zone(google: GoogleKms, tmp_path: Path) -> None:
    where = project(tmp_path, "gcp:europe-west4", sign="gcpkms://x")
    uri = google.uri(f"{RING}/churn")
    done = run("keys", "generate", "sign", uri, "--zone", "eu", cwd=where)
    assert done.returncode == 12, done.stderr
    assert google.seen == []


def test_a_key_that_a_zone_names_is_made_nowhere_else_whoever_asks(
    google: GoogleKms, tmp_path: Path
) -> None:
    uri = google.uri(f"{RING}/churn")
    where = project(tmp_path, "gcp:europe-west4", sign=uri)
    done = run("keys", "generate", "sign", uri, cwd=where)
    assert done.returncode == 12, done.stderr
    assert google.seen == []


def test_nothing_is_made_whose_public_half_has_no_place(google: GoogleKms, tmp_path: Path) -> None:
    (tmp_path / "k.pub.pem").write_text("another")
    uri = google.uri(f"{RING}/churn")
    for out, code in (("k.pub.pem", 2), ("gone/k.pub.pem", 2), ("k.json", 2)):
        done = run("keys", "generate", "sign", uri, "-o", out, cwd=tmp_path)
        assert (done.returncode, google.seen) == (code, [])
        assert "no key was made" in done.stderr
    assert (tmp_path / "k.pub.pem").read_text() == "another"


def test_an_hsm_that_is_asked_for_is_one(azure: Vault, tmp_path: Path) -> None:
    registry.generate(azure.uri("h"), tmp_path, None, Wanted(use="sign", hsm=True))
    assert azure.keys["h"].kind == "EC-HSM"
    assert azure.bodies[0]["key_ops"] == ["sign", "verify"]


def test_what_has_no_hsm_makes_no_key_that_is_to_be_in_one(tmp_path: Path) -> None:
    bao = openbao.here()
    with pytest.raises(SovgateError) as caught:
        registry.generate(bao.uri("never"), tmp_path, EU, Wanted(use="sign", hsm=True))
    assert caught.value.reason == "protection-level"
    token = components.found(tokens.softhsm, tmp_path / "token")
    (tmp_path / "pin").write_text(token.pin)
    uri = token.uri("never", **{"pin-source": f"file:{tmp_path / 'pin'}"})
    (tmp_path / "project").mkdir()
    with pytest.raises(SovgateError) as caught:
        registry.generate(uri, tmp_path / "project", EU, Wanted(use="sign", hsm=True))
    assert caught.value.reason == "protection-level"
    with pytest.raises(SovgateError) as caught:
        registry.describe(uri, tmp_path / "project", EU)
    assert caught.value.reason == "no-such-key"


def test_variables_that_are_set_for_other_commands_make_no_key(
    google: GoogleKms, tmp_path: Path
) -> None:
    where = project(tmp_path, "gcp:europe-west3", sign=google.uri(f"{RING}/churn"))
    variables = {"SOVGATE_ZONE": "eu", "SOVGATE_URI": google.uri(f"{RING}/churn")}
    done = run("keys", "generate", "sign", "-o", "k.pem", cwd=where, **variables)
    assert done.returncode == 0
    assert (tmp_path / "k.pem").exists()
    assert google.seen == []


# -- who may, and what an end leaves


def test_read_and_update_on_its_path_are_all_that_a_token_needs(tmp_path: Path) -> None:
    bao = openbao.here()
    name = f"made-{os.urandom(6).hex()}"
    path = f"{bao.mount}/keys/{name}"
    words = ("keys", "generate", "sign", bao.uri(name))
    told = run(*words, cwd=tmp_path, BAO_TOKEN=bao.given((path, "read")))
    assert told.returncode == 20
    assert f'path "{path}" {{ capabilities = ["update"] }}' in told.stderr
    rules = ((path, 'read", "update'),)
    assert run(*words, cwd=tmp_path, BAO_TOKEN=bao.given(*rules)).returncode == 0


def alias(url: str, proxy: Any = None) -> tuple[str, str]:
    name = f"alias/ended-{os.urandom(6).hex()}"
    host = url.removeprefix("http://") if proxy is None else f"127.0.0.1:{proxy.server_port}"
    return name, f"awskms://{host}/{name}?region={EU}"


def made_for(url: str, name: str) -> list[dict[str, Any]]:
    sdk = servers.sdk("kms", url)
    ids = [one["KeyId"] for one in sdk.list_keys(Limit=1000)["Keys"]]
    told = [sdk.describe_key(KeyId=one)["KeyMetadata"] for one in ids]
    return [one for one in told if name in one["Description"]]


def test_a_key_that_got_no_alias_is_taken_back(ministack: str, tmp_path: Path) -> None:
    with between(ministack) as proxy:
        name, uri = alias(ministack, proxy)
        asked = iter(range(100))  # is it there? make it; what is it? name it
        proxy.faults.append(Fault(What.DENY, lambda *_: next(asked) == 3, 1))
        done = run("keys", "generate", "sign", uri, cwd=tmp_path)
    assert done.returncode == 20
    assert "kms:CreateAlias" in done.stderr
    assert "KMS deletes it in 7 days" in done.stderr
    assert [one["KeyState"] for one in made_for(ministack, name)] == ["PendingDeletion"]


def test_a_run_that_is_interrupted_before_the_key_has_a_name_takes_it_back(
    ministack: str, tmp_path: Path
) -> None:
    with between(ministack) as proxy:
        name, uri = alias(ministack, proxy)
        process: list[subprocess.Popen[str]] = []

        def chooses(_method: str, _path: str) -> What | None:
            if not proxy.targets[-1].endswith("CreateAlias"):
                return None
            process[0].send_signal(signal.SIGINT)  # and no answer ever comes
            process[0].wait()
            return What.LOSE_REQUEST

        proxy.chooses = chooses
        words = [sys.executable, "-m", "sovgate", "keys", "generate", "sign", uri]
        process.append(
            subprocess.Popen(
                words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
            )
        )
        _, said = process[0].communicate()
    assert process[0].returncode == 130, said
    assert "KMS deletes it in 7 days" in said
    assert [one["KeyState"] for one in made_for(ministack, name)] == ["PendingDeletion"]


def test_a_key_is_made_once_where_no_answer_comes(ministack: str, tmp_path: Path) -> None:
    with between(ministack) as proxy:
        name, uri = alias(ministack, proxy)
        asked = iter(range(100))
        proxy.faults.append(Fault(What.LOSE_REPLY, lambda *_: next(asked) == 1, 1))
        done = run("keys", "generate", "sign", uri, cwd=tmp_path)
    assert done.returncode == 20
    assert "look whether" in done.stderr
    assert len(made_for(ministack, name)) == 1


def test_a_deleted_key_that_is_kept_is_told_as_that(azure: Vault, tmp_path: Path) -> None:
    said = "Key churn is currently in a deleted but recoverable state"
    kept = Refusal(status=409, code="Conflict", message=said, inner="ObjectIsDeletedButRecoverable")
    azure.refuses = lambda verb, _: kept if verb == "create" else None
    with pytest.raises(KeyServiceError) as caught:
        registry.generate(azure.uri("churn"), tmp_path, None, Wanted(use="sign"))
    assert caught.value.reason == "output-exists"
    assert "az keyvault key recover" in str(caught.value.fix)


def test_another_vaults_answer_to_a_request_to_make_a_key_is_refused(
    azure: Vault, tmp_path: Path
) -> None:
    def edits(verb: str, answer: dict[str, Any]) -> dict[str, Any]:
        answer["key"]["kid"] = f"https://{HOST}/keys/other/{1:032x}"
        return answer

    azure.edits = edits
    with pytest.raises(KeyServiceError) as caught:
        registry.generate(azure.uri("churn"), tmp_path, None, Wanted(use="sign"))
    assert caught.value.reason == "wrong-key"


def test_a_key_ring_that_is_not_there_is_told_with_how_to_make_it(
    google: GoogleKms, tmp_path: Path
) -> None:
    uri = google.uri(f"{RING}/churn").replace("keyRings/models", "keyRings/none")
    with pytest.raises(KeyServiceError) as caught:
        registry.generate(uri, tmp_path, None, Wanted(use="sign"))
    assert "gcloud kms keyrings create none --location europe-west3" in str(caught.value.fix)
