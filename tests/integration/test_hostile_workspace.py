"""What a step without a key leaves in the workspace: `.sovgate/` and folders that `encrypt` made.

Nothing that a run did not make is used, unless the source's own key signed it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sovgate import strict
from sovgate.formats.bundle import Bundle
from sovgate.formats.partrecord import PartRecord
from sovgate.formats.statement import Statement
from sovgate.keys import registry
from sovgate.pipeline.look.keys import generate
from sovgate.stages.seal import seal
from tests.crossing import Crossing, make_crossing, tree

OUTBOX = ".sovgate/outbox/eu/churn/1.0.0"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


def encrypt(crossing: Crossing, out: str | Path, *more: str) -> Path:
    done = crossing.json(
        "encrypt", crossing.model, "--to", "eu", "--release", "churn/1.0.0", "-o", out, *more
    )
    assert done["made-by"]["zone"] == "home"
    return crossing.base / out


def rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def forge(copy: Path) -> str:
    """Put a chunk of junk in the place of a real one, and list it. Returns the junk's digest."""
    record = copy / "eu/sealed.json"
    sealed = json.loads(record.read_bytes())
    junk = b"j" * next((copy / "eu/chunks/sha256").iterdir()).stat().st_size
    digest = hashlib.sha256(junk).digest()
    (copy / "eu/chunks/sha256" / digest.hex()).write_bytes(junk)
    named = hashlib.sha256(digest).hexdigest()
    (copy / "eu/objects/sha256" / named).write_bytes(digest)
    sealed["parts"][0]["list"]["sha256"] = named
    rewrite(record, strict.canonical(sealed))
    return digest.hex()


PART = "eu/part-1.json"


def said(copy: Path) -> PartRecord:
    bundle = Bundle.parse((copy / PART).read_bytes())
    return PartRecord.of(Statement.parse(bundle.payload))


def sign_by(copy: Path, key: Path, made: PartRecord | None = None) -> None:
    signer = registry.open_signer(str(key), key.parent)
    rewrite(copy / PART, seal((made or said(copy)).statement(), signer))


def own_key(copy: Path) -> Path:
    return next(p for p in copy.resolve().parents if (p / "keys").is_dir()) / "keys/home.pem"


def stranger(copy: Path) -> None:
    """Whoever has a key, but none that the source trusts."""
    key = copy.parent / "stranger.pem"
    generate("sign", out=key)
    sign_by(copy, key)


def destination(copy: Path) -> None:
    """The zone that it goes to is trusted for much, but sends nothing for the source."""
    sign_by(copy, own_key(copy).with_name("eu.pem"))


def no_signature(copy: Path) -> None:
    (copy / PART).unlink()


def no_json(copy: Path) -> None:
    rewrite(copy / PART, b"\x00")


def other_hint(copy: Path) -> None:
    made = json.loads((copy / PART).read_bytes())
    made["verificationMaterial"]["publicKey"]["hint"] = "0" * 64
    rewrite(copy / PART, strict.canonical(made))


def a_statement(copy: Path) -> None:
    """A real statement of the source's key, of another role."""
    base = own_key(copy).parents[1]
    rewrite(copy / PART, (base / "model.evidence/signature.sigstore.json").read_bytes())


def other_release(copy: Path) -> None:
    """The source's own key signed it, as another release."""
    made = said(copy)
    sign_by(copy, own_key(copy), replace(made, release=replace(made.release, version="1.0.1")))


def other_region(copy: Path) -> None:
    made = said(copy)
    there = replace(made.destination, provider_region="aws:us-west-2")
    sign_by(copy, own_key(copy), replace(made, destination=there))


def other_source(copy: Path) -> None:
    made = said(copy)
    sign_by(copy, own_key(copy), replace(made, source=replace(made.source, zone="eu")))


def one_of_two(copy: Path) -> None:
    """A shard of several is no copy."""
    made = said(copy)
    record = json.loads((copy / "eu/sealed.json").read_bytes())
    record["parts"][0]["of"] = 2
    rewrite(copy / "eu/sealed.json", strict.canonical(record))
    sign_by(copy, own_key(copy), replace(made, part=replace(made.part, of=2)))


def no_evidence(copy: Path) -> None:
    """RULES 30: the training record was taken out after it was encrypted."""
    record = json.loads((copy / "eu/sealed.json").read_bytes())
    record["evidence"] = [one for one in record["evidence"] if one["role"] != "provenance"]
    rewrite(copy / "eu/sealed.json", strict.canonical(record))


FORGERIES: list[Callable[[Path], object]] = [
    forge,
    no_signature,
    no_json,
    stranger,
    destination,
    other_hint,
    a_statement,
    other_release,
    other_region,
    other_source,
    one_of_two,
    no_evidence,
]


@pytest.mark.parametrize("forgery", [None, *FORGERIES], ids=lambda f: getattr(f, "__name__", "own"))
def test_rule_31_a_copy_that_lies_in_the_project_is_not_used(
    crossing: Crossing, forgery: Callable[[Path], object] | None
) -> None:
    """Where earlier versions kept one. What a push sends it has read, and encrypted, itself."""
    left = encrypt(crossing, OUTBOX)
    if forgery is not None:
        forgery(left)
    before = tree(left)
    crossing.push()
    stored = {name.rsplit("/", 1)[1] for name in crossing.objects("chunks/")}
    assert not stored & {path.name for path in (left / "eu/chunks/sha256").iterdir()}
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)
    assert tree(left) == before


@pytest.mark.parametrize("forged", [True, False])
def test_rule_31_a_model_that_was_altered_is_refused_whatever_lies_in_the_project(
    crossing: Crossing, forged: bool
) -> None:
    left = encrypt(crossing, OUTBOX)
    if forged:
        forge(left)
    file = crossing.model / "model.bin"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    code, _ = crossing.run(
        "push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"
    )
    assert code == 11
    assert not crossing.objects("releases/")
    file.write_bytes(data)  # and the version is not burnt
    assert crossing.push()["already"] is False
    crossing.pull()


def test_rule_31_a_state_folder_behind_a_link_is_not_written_to(
    crossing: Crossing, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "outbox").mkdir(parents=True)
    (elsewhere / "outbox/mine").write_text("keep")
    (crossing.base / ".sovgate").symlink_to(elsewhere)
    code, said = crossing.run(
        "push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"
    )
    assert code == 11
    assert "link" in said
    assert tree(elsewhere) == {"outbox/mine": b"keep"}


# -- what `encrypt` made


def push_copy(crossing: Crossing, *more: str) -> tuple[int, str]:
    return crossing.run(
        "push", "sealed", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu", *more
    )


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda f: f.__name__)
def test_rule_31_push_refuses_a_copy_that_the_source_did_not_make(
    crossing: Crossing, forgery: Callable[[Path], object]
) -> None:
    forgery(encrypt(crossing, "sealed"))
    for more in ((), ("--dry-run",)):
        code, said = push_copy(crossing, *more)
        assert code == 11, said
        assert "sovgate encrypt MODEL --zone home --to eu --release churn/1.0.0" in said
    assert not crossing.objects("releases/")
    assert not crossing.objects("chunks/")
    assert not crossing.objects("objects/")


def test_push_takes_a_copy_that_the_source_made(crossing: Crossing) -> None:
    """What is in it is known: whoever encrypted it has looked, and signed what was found."""
    encrypt(crossing, "sealed", "--zone", "home")
    assert push_copy(crossing, "--dry-run")[0] == 0
    assert push_copy(crossing)[0] == 0
    crossing.pull()
    assert tree(crossing.base / "pulled") == tree(crossing.model)


def test_the_fix_for_a_copy_that_nobody_signed_works(crossing: Crossing) -> None:
    no_signature(encrypt(crossing, "sealed"))
    assert push_copy(crossing)[0] == 11
    encrypt(crossing, "again", "--zone", "home")
    (crossing.base / "sealed").rename(crossing.base / "old")
    (crossing.base / "again").rename(crossing.base / "sealed")
    assert push_copy(crossing)[0] == 0


def test_encrypt_says_where_nobody_signs_what_it_makes(crossing: Crossing) -> None:
    crossing.edit("    keys: {sign: keys/home.pem}\n", "    keys: {sign: keys/gone.pem}\n")
    crossing.edit(
        "border:", "trust:\n  - {name: ci, key: keys/home.pub.pem, may: [signature]}\nborder:"
    )
    arguments = (
        "encrypt",
        crossing.model,
        "--to",
        "eu",
        "--release",
        "churn/1.0.0",
    )
    code, said = crossing.run(*arguments, "-o", "sealed")
    assert code == 0
    assert "push will refuse it: name the zone with --zone" in said
    code, said = crossing.run(*arguments, "-o", "other", "--zone", "home")
    assert code != 0  # a zone that is named, and cannot sign, is an error
    assert "gone.pem" in said


def test_a_copy_that_nobody_sends_needs_no_maker(crossing: Crossing) -> None:
    done = crossing.json("encrypt", crossing.model, "--to", "eu", "-o", "sealed")
    assert done["made-by"] is None
    assert not (crossing.base / "sealed/eu/part-1.json").exists()
