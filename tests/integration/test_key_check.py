"""`keys check`: what services tell of keys, what is wrong with them, and what nobody tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sovgate.keys.awskms import description
from sovgate.pipeline.look.keys import generate
from sovgate.records import GRADE
from tests import openbao, servers
from tests.azurevault import Vault, azure_vault
from tests.commands import Done, run
from tests.conformance.keys import kms_key
from tests.conformance.troubles import unused_port
from tests.faultproxy import Fault, What, between
from tests.googlekms import GoogleKms, google_kms
from tests.lyingbao import Asked, Told, lying


@pytest.fixture
def google() -> Iterator[GoogleKms]:
    with google_kms() as made:
        yield made


@pytest.fixture
def azure() -> Iterator[Vault]:
    with azure_vault() as made:
        yield made


def project(folder: Path, region: str, **keys: str) -> Path:
    lines = ["version: 1", "model: churn", "zones:", "  eu:", f"    region: {region}", "    keys:"]
    lines += [f"      {name.replace('_', '-')}: {json.dumps(uri)}" for name, uri in keys.items()]
    (folder / "sovgate.yaml").write_text("\n".join(lines) + "\n")
    return folder


def asked(*words: object, cwd: Path, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    done = run("keys", "check", *words, "--format", "json", cwd=cwd, **variables)
    return done.returncode, json.loads(done.stdout)["keys"]


def one(uri: str, region: str, folder: Path, **more: str) -> tuple[int, dict[str, Any]]:
    code, found = asked(cwd=project(folder, region, sign=uri, **more))
    return code, found[0]


def reasons(found: dict[str, Any]) -> list[str]:
    return [finding["reason"] for finding in found["findings"]]


# -- what each service tells


def test_google_tells_protection_origin_and_age(google: GoogleKms, tmp_path: Path) -> None:
    name = google.make("EC_SIGN_P256_SHA256", level="HSM")
    google.keys[name].versions[0].job = "projects/p/locations/l/keyRings/r/importJobs/j"
    code, found = one(google.uri(name), "gcp:europe-west3", tmp_path)
    told = found["facts"]
    assert code == 0, found
    assert (told["hsm"], told["protection"]) == (True, "protection level HSM")
    assert (told["origin"], told["version"]) == ("imported", "1")
    assert told["version-created"] == "2025-10-09T08:53:20Z"
    assert (told["region"], told["region-grade"]) == ("gcp:europe-west3", "declared")
    assert told["replicas"] == []
    assert "brought there" in found["notes"][0]


def test_google_tells_when_a_symmetric_key_rotates(google: GoogleKms, tmp_path: Path) -> None:
    name = google.make("GOOGLE_SYMMETRIC_ENCRYPTION")
    google.keys[name].rotates = (7_776_000, 1_900_000_000)
    code, (found,) = asked(cwd=project(tmp_path, "gcp:europe-west3", encrypt=google.uri(name)))
    told = found["facts"]
    assert code == 0
    assert (told["rotates"], told["next-rotation"]) == (True, "2030-03-17T17:46:40Z")
    assert (told["hsm"], told["key-id"]) == (False, None)


def test_a_version_whose_destruction_is_scheduled_is_20(google: GoogleKms, tmp_path: Path) -> None:
    name = google.make("EC_SIGN_P256_SHA256")
    google.keys[name].versions[0].state = 4  # DESTROY_SCHEDULED
    code, found = one(google.uri(f"{name}/cryptoKeyVersions/1"), "gcp:europe-west3", tmp_path)
    assert (code, reasons(found)) == (20, ["key-disabled"])
    assert found["facts"]["state"] == "pending-deletion"


def test_azure_tells_the_platform_and_when_a_version_is_replaced(
    azure: Vault, tmp_path: Path
) -> None:
    name = azure.make("EC-HSM", "P-256")
    azure.keys[name].rotates = "P18M"
    azure.keys[name].attributes = {"exp": 4_000_000_000}
    code, found = one(azure.uri(name), "azure:germanywestcentral", tmp_path)
    told = found["facts"]
    assert code == 0
    assert told["protection"] == "type EC-HSM, HSM platform 2 (FIPS 140-3 level 3)"
    assert (told["hsm"], told["exportable"]) == (True, False)
    assert told["next-rotation"] == "2027-04-09T08:53:20Z"
    assert told["ends"] == "2096-10-02T07:06:40Z"
    # A vault tells none of these, and nothing is put in their place.
    assert [told[name] for name in ("origin", "created", "region", "replicas")] == [None] * 4


def test_an_expired_key_is_20(azure: Vault, tmp_path: Path) -> None:
    name = azure.make("EC", "P-256")
    azure.keys[name].attributes = {"exp": 1_700_000_000}
    code, found = one(azure.uri(name), "azure:germanywestcentral", tmp_path)
    assert (code, reasons(found), found["facts"]["state"]) == (20, ["key-disabled"], "expired")
    assert "2023-11-14" in found["findings"][0]["why"]


def test_openbao_tells_whose_secret_half_leaves_it(tmp_path: Path) -> None:
    bao = openbao.here()
    name = bao.key("ecdsa-p256", exportable=True, auto_rotate_period="720h")
    code, found = one(bao.uri(name), "aws:eu-central-1", tmp_path)
    told = found["facts"]
    assert code == 0, found
    assert (told["hsm"], told["exportable"], told["rotates"]) == (False, True, True)
    assert told["next-rotation"] > told["version-created"] == told["created"]
    assert "can be exported" in found["notes"][0]


def test_read_is_all_that_a_token_needs_to_check(tmp_path: Path) -> None:
    bao = openbao.here()
    name = bao.key("ecdsa-p256")
    where = project(tmp_path, "aws:eu-central-1", sign=bao.uri(name))
    code, _ = asked(cwd=where, BAO_TOKEN=bao.given((f"transit/keys/{name}", "read")))
    assert code == 0
    code, (found,) = asked(cwd=where, BAO_TOKEN=bao.given((f"transit/sign/{name}", "update")))
    assert (code, reasons(found), found["facts"]) == (20, ["access-denied"], None)


def test_aws_tells_what_only_aws_itself_may_be_believed(ministack: str, tmp_path: Path) -> None:
    """A stand-in that says AWS_KMS is no HSM: the documentation is about AWS's own."""
    code, found = one(kms_key(ministack, "ECC_NIST_P256"), "aws:eu-central-1", tmp_path)
    told = found["facts"]
    assert code == 0, found
    assert (told["origin"], told["hsm"]) == ("service", None)
    assert (told["rotates"], told["replicas"]) == (False, [])


def test_what_these_credentials_may_not_ask_is_not_told(ministack: str, tmp_path: Path) -> None:
    key = kms_key(ministack, "SYMMETRIC_DEFAULT")
    with between(ministack) as proxy:
        first = iter([True])  # which asks what the key is
        proxy.faults.append(Fault(What.DENY, lambda *_: not next(first, False), 2))
        uri = f"awskms://127.0.0.1:{proxy.server_port}/arn{key.partition('/arn')[2]}"
        done = run("keys", "check", uri, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "kms:GetKeyRotationStatus" in done.stderr
    assert "rotates       not told" in done.stdout


def test_a_key_with_a_copy_outside_of_its_zone_is_12(ministack: str, tmp_path: Path) -> None:
    key = kms_key(ministack, "ECC_NIST_P256")
    copies = {
        "MultiRegion": True,
        "MultiRegionConfiguration": {
            "MultiRegionKeyType": "PRIMARY",
            "PrimaryKey": {"Arn": "a", "Region": "eu-central-1"},
            "ReplicaKeys": [{"Arn": "b", "Region": "us-east-1"}],
        },
    }

    def edits(answer: bytes) -> bytes:
        told = json.loads(answer)
        if "KeyMetadata" in told:
            told["KeyMetadata"] |= copies
        return json.dumps(told).encode()

    with between(ministack) as proxy:
        proxy.edits("POST", edits)
        uri = f"awskms://127.0.0.1:{proxy.server_port}/arn{key.partition('/arn')[2]}"
        code, found = one(uri, "aws:eu-central-1", tmp_path)
    assert (code, reasons(found)) == (12, ["key-elsewhere"])
    assert found["facts"]["replicas"] == ["aws:us-east-1"]
    assert "us-east-1" in found["findings"][0]["why"]


def test_a_real_replica_is_found_from_either_side(moto: str, tmp_path: Path) -> None:
    """moto copies a multi-Region key as KMS does."""
    sdk = servers.sdk("kms", moto)
    more = {"KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": True}
    made = sdk.create_key(KeySpec="SYMMETRIC_DEFAULT", **more)["KeyMetadata"]
    sdk.replicate_key(KeyId=made["KeyId"], ReplicaRegion="us-east-1")
    for region, there in (("eu-central-1", "us-east-1"), ("us-east-1", "eu-central-1")):
        arn = made["Arn"].replace("eu-central-1", region)
        uri = f"awskms://{moto.removeprefix('http://')}/{arn}"
        code, (found,) = asked(cwd=project(tmp_path, f"aws:{region}", encrypt=uri))
        assert (code, reasons(found)) == (12, ["key-elsewhere"])
        assert found["facts"]["replicas"] == [f"aws:{there}"]


@pytest.mark.parametrize(
    ("origin", "grade", "hsm"),
    [
        ("AWS_KMS", "api", True),
        ("EXTERNAL", "api", True),
        ("AWS_CLOUDHSM", "declared", True),
        ("AWS_KMS", "declared", None),
        ("EXTERNAL_KEY_STORE", "api", None),
    ],
)
def test_aws_s_documentation_counts_for_aws_alone(
    origin: str, grade: str, hsm: bool | None
) -> None:
    """No account is at hand: what is decided of an answer of AWS's own is asked by itself."""
    key: Any = SimpleNamespace(origin=origin, grade=GRADE[grade])
    assert description._protection(key).hsm is hsm


def test_a_key_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    generate("sign", out=tmp_path / "k.pem")
    code, found = one("file:k.pem", "aws:eu-central-1", tmp_path, sign_public="k.pub.pem")
    told = found["facts"]
    assert code == 0
    assert told["protection"] == "software, a private key file of mode 0600"
    assert (told["hsm"], told["exportable"], told["origin"]) == (False, True, None)
    assert found["public-half-pinned"] is True


def test_an_encrypted_key_file_is_not_opened_for_it(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    hidden = form.BestAvailableEncryption(b"canary")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, hidden)
    (tmp_path / "k.pem").write_bytes(pem)
    code, found = one("file:k.pem", "aws:eu-central-1", tmp_path)
    assert (code, found["facts"]["key-id"]) == (0, None)
    assert "encrypted with a passphrase" in found["facts"]["protection"]


# -- what is wrong


def test_another_public_half_than_the_pinned_one_is_20(google: GoogleKms, tmp_path: Path) -> None:
    generate("sign", out=tmp_path / "old.pem")
    uri = google.uri(google.make("EC_SIGN_P256_SHA256"))
    code, found = one(uri, "gcp:europe-west3", tmp_path, sign_public="old.pub.pem")
    assert (code, reasons(found)) == (20, ["wrong-key"])
    assert found["public-half-pinned"] is False
    assert found["findings"][0]["where"] == "sovgate.yaml:7:7"


def test_a_key_that_is_asked_to_be_in_an_hsm_and_is_not_is_20(azure: Vault, tmp_path: Path) -> None:
    uri = azure.uri(azure.make("EC", "P-256"), protection="hsm")
    code, found = one(uri, "azure:germanywestcentral", tmp_path)
    assert (code, reasons(found)) == (20, ["protection-level"])
    assert found["facts"]["hsm"] is False


def test_a_service_that_does_not_answer_is_no_pass(google: GoogleKms, tmp_path: Path) -> None:
    name = google.make("EC_SIGN_P256_SHA256")
    gone = f"gcpkms://{name}?address=http://127.0.0.1:{unused_port()}"
    wrap = google.uri(google.make("RSA_DECRYPT_OAEP_2048_SHA256"))
    where = project(tmp_path, "gcp:europe-west3", sign=gone, encrypt=wrap)
    code, found = asked(cwd=where)
    assert code == 20
    assert [one["facts"] is None for one in found] == [True, False]
    assert (reasons(found[0]), reasons(found[1])) == (["no-answer"], [])


def test_a_key_for_another_use_is_3(google: GoogleKms, tmp_path: Path) -> None:
    uri = google.uri(google.make("RSA_DECRYPT_OAEP_2048_SHA256"))
    code, found = one(uri, "gcp:europe-west3", tmp_path)
    assert (code, reasons(found)) == (3, ["unsupported-key-use"])


@pytest.mark.parametrize(
    ("use", "kind"),
    [("sign", "EC_SIGN_SECP256K1_SHA256"), ("encrypt", "RSA_DECRYPT_OAEP_4096_SHA512")],
)
def test_a_kind_that_nothing_of_ours_uses_is_3(
    google: GoogleKms, tmp_path: Path, use: str, kind: str
) -> None:
    where = project(tmp_path, "gcp:europe-west3", **{use: google.uri(google.make(kind))})
    code, (found,) = asked(cwd=where)
    assert (code, reasons(found)) == (3, ["unsupported-key-use"])


def test_an_rsa_key_that_its_vault_lets_sign_signs_nothing_here(
    azure: Vault, tmp_path: Path
) -> None:
    code, found = one(azure.uri(azure.make("RSA", "2048")), "azure:germanywestcentral", tmp_path)
    assert (code, reasons(found)) == (3, ["unsupported-key-use"])


def test_a_version_that_no_signature_could_be_made_with_is_no_pass(tmp_path: Path) -> None:
    """Pinned too high, or shut since; and a key that is another for each context."""
    bao = openbao.here()
    name = bao.key("ecdsa-p256")
    bao.rotate(name)
    code, found = one(bao.uri(name, version=1), "aws:eu-central-1", tmp_path)
    assert (code, found["findings"]) == (0, [])
    bao.configure(name, min_encryption_version=2)
    code, found = one(bao.uri(name, version=1), "aws:eu-central-1", tmp_path)
    assert (code, reasons(found)) == (20, ["key-disabled"])
    code, found = one(bao.uri(name, version=5), "aws:eu-central-1", tmp_path)
    assert (code, reasons(found)) == (20, ["key-version"])
    derived = bao.uri(bao.key("aes256-gcm96", derived=True))
    code, (found,) = asked(cwd=project(tmp_path, "aws:eu-central-1", encrypt=derived))
    assert (code, reasons(found)) == (3, ["unsupported-key-use"])


def test_a_placeholder_and_a_file_that_is_not_there_are_3(tmp_path: Path) -> None:
    place = "awskms:///arn:aws:kms:eu-central-1:ACCOUNT:key/KEY-ID"
    where = project(tmp_path, "aws:eu-central-1", sign=place, encrypt="file:gone.pem")
    code, found = asked(cwd=where)
    assert code == 3
    assert [finding["exit"] for one in found for finding in one["findings"]] == [3, 3]


def test_a_key_that_was_rotated_too_early_goes_on_by_its_earlier_version(tmp_path: Path) -> None:
    bao = openbao.here()
    name = bao.key("ecdsa-p256")
    where = project(tmp_path, "aws:eu-central-1", sign=bao.uri(name), sign_public="s.pub.pem")
    given = {"BAO_TOKEN": bao.token}
    run("keys", "show", bao.uri(name), "-o", "s.pub.pem", cwd=where, **given)
    bao.rotate(name)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.bin").write_text("weights")
    words = ("sign", "model", "--zone", "eu")
    code, (found,) = asked(cwd=where, **given)
    assert (code, reasons(found), found["public-half-pinned"]) == (20, ["wrong-key"], False)
    assert "name the key's earlier version" in found["findings"][0]["fix"]
    assert "name the key's earlier version" in run(*words, cwd=where, **given).stderr
    project(tmp_path, "aws:eu-central-1", sign=bao.uri(name, version=1), sign_public="s.pub.pem")
    assert asked(cwd=where, **given)[0] == 0
    assert run(*words, cwd=where, **given).returncode == 0


def test_a_half_that_is_not_there_is_not_told_as_the_pinned_one(tmp_path: Path) -> None:
    bao = openbao.here()
    uri = bao.uri(bao.key("ecdsa-p256"))
    code, found = one(uri, "aws:eu-central-1", tmp_path, sign_public="gone.pub.pem")
    assert (code, reasons(found), found["public-half-pinned"]) == (3, ["missing-file"], None)
    assert "the pinned one" not in run("keys", "check", uri, cwd=tmp_path).stdout


def test_a_project_without_keys_is_3_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "sovgate.yaml").write_text(
        "version: 1\nmodel: churn\nzones:\n  eu: {region: 'aws:eu-central-1'}\n"
    )
    done = run("keys", "check", cwd=tmp_path)
    assert done.returncode == 3
    assert "no key to ask about" in done.stderr


RUBBISH: tuple[Any, ...] = (None, [], {}, "x" * 5000, -1, (1 << 53) - 1, True, 0.5, "\u202e\x1b[2J")


@pytest.mark.parametrize("value", RUBBISH, ids=[str(n) for n in range(len(RUBBISH))])
def test_a_vault_that_tells_rubbish_ends_no_run_and_fills_in_no_fact(
    azure: Vault, tmp_path: Path, value: Any
) -> None:
    name = azure.make("EC", "P-256")
    fields = ("exp", "nbf", "created", "hsmPlatform", "exportable")

    def edits(verb: str, answer: dict[str, Any]) -> dict[str, Any]:
        if verb == "rotationpolicy":
            return {
                "lifetimeActions": [
                    value,
                    {"action": value, "trigger": value},
                    {"action": {"type": "rotate"}, "trigger": {"timeAfterCreate": value}},
                ]
            }
        answer["attributes"] |= dict.fromkeys(fields, value)
        answer["key"]["key_ops"] = value
        return answer

    azure.edits = edits
    where = project(tmp_path, "azure:germanywestcentral", sign=azure.uri(name))
    done = run("keys", "check", cwd=where)
    assert done.returncode == 3  # it may not sign: no operation is named
    assert "\x1b" not in done.stdout and len(done.stdout) < 4000
    told = json.loads(run("keys", "check", "--format", "json", cwd=where).stdout)["keys"][0][
        "facts"
    ]
    assert (told["next-rotation"], told["ends"]) == (None, None)
    assert told["protection"] == "type EC"
    assert told["exportable"] in (None, True)


@pytest.mark.parametrize("value", RUBBISH, ids=[str(n) for n in range(len(RUBBISH))])
def test_an_engine_that_tells_rubbish_of_times_fills_in_none(tmp_path: Path, value: Any) -> None:
    bao = openbao.here()
    name = bao.key("ecdsa-p256")

    def lie(asked: Asked, told: Told) -> Told:
        body = json.loads(told.body)
        data = body.get("data") or {}
        if "keys" in data:
            names = ("auto_rotate_period", "imported_key", "exportable", "allow_plaintext_backup")
            data |= dict.fromkeys(names, value)
            data["keys"]["1"]["creation_time"] = value
        return Told(status=told.status, body=json.dumps(body).encode())

    with lying(bao.url, lie) as server:
        uri = replace(bao, url=f"http://127.0.0.1:{server.server_port}").uri(name)
        code, found = one(uri, "aws:eu-central-1", tmp_path)
    told = found["facts"]
    assert code == 0, found
    assert (told["created"], told["version-created"], told["next-rotation"]) == (None, None, None)
    assert told["origin"] == ("imported" if value is True else None)
    assert told["exportable"] is (True if value is True else None)


# -- as a person sees it


def test_keys_stand_in_a_table_and_one_key_in_full(
    google: GoogleKms, ministack: str, tmp_path: Path
) -> None:
    name = google.make("EC_SIGN_P256_SHA256", level="HSM")
    where = project(
        tmp_path,
        "gcp:europe-west3",
        sign=google.uri(name),
        encrypt=google.uri(google.make("GOOGLE_SYMMETRIC_ENCRYPTION")),
    )
    done: Done = run("keys", "check", cwd=where)
    head, first, second = (line.split() for line in done.stdout.splitlines()[1:4])
    assert head[:4] == ["key", "state", "kind", "kept"]
    assert first[:5] == ["eu", "sign", "enabled", "ec-p256", "HSM"]
    assert second[:5] == ["eu", "encrypt", "enabled", "symmetric", "software"]
    assert max(map(len, done.stdout.splitlines())) <= 80
    detailed = run("keys", "check", "-v", cwd=where).stdout
    assert "rotates" in detailed and "by hand" in detailed
    page = (Path(__file__).parents[2] / "docs/keys.md").read_text("utf-8")
    told = json.loads(run("keys", "check", "--format", "json", cwd=where).stdout)["keys"][0]
    assert [name for name in (*told, *told["facts"]) if f"`{name}`" not in page] == []
    alone = run("keys", "check", kms_key(ministack, "ECC_NIST_P384"), cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    said = {line[2:15].strip(): line[16:].strip() for line in alone.stdout.splitlines()[1:]}
    assert said["state"] == "enabled"
    assert said["kept in"].startswith("not told (origin AWS_KMS")
    assert said["public half"].endswith("not compared")
