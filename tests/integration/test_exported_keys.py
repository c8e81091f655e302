"""The public half of a zone's key as that zone signed it: made, named in a project, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate.formats import publickey
from sovgate.formats.publickey import ZonePublicKey
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.stages.seal import seal
from tests.crossing import Crossing, make_crossing, tree
from tests.googlekms import google_kms

FILE = "keys/eu-encrypt.json"
PEM = "encrypt-public: keys/eu-enc.pub.pem"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


def exported(crossing: Crossing, use: str = "encrypt", zone: str = "eu", out: str = FILE) -> None:
    crossing.json("keys", "export", use, "--zone", zone, "-o", out)


def said(crossing: Crossing, **changes: object) -> ZonePublicKey:
    """What the file says, changed."""
    found = publickey.read((crossing.base / FILE).read_bytes())
    assert found is not None
    return ZonePublicKey(**{**vars(found[1]), **changes})


def test_a_sender_encrypts_by_a_key_that_its_zone_signed(crossing: Crossing) -> None:
    crossing.edit(PEM, f"encrypt-public: {FILE}, sign-public: keys/eu-sign.json")
    exported(crossing, "sign", out="keys/eu-sign.json")  # named before it was there
    exported(crossing)
    # The sender has neither of the zone's secrets.
    moved = [crossing.base / name for name in ("keys/eu.pem", "keys/eu-enc.pem")]
    for path in moved:
        path.rename(path.with_suffix(".away"))
    pushed = crossing.push()
    for path in moved:
        path.with_suffix(".away").rename(path)
    name = f"churn/1.0.0@sha256:{pushed['manifest']}"
    crossing.json("pull", name, "--zone", "eu", "-o", "pulled")
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    shown = crossing.json("keys", "show", FILE)
    assert shown["facts"]["from"] == "file:keys/eu-enc.pem"


def test_a_key_that_was_exported_stays_and_another_is_never_written_over(
    crossing: Crossing,
) -> None:
    exported(crossing)
    before = (crossing.base / FILE).read_bytes()
    assert crossing.json("keys", "export", "encrypt", "--zone", "eu", "-o", FILE)["there"]
    assert (crossing.base / FILE).read_bytes() == before
    generate("encrypt", out=crossing.base / "keys/other.pem")
    crossing.edit("encrypt: keys/eu-enc.pem", "encrypt: keys/other.pem")
    code, text = crossing.run("keys", "export", "encrypt", "--zone", "eu", "-o", FILE)
    assert (code, "already exists" in text) == (2, True), text
    assert (crossing.base / FILE).read_bytes() == before


FORGERIES = {
    "signed by the sender": ("keys/home.pem", {}, "wrong-signer"),
    "of another zone": ("keys/eu.pem", {"zone": "home"}, "wrong-zone"),
    "to sign": ("keys/eu.pem", {"use": "sign"}, "wrong-use"),
    "of another key of the zone": ("keys/eu.pem", {"source": "file:keys/old.pem"}, "wrong-source"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_key_that_the_zone_did_not_tell_of_itself_is_encrypted_for_by_nobody(
    crossing: Crossing, name: str
) -> None:
    key, changes, reason = FORGERIES[name]
    exported(crossing)
    changed = said(crossing)
    if "source" in changes:
        source = type(changed.source)(**{**vars(changed.source), "uri": changes["source"]})
        changes = {"source": source}
    forged = ZonePublicKey(**{**vars(changed), **changes})
    signer = registry.open_signer(key, crossing.base)
    (crossing.base / FILE).write_bytes(seal(forged.statement(), signer))
    crossing.edit(PEM, f"encrypt-public: {FILE}")
    told = crossing.push(code=11)
    assert told["error"]["reason"] == reason
    assert told["error"]["where"]["line"]
    assert not (crossing.base / "eu-store/releases").exists()


def test_no_byte_of_the_file_can_be_another(crossing: Crossing) -> None:
    exported(crossing)
    crossing.edit(PEM, f"encrypt-public: {FILE}")
    data = (crossing.base / FILE).read_bytes()
    for at in (0, 40, len(data) // 2, len(data) - 80, len(data) - 1):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for bad in (changed, data[:at], data + b"\n"):
            (crossing.base / FILE).write_bytes(bad)
            code, text = crossing.run("encrypt", crossing.model, "--to", "eu", "-o", "out")
            assert code in (3, 11), text  # what does not begin as one is no key at all
            assert not (crossing.base / "out").exists()
    # What shows without asking who signed it, lint says too.
    (crossing.base / FILE).write_bytes(data[:-40])
    code, text = crossing.run("lint")
    assert (code, "keys export" in text) == (3, True), text


@pytest.mark.parametrize("before", [b"", b'{"dsse\\u0045nvelope": 1}\n'], ids=["PEM", "JSON, PEM"])
def test_who_carries_the_file_cannot_put_a_key_of_theirs_in_its_place(
    crossing: Crossing, before: bytes
) -> None:
    """A PEM file is signed by nobody. Under the name of a file that is, it is not taken."""
    exported(crossing)
    crossing.edit(PEM, f"encrypt-public: {FILE}")
    crossing.edit("encrypt: keys/eu-enc.pem, ", "")
    generate("encrypt", out=crossing.base / "keys/evil.pem")
    (crossing.base / FILE).write_bytes(before + (crossing.base / "keys/evil.pub.pem").read_bytes())
    assert crossing.push(code=11)["error"]["reason"] == "wrong-name"
    code, text = crossing.run("encrypt", crossing.model, "--to", "eu", "-o", "out")
    assert (code, (crossing.base / "out").exists()) == (11, False), text


def test_a_name_that_would_let_a_pem_in_is_given_to_no_exported_key(crossing: Crossing) -> None:
    told = crossing.json("keys", "export", "encrypt", "--zone", "eu", "-o", "k.pem", code=2)
    assert (told["error"]["reason"], (crossing.base / "k.pem").exists()) == ("wrong-name", False)
    assert "-o k.json" in told["error"]["fix"]
    exported(crossing)
    (crossing.base / FILE).rename(crossing.base / "k.pem")
    crossing.edit(PEM, "encrypt-public: k.pem")
    assert crossing.push(code=11)["error"]["reason"] == "wrong-name"


@pytest.mark.parametrize("words", ["generate sign", "show keys/eu-enc.pub.pem"])
def test_no_command_writes_a_pem_that_would_be_refused_for_its_name(
    crossing: Crossing, words: str
) -> None:
    told = crossing.json("keys", *words.split(), "-o", "k.json", code=2)
    assert (told["error"]["reason"], (crossing.base / "k.json").exists()) == ("wrong-name", False)
    crossing.json("keys", *words.split(), "-o", "k.pem")


TRUST = """\
trust:
  - {{name: home-ci, key: keys/home.pub.pem, from: home, may: [signature, provenance, transfer,
     decision, audit, public-key]}}
  - {{name: eu-ci, key: keys/eu.pub.pem, from: eu, may: [receipt, decision, audit{more}]}}
  - {{name: anybody, key: keys/any.pub.pem, may: [public-key]}}
"""


@pytest.mark.parametrize(
    ("key", "more", "reason"),
    [
        ("keys/eu.pem", ", public-key", None),
        ("keys/eu.pem", "", "untrusted-role"),
        ("keys/home.pem", "", "wrong-signer"),
        ("keys/any.pem", "", "wrong-signer"),
    ],
    ids=["the zone", "not for that role", "another zone", "for any zone"],
)
def test_under_trust_the_zones_own_entry_says_its_key(
    crossing: Crossing, key: str, more: str, reason: str | None
) -> None:
    exported(crossing)
    generate("sign", out=crossing.base / "keys/any.pem")
    signer = registry.open_signer(key, crossing.base)
    (crossing.base / FILE).write_bytes(seal(said(crossing).statement(), signer))
    crossing.edit(PEM, f"encrypt-public: {FILE}")
    project = crossing.base / "sovgate.yaml"
    project.write_text(project.read_text() + TRUST.format(more=more))
    code, text = crossing.run("encrypt", crossing.model, "--to", "eu", "-o", "out")
    assert code == (0 if reason is None else 11), text


def test_a_zone_exports_nothing_that_its_own_project_would_not_believe(crossing: Crossing) -> None:
    project = crossing.base / "sovgate.yaml"
    generate("sign", out=crossing.base / "keys/any.pem")
    project.write_text(project.read_text() + TRUST.format(more=""))
    code, text = crossing.run("keys", "export", "encrypt", "--zone", "eu", "-o", FILE)
    assert (code, "public-key" in text) == (3, True), text
    assert not (crossing.base / FILE).exists()


def test_a_key_to_sign_is_told_by_itself_alone(crossing: Crossing) -> None:
    """The sender's own key in the zone's name would let it write the zone's receipts."""
    exported(crossing, "sign", out="keys/eu-sign.json")
    found = publickey.read((crossing.base / "keys/eu-sign.json").read_bytes())
    assert found is not None
    other = registry.open_signer("keys/home.pem", crossing.base)
    (crossing.base / "keys/eu-sign.json").write_bytes(seal(found[1].statement(), other))
    crossing.edit("sign: keys/eu.pem", "sign: keys/eu.pem, sign-public: keys/eu-sign.json")
    assert crossing.push(code=11)["error"]["reason"] == "bad-signature"


def test_what_is_exported_tells_the_version_and_nothing_of_how_it_is_reached(
    crossing: Crossing,
) -> None:
    with google_kms() as kms:
        rsa = kms.make("RSA_DECRYPT_OAEP_3072_SHA256", level="HSM")
        symmetric = kms.make("GOOGLE_SYMMETRIC_ENCRYPTION")
        crossing.edit("region: aws-eusc:eusc-de-east-1", "region: gcp:europe-west3")
        named = kms.uri(rsa, protection="hsm")
        crossing.edit("encrypt: keys/eu-enc.pem", f'encrypt: "{named}"')
        exported(crossing)
        source = said(crossing).source
        assert source.uri == kms.uri(rsa)
        assert (source.version, source.name) == ("1", f"{rsa}/cryptoKeyVersions/1")
        assert source.region == "gcp:europe-west3"
        assert dict(source.facts)["protection level"] == "HSM"
        crossing.edit(named, kms.uri(symmetric))
        told = crossing.json("keys", "export", "encrypt", "--zone", "eu", "-o", "k.json", code=2)
        assert told["error"]["reason"] == "no-public-half"
        assert not (crossing.base / "k.json").exists()


def test_a_zone_that_decrypts_with_another_key_than_it_pins_says_so(crossing: Crossing) -> None:
    pushed = crossing.push()
    generate("encrypt", out=crossing.base / "keys/new.pem")
    crossing.edit("encrypt: keys/eu-enc.pem", "encrypt: keys/new.pem")
    told = crossing.json(
        "pull", f"churn/1.0.0@sha256:{pushed['manifest']}", "--zone", "eu", "-o", "out", code=20
    )
    assert told["error"]["reason"] == "wrong-key"
    assert "does not belong to keys/eu-enc.pub.pem" in told["error"]["what"]
    code, text = crossing.run("doctor", "--zone", "eu")
    assert "does not belong to keys/eu-enc.pub.pem" in text
    assert code != 0
    # Its public half may be away where a pod decrypts: nothing there needs it.
    crossing.edit("encrypt: keys/new.pem", "encrypt: keys/eu-enc.pem")
    (crossing.base / "keys/eu-enc.pub.pem").unlink()
    crossing.json("pull", f"churn/1.0.0@sha256:{pushed['manifest']}", "--zone", "eu", "-o", "out")


@pytest.mark.parametrize(("zone", "code"), [("eu", 0), ("home", 11)])
def test_an_entry_of_trust_names_the_key_of_its_own_zone(
    crossing: Crossing, zone: str, code: int
) -> None:
    exported(crossing)
    exported(crossing, "sign", out="keys/eu-sign.json")
    crossing.edit(PEM, f"encrypt-public: {FILE}")
    project = crossing.base / "sovgate.yaml"
    entry = "keys/eu.pub.pem, from: eu"
    assert entry in TRUST
    trust = TRUST.replace(entry, f"keys/eu-sign.json, from: {zone}").format(more=", public-key")
    generate("sign", out=crossing.base / "keys/any.pem")
    project.write_text(project.read_text() + trust)
    found, text = crossing.run("encrypt", crossing.model, "--to", "eu", "-o", "out")
    assert (found, "another zone" in text) == (code, code != 0), text


def test_a_look_at_the_keys_finds_a_public_half_that_its_zone_did_not_sign(
    crossing: Crossing,
) -> None:
    exported(crossing)
    crossing.edit("encrypt: keys/eu-enc.pem, " + PEM, f"encrypt-public: {FILE}")
    assert crossing.json("keys", "check", "--zone", "eu")["keys"][1]["findings"] == []
    other = registry.open_signer("keys/home.pem", crossing.base)
    (crossing.base / FILE).write_bytes(seal(said(crossing).statement(), other))
    (found,) = crossing.json("keys", "check", "--zone", "eu", code=11)["keys"][1]["findings"]
    assert found["reason"] == "wrong-signer"
