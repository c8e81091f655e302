"""What the project file calls a key is looked at before a run: kind, half, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sovgate.config import read
from sovgate.errors import ConfigError
from sovgate.formats.spki import PublicKey
from sovgate.keys import registry
from sovgate.pipeline.decide.lint import lint
from sovgate.pipeline.named_keys import Unshared, doubtful, misused, refuse_misused
from tests import commands
from tests.crossing import Crossing, make_crossing, tree
from tests.signers import KeySigner

PROJECT = """\
version: 1
model: churn
zones:
  us:
    region: aws:us-east-1
    keys: {sign-public: us-sign, encrypt-public: us}
  eu:
    region: aws-eusc:eusc-de-east-1
    keys: {sign-public: eu-sign, encrypt-public: eu}
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Public halves of four keys, with one in DER's other clothes, and of kinds that do not fit."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("us-sign", "us", "eu-sign", "eu"):
        (folder / name).write_bytes(KeySigner().public_key.pem)
    (folder / "copy-of-us").write_bytes(b"# us\n" + (folder / "us").read_bytes())
    (folder / "p384").write_bytes(KeySigner(curve="p384").public_key.pem)
    private = rsa.generate_private_key(65537, 2048)
    der = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "rsa").write_bytes(PublicKey.from_der(der).pem)
    (folder / "secret.pem").touch(mode=0o600)
    (folder / "secret.pem").write_bytes(KeySigner().private_pem)
    (folder / "junk").write_text("-----BEGIN PUBLIC KEY-----\n")
    return folder


def told(keys: Path, *changes: tuple[str, str], more: str = "") -> list[tuple[str, int | None]]:
    text = PROJECT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (keys / "sovgate.yaml").write_text(text + more)
    found = list(misused(read(keys / "sovgate.yaml")))
    assert all(error.what and error.why and error.fix for error in found)
    return [(error.reason, error.where and error.where.line) for error in found]


@pytest.mark.parametrize(
    ("old", "new", "reason", "line"),
    [
        ("sign-public: eu-sign", "sign-public: rsa", "unsupported-key-use", 9),
        ("sign-public: us-sign", "sign-public: secret.pem", "private-half", 6),
        ("sign-public: us-sign", "sign-public: junk", "bad-key", 6),
        ("encrypt-public: eu}", "encrypt-public: p384}", "unsupported-key-use", 9),
        ("encrypt-public: eu}", "encrypt-public: eu-sign}", "shared-key", 9),
        ("encrypt-public: eu}", "encrypt-public: us-sign}", "shared-key", 9),
        ("encrypt-public: eu}", 'encrypt-public: "file:copy-of-us"}', "shared-key", 9),
        ("encrypt-public: eu}", "encrypt-public: secret.pem}", "private-half", 9),
        ("sign-public: us-sign, encrypt-public: us", "sign: rsa", "unsupported-key-use", 6),
    ],
)
def test_a_key_that_cannot_work_where_it_is_named(
    keys: Path, old: str, new: str, reason: str, line: int
) -> None:
    assert told(keys) == []
    assert told(keys, (old, new)) == [(reason, line)]
    if reason != "bad-key":  # which whoever opens it says
        with pytest.raises(ConfigError):
            refuse_misused(read(keys / "sovgate.yaml"))


def test_one_key_is_as_many_uses_as_are_named(keys: Path) -> None:
    """A key may sign for several zones, and `trust` names those of zones again."""
    trust = "trust:\n" + "".join(
        f"  - {{name: {name}, key: {key}, may: [signature], from: {zone}}}\n"
        for name, key, zone in (("a", "us-sign", "us"), ("b", "us-sign", "eu"))
    )
    assert told(keys, more=trust) == []
    assert told(keys, ("sign-public: eu-sign", "sign-public: us-sign")) == []
    assert told(keys, more=trust.replace("us-sign, may", "us, may", 1)) == [("shared-key", 11)]
    assert told(keys, more=trust.replace("us-sign, may", "rsa, may", 1)) == [
        ("unsupported-key-use", 11)
    ]
    gone = (("sign-public: eu-sign", "sign-public: nowhere"),)
    assert told(keys, *gone) == []  # `missing-file` says it
    kms = 'encrypt-public: "awskms:///arn:aws:kms:us-east-1:111122223333:alias/a"}'
    assert told(keys, ("encrypt-public: us}", kms)) == []


#: Of zone us, and of another one in the same region.
OTHER = """\
  ap:
    region: aws:us-east-1
    keys: {sign-public: eu-sign, encrypt-public: eu}
"""
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
MRK = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
ALIAS = "arn:aws:kms:us-east-1:111122223333:alias/churn"


def in_kms(keys: Path, mine: str, other: str, region: str = "us-east-1") -> list[object]:
    """What is said of a project with two zones, whose encryption keys are these words."""
    text = PROJECT[: PROJECT.index("  eu:")] + OTHER.replace("us-east-1", region)
    text = text.replace("encrypt-public: us}", f"{mine}}}")
    text = text.replace("encrypt-public: eu}", f"{other}}}")
    (keys / "sovgate.yaml").write_text(text)
    config = read(keys / "sovgate.yaml")
    found = list(misused(config))
    if found:
        with pytest.raises(ConfigError):
            refuse_misused(config)
    return [(error.reason, error.where and error.where.line) for error in found]


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (f'encrypt: "awskms:///{KEY}"', f'encrypt: "awskms:///{KEY}"'),
        (f'encrypt: "awskms:///{KEY}"', f'encrypt-public: "awskms:///{KEY}"'),
        # The id alone, and another way to the same service.
        (f'encrypt: "awskms:///{KEY}"', f'encrypt: "awskms:///{KEY.rpartition("/")[2]}"'),
        (
            f'encrypt: "awskms:///{KEY}"',
            f'encrypt: "awskms://vpce-1.kms.us-east-1.vpce.amazonaws.com/{KEY}"',
        ),
        (f'encrypt: "awskms:///{KEY}"', f'encrypt: "awskms:///{KEY}?profile=ops"'),
        (f'encrypt: "awskms:///{ALIAS}"', f'encrypt: "awskms:///{ALIAS}"'),
        ('encrypt: "awskms:///alias/churn"', 'encrypt: "awskms:///alias/churn"'),
        # A public file beside it makes it no other key.
        (f'encrypt: "awskms:///{KEY}", encrypt-public: us', f'encrypt: "awskms:///{KEY}"'),
        (
            f'encrypt: "awskms:///{KEY}", encrypt-public: us',
            f'encrypt: "awskms:///{KEY}", encrypt-public: eu',
        ),
        # The same of key files, which are not here.
        (
            "encrypt: file:keys/e.pem, encrypt-public: us",
            "encrypt: ./keys/e.pem, encrypt-public: eu",
        ),
        # One use each.
        (f'encrypt: "awskms:///{KEY}", sign: "awskms:///{KEY}"', "encrypt-public: eu"),
    ],
)
def test_rule_08_one_key_of_a_service_is_known_by_its_words_alone(
    keys: Path, mine: str, other: str
) -> None:
    (found,) = in_kms(keys, mine, other)
    assert found == ("shared-key", 6 if "sign:" in mine else 9)


def test_copies_of_a_multi_region_key_are_one_key(keys: Path) -> None:
    there = MRK.replace("us-east-1", "eu-west-1")
    words = (f'encrypt: "awskms:///{MRK}"', f'encrypt: "awskms:///{there}"')
    assert in_kms(keys, *words, region="eu-west-1") == [("shared-key", 9)]


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        (KEY, KEY.replace("1234abcd", "4321abcd")),
        (KEY, ALIAS),  # which only the service can tell
        (ALIAS, ALIAS.replace("111122223333", "444455556666")),
        ("alias/churn", "alias/churn?profile=other"),
        ("arn:aws:kms:us-east-1:ACCOUNT:key/KEY-ID", "arn:aws:kms:us-east-1:ACCOUNT:key/KEY-ID"),
    ],
)
def test_what_may_be_two_keys_is_not_called_one(keys: Path, mine: str, other: str) -> None:
    assert in_kms(keys, f'encrypt: "awskms:///{mine}"', f'encrypt: "awskms:///{other}"') == []


class Told:
    """A key as its service opened it."""

    def __init__(self, canonical: str | None, key_id: str) -> None:
        self.canonical, self.key_id = canonical, key_id


def test_rule_08_what_a_service_tells_of_a_key_is_compared_with_other_zones(keys: Path) -> None:
    """An alias and the ARN of one key; an RSA key of a service and its public file; two aliases."""
    called = registry.canonical(f"awskms:///{KEY}", keys)
    assert in_kms(keys, f'encrypt: "awskms:///{ALIAS}"', f'encrypt: "awskms:///{KEY}"') == []
    config = read(keys / "sovgate.yaml")
    with pytest.raises(ConfigError) as refused:
        Unshared(config)("us", Told(called, KEY))  # type: ignore[type-var]
    assert refused.value.reason == "shared-key"
    assert "zones.us.keys.encrypt is the same key as zones.ap.keys.encrypt" in refused.value.what
    other = Told("awskms:aws:us-east-1:another", "other")
    assert Unshared(config)("us", other) is other  # type: ignore[type-var]

    assert in_kms(keys, f'encrypt: "awskms:///{ALIAS}"', "encrypt-public: eu") == []
    by_file = registry.open_public("eu", keys).key_id
    with pytest.raises(ConfigError):
        Unshared(read(keys / "sovgate.yaml"))("us", Told(called, by_file))  # type: ignore[type-var]

    words = (f'encrypt: "awskms:///{ALIAS}"', f'encrypt: "awskms:///{ALIAS}-2"')
    assert in_kms(keys, *words) == []
    asked = Unshared(read(keys / "sovgate.yaml"))
    asked("us", Told(called, KEY))  # type: ignore[type-var]
    asked("us", Told(called, KEY))  # type: ignore[type-var] - again, as before each record
    with pytest.raises(ConfigError):
        asked("ap", Told(called, KEY))  # type: ignore[type-var]


def test_rule_08_a_release_for_two_zones_asks_their_services_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two aliases: each push would open one of them, and know nothing of the other."""
    crossing = make_crossing(tmp_path / "project")
    start, end = "  eu:\n", "datasets:\n"
    text = (crossing.base / "sovgate.yaml").read_text()
    zone = text[text.index(start) : text.index(end)]
    crossing.edit(end, zone.replace(start, "  fr:\n").replace("eu-store", "fr-store") + end)
    crossing.edit("[home -> eu]", "[home -> eu, home -> fr]")
    pem = "encrypt: keys/eu-enc.pem, encrypt-public: keys/eu-enc.pub.pem"
    text = (crossing.base / "sovgate.yaml").read_text()
    for name in ("one", "two"):
        text = text.replace(pem, f'encrypt: "awskms:///{ALIAS}-{name}"', 1)
    (crossing.base / "sovgate.yaml").write_text(text)
    called = registry.canonical(f"awskms:///{KEY}", crossing.base)
    asked: list[str] = []

    def open_recipient(uri: str, *_: object) -> Told:
        asked.append(uri.rpartition("-")[2])
        return Told(called, KEY)

    monkeypatch.setattr(registry, "open_recipient", open_recipient)
    before = tree(crossing.base)
    words = ("release", crossing.model, "--release", "churn/1.0.0", "--zone", "home")
    for more in ((), ("--dry-run",)):
        error = crossing.json(*words, "--to", "eu", "--to", "fr", *more, code=3)["error"]
        assert error["reason"] == "shared-key"
        assert "zones.fr.keys.encrypt is the same key as zones.eu.keys.encrypt" in error["what"]
    assert asked == ["one", "two"] * 2
    assert tree(crossing.base) == before


def doubts(keys: Path, *changes: tuple[str, str], more: str = "") -> list[str]:
    told(keys, *changes, more=more)
    return [error.what for error in doubtful(read(keys / "sovgate.yaml"))]


def test_one_key_that_signs_for_several_zones_is_named(keys: Path) -> None:
    """It works, and nothing else says that what one zone said the other could have said."""
    assert doubts(keys) == []
    (what,) = doubts(keys, ("sign-public: eu-sign", "sign-public: us-sign"))
    assert "in line 6: it signs for zones us and eu" in what
    kms = f'sign: "awskms:///{KEY}"'
    text = (("sign-public: us-sign", kms), ("sign-public: eu-sign", kms))
    assert len(doubts(keys, *text, ("aws-eusc:eusc-de-east-1", "aws:us-east-1"))) == 1
    trust = "trust:\n  - {name: a, key: us-sign, may: [signature], from: %s}\n"
    assert doubts(keys, more=trust % "us") == []
    assert len(doubts(keys, more=trust % "eu")) == 1
    former = trust.replace("}\n", ', former: true, until: "2026-11-01"}\n')
    assert doubts(keys, more=former % "eu") == []
    told(keys, ("sign-public: eu-sign", "sign-public: us-sign"))
    findings, _ = lint([], keys)
    assert [(one.rule, one.severity) for one in findings] == [("one-signer-for-zones", "warning")]


def test_the_fix_of_a_private_half_makes_the_public_one(keys: Path) -> None:
    assert told(keys, ("sign-public: us-sign", "sign-public: secret.pem"))
    done = commands.run("lint", "--format", "json", cwd=keys)
    assert done.returncode == 3
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["rule"], finding["line"]) == ("private-half", 6)
    *words, out = finding["fix"].split("made by: sovgate ")[1].split()
    try:
        assert commands.run(*words, out, cwd=keys).returncode == 0
        assert told(keys, ("sign-public: us-sign", f"sign-public: {out}")) == []
    finally:
        (keys / out).unlink(missing_ok=True)


def test_nothing_crosses_with_a_key_that_is_anothers(tmp_path: Path) -> None:
    """The version would be spent on what nobody can open."""
    crossing: Crossing = make_crossing(tmp_path / "project")
    (crossing.base / "keys/eu-enc.pub.pem").write_bytes(
        (crossing.base / "keys/home.pub.pem").read_bytes()
    )
    for words in (
        ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
        ("pull", "churn/1.0.0", "--zone", "eu", "-o", "got"),
        ("encrypt", crossing.model, "--to", "eu", "-o", "sealed"),
    ):
        code, said = crossing.run(*words)
        assert code == 3, said
        assert "is the same key as zones.home.keys.sign" in " ".join(said.split())
    assert not (crossing.base / "eu-store").exists()
    doctor = crossing.json("doctor", code=3)["checks"]
    assert [one["status"] for one in doctor if one["name"] == "lint"] == ["missing"]


@pytest.mark.parametrize(
    ("slot", "old", "words"),
    [
        (
            "encrypt-public",
            "encrypt-public: keys/eu-enc.pub.pem",
            "encrypt-public: keys/eu-enc.pem",
        ),
        (
            "sign-public",
            "{sign: keys/home.pem}",
            "{sign: keys/home.pem, sign-public: keys/home.pem}",
        ),
    ],
)
def test_a_private_half_in_the_place_of_the_public_one_opens_nothing(
    tmp_path: Path, slot: str, old: str, words: str
) -> None:
    """Others get that file, so no command goes on as if it were all right."""
    crossing = make_crossing(tmp_path / "project")
    crossing.edit(old, words)
    move = (crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    commands_ = [
        ("push", *move),
        ("push", *move, "--dry-run"),
        ("release", *move),
        ("pull", "churn/1.0.0", "--zone", "eu", "-o", "got"),
        ("encrypt", crossing.model, "--to", "eu", "-o", "sealed"),
    ]
    if slot == "sign-public":
        commands_ += [
            ("verify", crossing.model),
            ("check", crossing.model, "--action", "transfer", "--zone", "home", "--to", "eu"),
            ("audit", "verify", "--zone", "eu"),
        ]
    for each in commands_:
        error = crossing.json(*each, code=3)["error"]
        assert error["reason"] == "private-half", each
        assert f"keys.{slot} names a private key" in error["what"]
        assert error["where"]["line"] is not None
    assert not (crossing.base / "eu-store").exists()
    assert not (crossing.base / "got").exists() and not (crossing.base / "sealed").exists()


def test_a_private_half_is_one_however_it_is_written_and_reached(
    keys: Path, tmp_path: Path
) -> None:
    pem = (keys / "secret.pem").read_bytes()
    assert not registry.is_private("us", keys)
    assert not registry.is_private("nowhere.pem", keys)
    assert not registry.is_private(f"awskms:///{KEY}", keys)
    key = serialization.load_pem_private_key(pem, None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    old = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    for name, data in {
        "locked": locked,
        "old": old,
        "wide": pem.decode().encode("utf-16"),
        "both": (keys / "us").read_bytes() + pem,
    }.items():
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        assert registry.is_private(name, tmp_path), name
    (tmp_path / "open").write_bytes(pem)
    (tmp_path / "open").chmod(0o666)  # which is refused for another reason where it is opened
    assert registry.is_private("open", tmp_path)
    (tmp_path / "..data").mkdir(mode=0o700)
    (tmp_path / "old").rename(tmp_path / "..data/mounted")
    (tmp_path / "mounted").symlink_to("..data/mounted")
    assert registry.is_private("mounted", tmp_path)
