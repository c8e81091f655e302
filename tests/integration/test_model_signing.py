"""Both ways with the real OpenSSF model_signing: what one signs, the other verifies, and refuses.

Starts model_signing in its own virtual environment; it reads and writes below tmp_path alone.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import utils

from sovgate.errors import VerificationFailed
from sovgate.formats.x509 import CertificateRule, root_from_pem
from sovgate.stages import inventory, verify
from sovgate.stages.inventory import Scope
from sovgate.stages.sign import sign
from sovgate.stages.trust import Trusted
from tests import components, forked
from tests.certificates import issue
from tests.components import ModelSigning
from tests.signers import CURVES, KeySigner

pytestmark = pytest.mark.component

TREE = {
    "B": b"upper before lower",
    "a/c": b"1",
    "a-b": b"2",
    "a.d": b"3",
    "a/deep/er/file.bin": bytes(range(256)) * 20,
    "empty": b"",
    "modèle-été.safetensors": "é".encode(),
    "日本/重み.bin": b"\0" * 100,
    ".hidden": b"h",
    ".gitattributes": b"left out",
    ".git/HEAD": b"left out",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "kyc-risk"
    for name, content in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


class Peer:
    """model_signing with one key, whose files lie in `folder`."""

    def __init__(self, tool: ModelSigning, folder: Path, signer: KeySigner) -> None:
        self.tool, self.folder, self.signer = tool, folder, signer
        folder.mkdir(exist_ok=True)
        (folder / "key.pem").write_bytes(signer.private_pem)
        (folder / "key.pub").write_bytes(signer.public_key.pem)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return forked.MODEL_SIGNING.at(self.tool.python).run(*arguments)

    def sign(self, model: Path, *more: str | Path, to: Path | None = None) -> bytes:
        to = to or self.folder / "theirs.sig"
        done = self.run(
            "sign", "key", model, "--private_key", self.folder / "key.pem", "--signature", to, *more
        )
        assert done.returncode == 0, done.stderr
        return to.read_bytes()

    def accepts(self, model: Path, bundle: bytes, at: Path | None = None) -> bool:
        at = at or self.folder / "ours.sig"
        at.write_bytes(bundle)
        done = self.run(
            "verify", "key", model, "--signature", at, "--public_key", self.folder / "key.pub"
        )
        return done.returncode == 0

    def api(self, script: str, *arguments: str | Path) -> None:
        """Runs Python there, for what its command line does not offer."""
        done = subprocess.run(
            [self.tool.python, "-I", "-c", script, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(params=CURVES)
def peer(model_signing: ModelSigning, tmp_path: Path, request: pytest.FixtureRequest) -> Peer:
    return Peer(model_signing, tmp_path / "peer", KeySigner(request.param))


@pytest.fixture
def p256(model_signing: ModelSigning, tmp_path: Path) -> Peer:
    return Peer(model_signing, tmp_path / "peer", KeySigner("p256"))


def ours(model: Path, signer: KeySigner, signature: Path | None = None) -> bytes:
    return sign(inventory.take(model, signature=signature, strict_git=True), signer)


def we_verify(model: Path, bundle: bytes, peer: Peer, **more: Any) -> verify.VerifiedModel:
    return verify.verify_model(model, bundle, [peer.signer.trusted("signature")], **more)


def payload(bundle: bytes) -> dict[str, Any]:
    document = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    assert isinstance(document, dict)
    return document


def test_they_verify_what_we_sign_and_notice_a_change(model: Path, peer: Peer) -> None:
    bundle = ours(model, peer.signer)
    assert all("size" in entry for entry in payload(bundle)["predicate"]["resources"])
    assert peer.accepts(model, bundle)
    (model / "a/c").write_bytes(b"x")
    assert not peer.accepts(model, bundle)


def test_we_verify_what_they_sign_and_notice_a_change(model: Path, peer: Peer) -> None:
    bundle = peer.sign(model)
    verified = we_verify(model, bundle, peer)
    assert verified.manifest == inventory.take(model).manifest
    assert verify.model_manifest(bundle, [peer.signer.trusted()]) is None
    (model / "a/c").write_bytes(b"x")
    with pytest.raises(VerificationFailed) as caught:
        we_verify(model, bundle, peer)
    assert caught.value.reason == "changed-file"


def test_both_write_the_same_statement_but_for_sizes(model: Path, p256: Peer) -> None:
    mine, theirs = payload(ours(model, p256.signer)), payload(p256.sign(model))
    for entry in mine["predicate"]["resources"]:
        del entry["size"]
    theirs["predicate"]["serialization"]["ignore_paths"].sort()
    # They sort by path components; so the root differs too, though not what is signed.
    theirs["predicate"]["resources"].sort(key=lambda entry: entry["name"])
    assert mine["subject"][0].pop("digest") != theirs["subject"][0].pop("digest")
    assert mine == theirs


def test_a_single_file_both_ways(model: Path, peer: Peer) -> None:
    file = model / "modèle-été.safetensors"
    assert peer.accepts(file, ours(file, peer.signer))
    assert we_verify(file, peer.sign(file), peer).manifest.kind == "file"
    (model / "empty").write_bytes(b"")
    assert peer.accepts(model / "empty", ours(model / "empty", peer.signer))


def test_a_signature_inside_the_model_both_ways(model: Path, p256: Peer) -> None:
    place = model / "model.sig"
    assert p256.accepts(model, ours(model, p256.signer, place), at=place)
    place.unlink()
    bundle = p256.sign(model, to=place)
    assert we_verify(model, bundle, p256, scope=Scope(signature=place))
    (model / "new").write_bytes(b"")
    with pytest.raises(VerificationFailed) as caught:
        we_verify(model, bundle, p256, scope=Scope(signature=place))
    assert caught.value.reason == "extra-file"


def test_rule_02_files_that_they_leave_out_are_refused_unless_allowed(
    model: Path, p256: Peer
) -> None:
    bundle = p256.sign(model, "--ignore-paths", model / "a")
    (model / "a" / "planted").write_bytes(b"code")
    assert p256.accepts(model, bundle)
    with pytest.raises(VerificationFailed) as caught:
        we_verify(model, bundle, p256)
    assert caught.value.reason == "ignored-paths"
    verified = we_verify(model, bundle, p256, scope=Scope(ignore=("a",)))
    assert not [r for r in verified.manifest.resources if r.name.startswith("a/")]


def test_git_files_that_they_sign_are_verified(model: Path, p256: Peer) -> None:
    bundle = p256.sign(model, "--no-ignore-git-paths")
    assert ".git/HEAD" in {r.name for r in we_verify(model, bundle, p256).manifest.resources}
    (model / ".git/HEAD").write_bytes(b"x")
    with pytest.raises(VerificationFailed):
        we_verify(model, bundle, p256)


def test_their_signatures_verify_whichever_half_s_lies_in(model: Path, p256: Peer) -> None:
    order = CURVES["p256"][2]
    seen = set()
    for _ in range(40):
        bundle = p256.sign(model / "empty")
        envelope = json.loads(bundle)["dsseEnvelope"]
        _, s = utils.decode_dss_signature(base64.b64decode(envelope["signatures"][0]["sig"]))
        seen.add(s > order // 2)
        assert we_verify(model / "empty", bundle, p256)
        if len(seen) == 2:
            break
    assert seen == {True, False}


SIGN_HASHED = """
import sys, model_signing
from pathlib import Path
model, signature, key, algorithm = sys.argv[1:]
config = model_signing.hashing.Config().use_file_serialization(hashing_algorithm=algorithm)
config.set_ignored_paths(paths=[], ignore_git_paths=True)
model_signing.signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(
    config).sign(Path(model), Path(signature))
"""


@pytest.mark.parametrize("algorithm", ["blake2", "blake3"])
def test_their_other_digests_verify(model: Path, p256: Peer, algorithm: str) -> None:
    if algorithm == "blake3":
        components.found(components.package, "blake3")
    place = p256.folder / "hashed.sig"
    p256.api(SIGN_HASHED, model, place, p256.folder / "key.pem", algorithm)
    bundle = place.read_bytes()
    assert payload(bundle)["predicate"]["serialization"]["hash_type"].startswith("blake")
    assert we_verify(model, bundle, p256).manifest == inventory.take(model).manifest
    (model / "B").write_bytes(b"x" * len(TREE["B"]))
    with pytest.raises(VerificationFailed) as caught:
        we_verify(model, bundle, p256)
    assert caught.value.reason == "changed-file"


SIGN_SHARDS = """
import sys, model_signing
from pathlib import Path
model, signature, key = sys.argv[1:]
config = model_signing.hashing.Config().use_shard_serialization(shard_size=100)
model_signing.signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(
    config).sign(Path(model), Path(signature))
"""


def test_their_shards_verify_and_a_change_is_noticed(model: Path, p256: Peer) -> None:
    """They sign by shards; 1.1.1 cannot verify what it signed so."""
    (model / "empty").unlink()  # a shard holds at least one byte
    p256.api(SIGN_SHARDS, model, p256.folder / "shards.sig", p256.folder / "key.pem")
    bundle = (p256.folder / "shards.sig").read_bytes()
    assert len(payload(bundle)["predicate"]["resources"]) > 40
    assert we_verify(model, bundle, p256).manifest == inventory.take(model).manifest
    weights = model / "a/deep/er/file.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(VerificationFailed) as caught:
        we_verify(model, bundle, p256)
    assert caught.value.reason == "changed-file"
    weights.write_bytes(bytes(range(256)) * 20)
    (model / "empty").write_bytes(b"")
    with pytest.raises(VerificationFailed) as caught:
        we_verify(model, bundle, p256)
    assert caught.value.reason == "extra-file"


def test_rule_03_what_they_let_pass_we_refuse(model: Path, p256: Peer) -> None:
    """Duplicate JSON keys, stray base64 bits, an empty model: read by 1.1.1."""
    bundle = p256.sign(model)
    twice = bundle.replace(b'"dsseEnvelope":', b'"dsseEnvelope":{},"dsseEnvelope":', 1)
    assert p256.accepts(model, twice)
    padded = next(b for b in iter(lambda: p256.sign(model), b"") if b'=","keyid"' in b)
    at = padded.index(b'=","keyid"')
    at = at - 1 if padded[at - 1 : at] != b"=" else at - 2
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = letters[letters.index(padded[at]) + 1]
    stray = padded[:at] + bytes([other]) + padded[at + 1 :]
    assert p256.accepts(model, stray)
    for changed in (twice, stray):
        with pytest.raises(VerificationFailed) as caught:
            we_verify(model, changed, p256)
        assert caught.value.reason == "malformed"
    hollow = model.parent / "hollow"
    hollow.mkdir()
    nothing = p256.sign(hollow)
    assert p256.accepts(hollow, nothing)
    with pytest.raises(VerificationFailed) as caught:
        we_verify(hollow, nothing, p256)
    assert caught.value.reason == "empty-model"


def test_rule_01_what_they_cannot_tell_apart_we_can(model: Path, p256: Peer) -> None:
    """A one-file directory and that file share an OMS root, not an identity."""
    folder = model.parent / "one"
    folder.mkdir()
    (folder / "w").write_bytes(b"w")
    inside, alone = p256.sign(folder), p256.sign(folder / "w")
    assert payload(inside)["subject"][0]["digest"] == payload(alone)["subject"][0]["digest"]
    identities = {
        we_verify(folder, inside, p256).manifest.digest,
        we_verify(folder / "w", alone, p256).manifest.digest,
    }
    assert len(identities) == 2


def test_certificate_bundles_both_ways(model: Path, p256: Peer) -> None:
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    root_key = KeySigner("p384")
    root = issue("root", root_key, "root", root_key, ca=True)
    leaf = issue("leaf", p256.signer, "root", root_key)
    folder = p256.folder
    (folder / "root.pem").write_bytes(root.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(pem))

    done = p256.run(
        "sign",
        "certificate",
        model,
        "--private_key",
        folder / "key.pem",
        "--signing_certificate",
        folder / "leaf.pem",
        "--certificate_chain",
        folder / "root.pem",
        "--signature",
        folder / "theirs.sig",
    )
    assert done.returncode == 0, done.stderr
    theirs = (folder / "theirs.sig").read_bytes()
    assert we_verify(model, theirs, p256)  # by the pinned key of the leaf
    der_root, key = root_from_pem(root.public_bytes(pem))
    rule = CertificateRule(root=der_root, san="dpo@bank.example")
    by_root = Trusted(name="bank", key=key, may=frozenset({"signature"}), certificate=rule)
    assert verify.verify_model(model, theirs, [by_root]).signer.key == p256.signer.public_key

    chain = (leaf.public_bytes(der), root.public_bytes(der))
    mine = ours(model, KeySigner("p256", p256.signer.private, certificates=chain))
    (folder / "ours.sig").write_bytes(mine)
    assert we_verify(model, mine, p256)
    done = p256.run(
        "verify",
        "certificate",
        model,
        "--signature",
        folder / "ours.sig",
        "--certificate_chain",
        folder / "root.pem",
    )
    assert done.returncode == 0, done.stderr


def test_a_model_of_many_files_is_in_one_order(tmp_path: Path, p256: Peer) -> None:
    root = tmp_path / "many"
    alphabet = ["A", "a", "Z", "-", ".x", "_", "é", "~", "0", "ab", "a.b", "a-b", "Ω", "𝄞", "￮"]
    for outer in alphabet:
        for inner in alphabet:
            (root / f"d{outer}" / f"e{inner}").mkdir(parents=True, exist_ok=True)
            (root / f"d{outer}" / f"e{inner}" / "f").write_bytes(os.urandom(5))
            (root / f"d{outer}" / f"e{inner}.f").write_bytes(os.urandom(5))
    # Names that differ in letter case alone are refused here (RULES 4), so take them out.
    for name in ("dA", "dZ"):
        for path in sorted((root / name).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (root / name).rmdir()
    for outer in root.iterdir():
        for inner in ("eA", "eZ"):
            (outer / inner / "f").unlink()
            (outer / inner).rmdir()
            (outer / f"{inner}.f").unlink()
    assert p256.accepts(root, ours(root, p256.signer))
    assert we_verify(root, p256.sign(root), p256)
