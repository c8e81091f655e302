"""A model across a border through a bucket and KMS keys, by the commands; and each wrong turn."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate.formats.spki import PublicKey
from sovgate.keys import registry
from tests import servers
from tests.conformance.keys import kms_key
from tests.crossing import YAML, Crossing, make_crossing, tree
from tests.faultproxy import Fault, FaultProxy, What, between

CENTRAL = "aws:eu-central-1"


def cloud(
    tmp: Path,
    s3: str,
    kms: str,
    *,
    through: str = "",
    region: str = "eu-central-1",
    recipient: str = "SYMMETRIC_DEFAULT",
) -> Crossing:
    """`s3`, `kms`: the servers; `through`: what the store's URI names in place of the first."""
    crossing = make_crossing(tmp / "project")
    bucket = servers.bucket(s3, region)
    keys = {
        "sign": kms_key(kms, "ECC_NIST_P256"),
        "encrypt": kms_key(kms, recipient),
    }
    public: PublicKey = registry.open_public(keys["sign"], tmp, CENTRAL)
    (crossing.base / "keys" / "eu-kms.pub.pem").write_bytes(public.pem)
    here = YAML.replace("aws-eusc:eusc-de-east-1", CENTRAL)
    here = here.replace("keys/eu.pem", f'"{keys["sign"]}"')
    here = here.replace("encrypt: keys/eu-enc.pem", f'encrypt: "{keys["encrypt"]}"')
    here = here.replace(", encrypt-public: keys/eu-enc.pub.pem", "")
    store = f"s3://{bucket}/{secrets.token_hex(8)}?endpoint={through or s3}"
    here = here.replace("store: eu-store", f'store: "{store}"')
    (crossing.base / "sovgate.yaml").write_text(here)
    return crossing


@pytest.fixture
def proxy(seaweedfs: str) -> Iterator[FaultProxy]:
    with between(seaweedfs) as made:
        yield made


@pytest.mark.parametrize("recipient", ["SYMMETRIC_DEFAULT", "RSA_4096"])
def test_a_model_crosses_through_a_bucket_with_keys_in_kms(
    tmp_path: Path, seaweedfs: str, ministack: str, recipient: str
) -> None:
    crossing = cloud(tmp_path, seaweedfs, ministack, recipient=recipient)
    pushed = crossing.push()
    pulled = crossing.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    assert pulled["record"] == pushed["record"]
    again = crossing.push()
    assert again["already"] is True
    code, said = crossing.run("audit", "verify", "--zone", "eu", "--against", pulled["audit-head"])
    assert code == 0, said


def test_a_bucket_elsewhere_is_12_and_nothing_is_written(
    tmp_path: Path, moto: str, ministack: str
) -> None:
    crossing = cloud(tmp_path, moto, ministack, region="eu-west-1")
    said = crossing.push(code=12)
    assert said["error"]["reason"] == "store-elsewhere"
    uri = (crossing.base / "sovgate.yaml").read_text().split('store: "s3://')[1].split("?")[0]
    bucket, _, prefix = uri.partition("/")
    left = servers.sdk("s3", moto).list_objects_v2(Bucket=bucket, Prefix=prefix)
    assert not left.get("Contents")


def moves(proxy: FaultProxy, after: int) -> None:
    """The bucket answers that it is in Virginia, once it was asked so often where it is."""
    asked = 0

    def again(method: str, path: str) -> bool:
        nonlocal asked
        asked += method == "GET" and path.endswith("?location")
        return method == "GET" and path.endswith("?location") and asked > after

    fault = Fault(What.EDIT_REPLY, again, times=1000)
    fault.edit = lambda data: data.replace(b"eu-central-1", b"us-west-2")
    proxy.faults.append(fault)


def test_a_bucket_that_moves_during_a_push_or_a_pull_is_12(
    tmp_path: Path, moto: str, ministack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was where it should be when the first byte left: then no key and no record follows; and
    what was opened in a zone gets no name."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with between(moto) as proxy:
        crossing = cloud(tmp_path, moto, ministack, through=proxy.url)
        moves(proxy, after=1)
        said = crossing.push(code=12)
        assert said["error"]["reason"] == "store-elsewhere"
        written = [path for method, path in proxy.seen if method == "PUT"]
        assert [path for path in written if "/chunks/" in path]
        assert not [path for path in written if "/objects/" in path or "/releases/" in path]
        assert not list((tmp_path / "state").rglob("entries")), "keys that nobody is to have"
        proxy.faults.clear()
        pinned = f"churn/1.0.0@sha256:{crossing.push()['manifest']}"
        moves(proxy, after=1)
        assert crossing.pull(release=pinned, code=12)["error"]["reason"] == "store-elsewhere"
        assert not (crossing.base / "pulled").exists()
        proxy.faults.clear()
        crossing.pull(release=pinned)
        assert tree(crossing.base / "pulled") == tree(crossing.model)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_redirect_is_12(
    tmp_path: Path, proxy: FaultProxy, seaweedfs: str, ministack: str, method: str
) -> None:
    crossing = cloud(tmp_path, seaweedfs, ministack, through=proxy.url)
    proxy.fault(What.REDIRECT, method, "", 1000)
    assert crossing.push(code=12)["error"]["reason"] == "redirected"


def test_a_store_that_ignores_create_only_is_21(tmp_path: Path, moto: str, ministack: str) -> None:
    with between(moto) as proxy:
        crossing = cloud(tmp_path, moto, ministack, through=proxy.url)
        proxy.fault(What.IGNORE_CONDITION, "PUT", "", 1000)
        assert crossing.push(code=21)["error"]["reason"] == "not-create-only"
        assert not [path for _, path in proxy.seen if "/chunks/" in path]


def test_lost_replies_on_every_write_are_success(
    tmp_path: Path, proxy: FaultProxy, seaweedfs: str, ministack: str
) -> None:
    """One answer in a row of each name is lost; the release is there once, and whole."""
    crossing = cloud(tmp_path, seaweedfs, ministack, through=proxy.url)
    proxy.fault(What.LOSE_REPLY, "PUT", "releases/", 1)
    proxy.fault(What.LOSE_REPLY, "PUT", "sequences/", 1)
    proxy.fault(What.LOSE_REPLY, "PUT", "chunks/", 1)
    proxy.fault(What.LOSE_REPLY, "PUT", "objects/", 2)
    pushed = crossing.push()
    assert pushed["sequence"] == 1
    crossing.pull(release=f"churn/1.0.0@sha256:{pushed['manifest']}")
    assert tree(crossing.base / "pulled") == tree(crossing.model)


def test_a_service_that_is_down_is_21_and_the_next_run_finishes(
    tmp_path: Path, proxy: FaultProxy, seaweedfs: str, ministack: str
) -> None:
    crossing = cloud(tmp_path, seaweedfs, ministack, through=proxy.url)
    proxy.fault(What.DENY, "PUT", "releases/", 1000)
    said = crossing.push(code=21)
    assert said["error"]["reason"] == "access-denied"
    assert "s3:PutObject" in said["error"]["why"]
    proxy.faults.clear()
    assert crossing.push()["already"] is False
    crossing.pull()


def test_an_alias_repointed_during_a_push_is_20(
    tmp_path: Path, seaweedfs: str, ministack: str
) -> None:
    """Someone points the zone's name for its key elsewhere while the chunks are on their way."""
    with between(seaweedfs) as proxy:
        crossing = cloud(tmp_path, seaweedfs, ministack, through=proxy.url)
        sdk = servers.sdk("kms", ministack)
        first, second = (
            kms_key(ministack, "SYMMETRIC_DEFAULT").partition("/arn:")[2] for _ in range(2)
        )
        name = f"alias/churn-{secrets.token_hex(4)}"
        sdk.create_alias(AliasName=name, TargetKeyId=f"arn:{first}")
        text = (crossing.base / "sovgate.yaml").read_text()
        start = text.index('encrypt: "') + len('encrypt: "')
        old = text[start : text.index('"', start)]
        host = ministack.removeprefix("http://")
        crossing.edit(old, f"awskms://{host}/{name}")

        class Repoint:
            """Strikes nothing: looks at what goes by, and acts once."""

            done = False

            def strikes(self, method: str, path: str) -> bool:
                if method == "PUT" and "/chunks/" in path and not self.done:
                    self.done = True
                    sdk.update_alias(AliasName=name, TargetKeyId=f"arn:{second}")
                return False

        proxy.faults.append(Repoint())  # type: ignore[arg-type]
        assert crossing.push(code=20)["error"]["reason"] == "wrong-key"
        assert not [path for method, path in proxy.seen if "/releases/" in path and method == "PUT"]


def test_a_key_outside_its_zone_is_12(tmp_path: Path, seaweedfs: str, ministack: str) -> None:
    crossing = cloud(tmp_path, seaweedfs, ministack)
    crossing.edit(f"region: {CENTRAL}", "region: aws-eusc:eusc-de-east-1")
    said = crossing.push(code=12)
    assert said["error"]["reason"] == "key-elsewhere"


def test_a_key_in_kms_is_shown_and_signs_at_the_desk(tmp_path: Path, ministack: str) -> None:
    crossing = make_crossing(tmp_path / "project")
    uri = kms_key(ministack, "ECC_NIST_P384")
    shown = crossing.json("keys", "show", uri)
    assert shown["algorithm"] == "ecdsa-p384-sha384"
    public: PublicKey = registry.open_public(uri, tmp_path)
    (crossing.base / "p384.pub.pem").write_bytes(public.pem)
    (crossing.base / "desk").mkdir()
    (crossing.base / "desk" / "w.bin").write_bytes(b"weights")
    crossing.json("sign", "desk", "--key", uri)
    crossing.json("verify", "desk", "--key", "p384.pub.pem")
    crossing.json("verify", "desk", "--key", uri)
    said = crossing.json("sign", "desk", "--key", uri + "?region=aws:us-east-1", code=3)
    assert said["error"]["reason"] == "bad-uri"


def test_a_record_that_is_none_is_named(
    tmp_path: Path, proxy: FaultProxy, seaweedfs: str, ministack: str
) -> None:
    crossing = cloud(tmp_path, seaweedfs, ministack, through=proxy.url)
    crossing.push()
    fault = proxy.fault(What.EDIT_REPLY, "GET", "releases/", 100)
    fault.edit = lambda _: b"[]"
    said = crossing.pull(code=11)["error"]
    assert "churn/1.0.0" in said["what"]
    assert "s3://" in said["what"]
    assert said["why"]
    assert said["fix"]
    assert not (crossing.base / "pulled").exists()
