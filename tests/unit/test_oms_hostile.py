"""What somebody could try with a model that another tool signed: each is refused, or harmless.

RULES 1, 2, 3, 5, 43: files that nobody signed, lists in odd orders, shards, shadowing signatures.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import Malformed, SovgateError
from sovgate.formats.envelope import PAYLOAD_TYPE, pae
from sovgate.formats.spki import PublicKey
from sovgate.pipeline.move.verify import Unsigned, verify
from tests.signers import KeySigner

SIGNER, EVE = KeySigner(), KeySigner()
FILES = {"config.json": b"{}\n", "weights.bin": bytes(range(200)), "sub/a": b"a"}
GIT = [".git", ".gitattributes", ".github", ".gitignore"]


def entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"name": name, "algorithm": "sha256", "digest": hashlib.sha256(files[name]).hexdigest()}
        for name in sorted(files)
    ]


def bundle(
    resources: list[dict[str, Any]], signer: KeySigner = SIGNER, **serialization: Any
) -> bytes:
    root = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": GIT}
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": how | serialization, "resources": resources},
    }
    payload = json.dumps(said, indent=1).encode()
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    made = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": signer.public_key.oms_hint}},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    }
    return json.dumps(made).encode()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "key.pem").write_bytes(SIGNER.public_key.pem)
    return write(tmp_path / "m", FILES)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def check(model: Path, data: bytes | None, **unsigned: Any) -> str:
    """The reason of a refusal; the kind of what verified."""
    place = None if data is None else model.parent / "named.sig"
    if data is not None:
        (model.parent / "named.sig").write_bytes(data)
    key = f"file:{model.parent / 'key.pem'}"
    try:
        found, _ = verify(model, signature=place, key=key, unsigned=Unsigned(**unsigned))
    except SovgateError as error:
        return error.reason
    assert {r.name for r in found.manifest.resources} <= {*FILES, "."}
    return found.manifest.kind


WHOLE = entries(FILES)


@pytest.mark.parametrize(
    "path", ["weights.bin", "sub", "sub/a", ".", "./sub/", "", "/", "..", "../m/sub", "*", "//"]
)
def test_rule_02_no_ignored_path_frees_what_is_signed_or_lets_a_stranger_in(
    model: Path, path: str
) -> None:
    data = bundle(WHOLE, ignore_paths=[*GIT, path])
    assert check(model, data) == "directory"
    write(model, {"sub/planted": b"x"})
    assert check(model, data) in ("extra-file", "ignored-paths")
    (model / "sub/planted").unlink()
    (model / "sub/a").write_bytes(b"b")
    assert check(model, data) == "changed-file"
    (model / "sub/a").unlink()
    assert check(model, data) == "missing-file"


def test_rule_02_what_the_caller_leaves_out_is_verified_where_it_is_signed(model: Path) -> None:
    data = bundle(WHOLE)
    write(model, {"sub/planted": b"x", "subway": b"y"})
    assert check(model, data, paths=("sub",)) == "extra-file"  # subway
    (model / "subway").unlink()
    assert check(model, data, paths=("sub",)) == "directory"
    assert check(model, data, anywhere=True) == "directory"
    (model / "sub/a").write_bytes(b"b")
    for more in ({"paths": ("sub",)}, {"anywhere": True}):
        assert check(model, data, **more) == "changed-file"
    (model / "sub/a").unlink()
    assert check(model, data, anywhere=True) == "missing-file"


def test_a_link_in_place_of_what_is_signed_is_refused_with_every_option(model: Path) -> None:
    data = bundle(WHOLE)
    (model / "real").write_bytes(b"a")
    for victim in ("sub/a", "sub"):
        place = model / victim
        if place.is_dir():
            place.rename(model.parent / "moved")
        else:
            place.unlink()
        place.symlink_to(model / "real" if victim == "sub/a" else model.parent / "moved")
        for more in ({"anywhere": True}, {"paths": ("sub", "real")}):
            assert check(model, data, **more) in ("not-regular", "missing-file")
        place.unlink()
        if victim == "sub/a":
            place.write_bytes(b"a")


@pytest.mark.parametrize("path", ["", ".", "/etc", "../x", "a/../../b", "*", "a?", "[a]"])
def test_what_is_no_path_of_the_model_is_no_path_to_leave_out(model: Path, path: str) -> None:
    assert check(model, bundle(WHOLE), paths=(path,)) == "bad-path"


@pytest.mark.parametrize(
    ("litter", "signed", "reason"),
    [
        (".cache/huggingface/x", ".cache/huggingface", "directory"),
        (".cache/huggingface/x", ".cache/huggingface/x", "directory"),
        (".cache/huggingface/x", ".cache", "ignored-paths"),
        (".cache/huggingface/x", "", "extra-file"),
        (".cache/huggingfacex/x", ".cache/huggingface", "extra-file"),
        (".cache/other/x", ".cache/huggingface", "extra-file"),
        (".Cache/huggingface/x", ".cache/huggingface", "extra-file"),
        ("sub/.cache/huggingface/x", ".cache/huggingface", "extra-file"),
    ],
)
def test_rule_02_only_the_named_litter_may_be_there(
    model: Path, litter: str, signed: str, reason: str
) -> None:
    write(model, {litter: b"x"})
    assert check(model, bundle(WHOLE, ignore_paths=[*GIT, signed])) == reason


def test_litter_is_not_moved_so_its_names_do_not_matter(model: Path) -> None:
    """A download leaves a .gitignore in its litter; the same name among signed files is refused."""
    from sovgate.stages.verify import Scope, verify_model

    trusted = [SIGNER.trusted("signature")]
    write(model, {".cache/huggingface/.gitignore": b"*"})
    litter = bundle(WHOLE, ignore_paths=[*GIT, ".cache/huggingface"])
    found = verify_model(model, litter, trusted, Scope(strict_git=True)).manifest
    assert [resource.name for resource in found.resources] == sorted(FILES)
    files = FILES | {".cache/huggingface/.gitignore": b"*"}
    with pytest.raises(SovgateError) as caught:
        verify_model(model, bundle(entries(files)), trusted, Scope(strict_git=True))
    assert caught.value.reason == "git-name"
    assert verify_model(model, bundle(entries(files)), trusted)


@pytest.mark.parametrize(
    "order",
    [
        lambda r: list(reversed(r)),
        lambda r: [r[1], r[0], *r[2:]],
        lambda r: [*r, r[0]],
        lambda r: [r[0], *r],
    ],
)
def test_a_list_in_no_order_or_with_a_file_twice_is_refused(
    model: Path, order: Callable[[list[Any]], list[Any]]
) -> None:
    assert check(model, bundle(order(WHOLE))) in ("resource-order", "duplicate-resource")


@pytest.mark.parametrize("twin", ["./config.json", "sub//a", "sub/./a", "CONFIG.json", "sub/a/"])
def test_one_file_under_two_names_is_refused(model: Path, twin: str) -> None:
    more = [*WHOLE, dict(WHOLE[0], name=twin)]
    more.sort(key=lambda entry: entry["name"])
    assert check(model, bundle(more)) == "unsafe-name"


def shards(size: int, *names: str, **more: Any) -> bytes:
    found = []
    for name in names:
        file, start, end = name.rsplit(":", 2)
        digest = hashlib.sha256(FILES[file][int(start) : int(end)]).hexdigest()
        found.append({"name": name, "algorithm": "sha256", "digest": digest})
    return bundle(found, method="shards", shard_size=size, **more)


REST = ("config.json:0:3", "sub/a:0:1")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("weights.bin:0:80", "weights.bin:80:160", "weights.bin:160:200"), "directory"),
        (("weights.bin:0:80", "weights.bin:160:200", "weights.bin:80:160"), "directory"),
        (("weights.bin:0:80", "weights.bin:160:200"), "shard-ranges"),
        (("weights.bin:80:160", "weights.bin:160:200"), "shard-ranges"),
        (("weights.bin:0:80", "weights.bin:80:160"), "changed-file"),
        (("weights.bin:0:80", "weights.bin:40:120", "weights.bin:120:200"), "shard-ranges"),
        (("weights.bin:0:80",) * 2 + ("weights.bin:80:160",), "shard-ranges"),
        (("weights.bin:0:200",), "shard-ranges"),
        (("weights.bin:0:40", "weights.bin:40:80"), "shard-ranges"),
        (("weights.bin:80:160", "weights.bin:0:80", "weights.bin:160:200"), "resource-order"),
        (("weights.bin:0:0",), "shard-ranges"),
        (("weights.bin:0:9999999999999999",), "shard-ranges"),
    ],
)
def test_shards_cover_each_byte_once(model: Path, names: tuple[str, ...], reason: str) -> None:
    assert check(model, shards(80, *REST, *names)) == reason


def test_shards_are_compared_byte_by_byte_and_leave_no_file_unsigned(model: Path) -> None:
    data = shards(80, *REST, "weights.bin:0:80", "weights.bin:80:160", "weights.bin:160:200")
    for at in (0, 79, 80, 199):
        changed = bytearray(FILES["weights.bin"])
        changed[at] ^= 1
        (model / "weights.bin").write_bytes(changed)
        assert check(model, data) == "changed-file"
    for size in (199, 201):
        (model / "weights.bin").write_bytes(bytes(range(200))[:199] + b"\xc7" * (size - 199))
        assert check(model, data) == "changed-file"
    (model / "weights.bin").write_bytes(FILES["weights.bin"])
    (model / "empty").write_bytes(b"")
    assert check(model, data) == "extra-file"


def test_what_was_signed_in_shards_tells_no_identity_without_the_files() -> None:
    """Else a copy could be pushed, or opened, by digests that are not those of its files."""
    from sovgate.stages.verify import open_signature

    data = shards(80, *REST, "weights.bin:0:80", "weights.bin:80:160", "weights.bin:160:200")
    oms = open_signature(data, [SIGNER.trusted("signature")]).oms
    assert oms.manifest() is None
    assert not oms.tells_sha256
    assert [(item.name, item.size) for item in oms.items] == [
        ("config.json", 3),
        ("sub/a", 1),
        ("weights.bin", 200),
    ]
    # Nor where each file has one shard, whose digest is that of the file.
    whole = shards(1000, *REST, "weights.bin:0:200")
    assert open_signature(whole, [SIGNER.trusted("signature")]).oms.manifest() is None


@pytest.mark.parametrize("size", [0, -1, 80.5, "80", True, None, 2**53])
def test_a_shard_has_a_whole_number_of_bytes(model: Path, size: Any) -> None:
    names = ("weights.bin:0:80", "weights.bin:80:160", "weights.bin:160:200")
    assert check(model, shards(size, *REST, *names)) == "malformed"


def test_rule_01_a_basename_makes_no_folder_of_a_file(model: Path) -> None:
    """What others sign is read for what is there; one file and a folder stay two models."""
    one = write(model.parent / "one", {"weights.bin": FILES["weights.bin"]})
    (one.parent / "key.pem").write_bytes(SIGNER.public_key.pem)
    data = bundle([entry for entry in WHOLE if entry["name"] == "weights.bin"])
    (one / "key.pem").write_bytes(SIGNER.public_key.pem)
    assert check(one / "weights.bin", data) == "file"
    (one / "key.pem").unlink()
    (one / "named.sig").unlink()
    assert check(one, data) == "directory"
    (one / "weights.bin").rename(one / "w.bin")
    (one / "key.pem").write_bytes(SIGNER.public_key.pem)
    assert check(one / "w.bin", data) == "wrong-kind"
    assert check(one / "w.bin", bundle(WHOLE)) == "wrong-kind"
    # Which name it must have is said: what was pulled may lie under any.
    for signed, said in ((data, "one file, 'weights.bin'"), (bundle(WHOLE), "a directory was")):
        place = one.parent / "again.sig"
        place.write_bytes(signed)
        with pytest.raises(SovgateError) as caught:
            verify(one / "w.bin", signature=place, key=f"file:{one / 'key.pem'}")
        assert said in f"{caught.value.what}; {caught.value.why}"


def test_a_signature_that_came_along_is_found_and_shadows_nothing(model: Path) -> None:
    good = bundle(WHOLE)
    assert check(model, None) == "missing-path"
    inside, beside, named = model / "model.sig", model.parent / "model.sig", model.parent / "m.sig"
    for place in (inside, beside, named):
        place.write_bytes(good)
        assert check(model, None) == "directory"
        place.write_bytes(bundle(WHOLE, EVE))
        assert check(model, None) == "wrong-signer"
        place.unlink()
    beside.write_bytes(good)
    # One that was put into the model hides no other: it is not clear which is meant.
    inside.write_bytes(bundle(WHOLE, EVE))
    assert check(model, None) == "several-signatures"
    # Nor is it left out where another signature is verified.
    assert check(model, good) == "extra-file"
    inside.unlink()
    inside.symlink_to(beside)
    assert check(model, None) == "several-signatures"
    beside.unlink()
    assert check(model, None) in ("missing-path", "not-regular")


def test_a_signature_in_the_model_is_left_out_under_its_own_name_alone(model: Path) -> None:
    (model / "model.sig").write_bytes(bundle(WHOLE))
    assert check(model, None) == "directory"
    write(model, {"sub/model.sig": b"x"})
    assert check(model, None) == "extra-file"


PEM = SIGNER.public_key.pem


def test_text_may_stand_around_a_key_and_a_second_block_may_not() -> None:
    wordy = b"Public Key Information:\n\tAlgorithm: EC/ECDSA\n\n" + PEM + b"\nend\n"
    assert PublicKey.from_pem(wordy) == SIGNER.public_key
    assert PublicKey.from_pem(PEM.replace(b"\n", b"\r\n")) == SIGNER.public_key
    broken = PEM.replace(b"-----END", b"-----BEGIN")
    for text in (
        PEM + EVE.public_key.pem,
        PEM + PEM,
        EVE.private_pem + PEM,
        PEM + b"-----BEGIN CERTIFICATE-----\n",
        b"# " + PEM,
        broken + PEM,
        PEM.replace(b"-----END PUBLIC KEY-----", b""),
        b"".join(PEM.splitlines(keepends=True)[::-1]),
        PEM.replace(b"\n", b" "),
        b" " * 70_000 + PEM,
    ):
        with pytest.raises(Malformed):
            PublicKey.from_pem(text)


def test_no_option_that_weakens_is_read_from_the_environment(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from sovgate.cli.move.verify import command

    write(model, {"planted": b"x"})
    place = model.parent / "named.sig"
    place.write_bytes(bundle(WHOLE))
    for name in ("IGNORE_PATHS", "IGNORE", "IGNORE_UNSIGNED_FILES", "IGNORE_UNSIGNED"):
        for prefix in ("SOVGATE_", "SOVGATE_VERIFY_"):
            monkeypatch.setenv(prefix + name, "planted")
    words = [str(model), "--signature", str(place), "--key", str(model.parent / "key.pem")]
    done = CliRunner().invoke(command, words)
    assert getattr(done.exception, "reason", None) == "extra-file"
    done = CliRunner().invoke(command, [*words, "--ignore-paths", "a\nplanted\n"])
    assert done.exception is None or done.exit_code == 0, done.exception
    assert "what is not signed was not looked at in a, planted" in done.output
