"""OpenSSF Model Signing v1.0: the public cases, as a user would run them, and both ways with
model_signing. What is refused on purpose stands in `omscases.STRICTER` and in docs/oms.md.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests import components, forked
from tests.certificates import issue
from tests.components import ROOT, ModelSigning
from tests.omscases import CASES, STRICTER, Files, names, payload
from tests.signers import KeySigner
from tests.sigstores import Sigstore
from tests.sigstoreserver import IDENTITY, ISSUER, laid, serving


def at_hand() -> list[str]:
    """All cases, or those whose files a part of the suite has: of the rest no licence lets copy."""
    try:
        files = Files(components.oms_cases())
    except components.MissingError:
        return list(CASES)  # each then says what is missing, and how to get it
    return [name for name in CASES if files.whole or not files.absent(CASES[name])]


HERE = at_hand()
KEYLESS = [c for c in HERE if c.startswith("verify/") and CASES[c]["method"] == "sigstore"]
VERIFY = [c for c in HERE if c.startswith("verify/") and CASES[c]["method"] != "sigstore"]
ROUNDTRIP = [c for c in HERE if c.startswith("roundtrip/") and CASES[c]["method"] != "sigstore"]
SIGNED_KEYLESS = [c for c in HERE if c.startswith("roundtrip/") and c not in ROUNDTRIP]
SIGNED = [case for case in ROUNDTRIP if CASES[case]["expect"] == "pass"]


@pytest.fixture
def files(oms_cases: Path) -> Files:
    return Files(oms_cases)


def sovgate(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    done = forked.SOVGATE.run(*arguments, "--format", "json")
    return done.returncode, json.loads(done.stdout)


def case_of(name: str, files: Files) -> dict[str, Any]:
    """The case, all of whose files are there."""
    case = CASES[name]
    assert files.absent(case) == []
    return case


def project(place: Path, roots: list[Path]) -> Path:
    """A sovgate.yaml that trusts the roots as other clients do: whoever they issued to."""
    folder = place / "project"
    folder.mkdir()
    trust = ""
    for number, root in enumerate(roots):
        shutil.copy(root, folder / f"root{number}.pem")
        trust += (
            f"  - {{name: signer{number}, may: [signature], certificate: {{root: root{number}.pem, "
            "unsafe-any-subject: true, unsafe-authority-leaf: true}}\n"
        )
    (folder / "sovgate.yaml").write_text(
        f'version: 1\nmodel: model\nzones:\n  home: {{region: "aws:us-east-1"}}\ntrust:\n{trust}'
    )
    return folder


def verify(
    model: Path, bundle: Path, trust: list[str | Path], case: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    more = [word for path in case.get("ignore", ()) for word in ("--ignore-paths", path)]
    if case.get("ignore_unsigned"):
        more.append("--ignore-unsigned-files")
    return sovgate("verify", model, "--signature", bundle, *trust, *more)


@pytest.mark.parametrize("name", VERIFY)
def test_a_bundle_of_the_suite_verifies_or_is_refused_for_its_reason(
    name: str, files: Files, tmp_path: Path
) -> None:
    case = case_of(name, files)
    model, bundle = files.model(case, tmp_path), tmp_path / "bundle.sig"
    shutil.copy(files.get(case["bundle"]), bundle)
    if "key" in case:
        trust: list[str | Path] = ["--key", f"file:{files.get(case['key'])}"]
    else:
        roots = [files.get(root) for root in case["roots"]]
        trust = ["--project", project(tmp_path, roots)]
    code, said = verify(model, bundle, trust, case)
    if name in STRICTER:
        assert code == 11
        assert said["error"]["reason"] == "unknown-predicate"
    elif case["expect"] == "pass":
        assert code == 0, said
        assert sorted(case.get("signed", names(bundle.read_bytes()))) == sorted(
            names(bundle.read_bytes())
        )
    else:
        # Those that were changed after they were signed are refused before anything is read.
        because = {*case.get("because", ())}
        if "/malformed-" in name:
            because.add("bad-signature")
        assert (code, said["error"]["reason"] in because) == (11, True), said["error"]


@pytest.mark.parametrize("name", KEYLESS)
def test_a_keyless_bundle_is_believed_by_no_key_and_no_root(
    name: str, files: Files, tmp_path: Path
) -> None:
    """Whatever else is trusted, even for any subject, lets none through."""
    case = case_of(name, files)
    model, bundle = files.model(case, tmp_path), tmp_path / "bundle.sig"
    shutil.copy(files.get(case["bundle"]), bundle)
    signer = KeySigner()
    key, root = tmp_path / "key.pem", tmp_path / "root.pem"
    key.write_bytes(signer.public_key.pem)
    root.write_bytes(issue("root", signer, "root", signer, ca=True).public_bytes(Encoding.PEM))
    for trust in (["--key", f"file:{key}"], ["--project", project(tmp_path, [root])]):
        code, said = verify(model, bundle, trust, case)
        assert (code, said["error"]["reason"]) == (11, "wrong-signer"), said


@pytest.mark.parametrize("name", KEYLESS)
def test_a_keyless_bundle_of_the_suite_verifies_for_its_identity_or_is_refused(
    name: str, files: Files, tmp_path: Path
) -> None:
    """Public bundles, by the public instance's trusted root, from a file."""
    case = case_of(name, files)
    model, bundle = files.model(case, tmp_path), tmp_path / "bundle.sig"
    shutil.copy(files.get(case["bundle"]), bundle)
    who = case["identity"]
    said_of = f"identity: {json.dumps(who['name'])}, issuer: {json.dumps(who['issuer'])}"
    folder = project(tmp_path, [])
    shutil.copy(components.public_root(), folder / "trusted_root.json")
    with (folder / "sovgate.yaml").open("a") as file:
        file.write(
            "  - {name: vendor, may: [signature], keyless: "
            f"{{{said_of}, trusted-root: trusted_root.json}}}}\n"
        )
    code, said = verify(model, bundle, ["--project", folder], case)
    if case["expect"] == "pass":
        assert code == 0, said
        assert said["signer"]["keyless"]["identity"] == who["name"]
        assert said["signer"]["keyless"]["url"] == "https://rekor.sigstore.dev"
        assert sorted(case["signed"]) == sorted(names(bundle.read_bytes()))
    else:
        because = case.get("because") or ["wrong-signer"]
        assert (code, said["error"]["reason"] in because) == (11, True), said["error"]


@pytest.mark.component
@pytest.mark.parametrize("name", SIGNED_KEYLESS)
def test_keyless_cases_are_signed_and_verified_both_ways(
    name: str, files: Files, tmp_path: Path, model_signing: ModelSigning
) -> None:
    """Through a Sigstore on loopback, which is gone when they are verified."""
    case = case_of(name, files)
    model = files.model(case, tmp_path)
    ours, theirs = (
        (model if case.get("inside") else tmp_path) / f"{who}.sig" for who in ("ours", "theirs")
    )
    here, config = project(tmp_path, []), tmp_path / "trust-config.json"
    who = f"identity: {IDENTITY}, issuer: {json.dumps(ISSUER)}, trusted-root: trusted_root.json"
    with (here / "sovgate.yaml").open("a") as file:
        file.write(f"  - {{name: vendor, may: [signature], keyless: {{{who}}}}}\n")
    with serving(Sigstore()) as served:
        config.write_text(json.dumps(served.trust_config(2)))
        uri = laid(here, served).replace(":", f":{here}/", 1).replace("=t", f"={here}/t")
        leave = [*ignored(case, model), "--ignore-paths", ours]
        how = ["--trust_config", config, "--identity_token", served.token(IDENTITY)]
        peer(model_signing, "sign", "sigstore", model, "--signature", theirs, *how, *leave)
        code, said = verify(model, theirs, ["--project", here], case)
        assert (code, said.get("signer", {}).get("name")) == (0, "vendor"), said
        theirs.unlink()
        for path in case.get("ignore", ()):
            (model / path).unlink()  # `sign` leaves no file out
        code, said = sovgate("sign", model, "--key", uri, "--signature", ours)
        assert code == 0, said
    schemas, made = files.schemas(), json.loads(ours.read_bytes())
    schemas["bundle"].validate(made)
    schemas["envelope"].validate(made["dsseEnvelope"])
    schemas["statement"].validate(payload(ours.read_bytes()))
    assert names(ours.read_bytes()) == sorted(case.get("signed") or names(ours.read_bytes()))
    how = ["--trust_config", config, "--identity", IDENTITY, "--identity_provider", ISSUER]
    peer(model_signing, "verify", "sigstore", model, "--signature", ours, *how)
    code, said = verify(model, ours, ["--project", here], case)
    assert code == 0, said


def test_the_vectors_of_the_specification_are_read_or_refused(files: Files, tmp_path: Path) -> None:
    """Nobody whom we know signed them: the valid ones are read as far as that."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"0")
    key = tmp_path / "key.pem"
    key.write_bytes(KeySigner().public_key.pem)
    seen = set()
    for path in files.vectors():
        code, said = sovgate("verify", tmp_path / "model", "--signature", path, "--key", key)
        assert code == 11, path
        seen.add(path.parent.name)
        unknown = said["error"]["reason"] in ("wrong-signer", "bad-signature")
        assert unknown or path.parent.name != "valid", said["error"]
        assert not unknown or path.parent.name != "invalid" or "tlog" in path.name, said["error"]
    assert seen == {"valid", "invalid", "invalid-payload"}


class Keys:
    """What a case signs with, in files: a key, and for certificates its chain."""

    def __init__(self, case: dict[str, Any], place: Path) -> None:
        self.signer = KeySigner(case.get("curve", "p256"))
        self.certificate = case["method"] == "certificate"
        self.place = place
        (place / "bare.pem").write_bytes(self.signer.private_pem)
        (place / "pub.pem").write_bytes(self.signer.public_key.pem)
        chain = b""
        if self.certificate:
            chain = self._chain(bool(case.get("self_signed")))
        (place / "key.pem").write_bytes(self.signer.private_pem + chain)

    def _chain(self, alone: bool) -> bytes:
        top, between = KeySigner(), KeySigner()
        if alone:
            leaf = above = root = issue("alone", self.signer, "alone", self.signer)
        else:
            root = issue("root", top, "root", top, ca=True)
            above = issue("between", between, "root", top, ca=True)
            leaf = issue("leaf", self.signer, "between", between)
        for name, certificate in (("root", root), ("between", above), ("leaf", leaf)):
            (self.place / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        more = () if alone else (above,)
        return b"".join(one.public_bytes(Encoding.PEM) for one in (leaf, *more))

    def trust(self) -> list[str | Path]:
        if not self.certificate:
            return ["--key", self.place / "pub.pem"]
        return ["--project", project(self.place, [self.place / "root.pem"])]

    def theirs(self, verb: str) -> list[str | Path]:
        """The same for model_signing's command."""
        at = self.place
        if verb == "verify":
            certified: list[str | Path] = ["--certificate_chain", at / "root.pem"]
            return certified if self.certificate else ["--public_key", at / "pub.pem"]
        found: list[str | Path] = ["--private_key", at / "bare.pem"]
        if self.certificate:
            found += ["--signing_certificate", at / "leaf.pem"]
            found += ["--certificate_chain", at / "between.pem"]
        return found


def peer(tool: ModelSigning, *arguments: str | Path) -> None:
    done = forked.MODEL_SIGNING.at(tool.python).run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def ignored(case: dict[str, Any], model: Path) -> list[str | Path]:
    return [word for path in case.get("ignore", ()) for word in ("--ignore-paths", model / path)]


@pytest.mark.component
@pytest.mark.parametrize("name", SIGNED)
def test_what_we_sign_keeps_the_schemas_and_model_signing_verifies_it(
    name: str, files: Files, tmp_path: Path, model_signing: ModelSigning
) -> None:
    case = case_of(name, files)
    model, keys = files.model(case, tmp_path), Keys(case, tmp_path)
    # `sign` leaves no file out: what is to be left out is taken out before.
    for path in case.get("ignore", ()):
        (model / path).unlink()
    bundle = (model if case.get("inside") else tmp_path) / "bundle.sig"
    code, said = sovgate("sign", model, "--key", tmp_path / "key.pem", "--signature", bundle)
    assert code == 0, said
    made = json.loads(bundle.read_bytes())
    schemas = files.schemas()
    schemas["bundle"].validate(made)
    schemas["envelope"].validate(made["dsseEnvelope"])
    schemas["statement"].validate(payload(bundle.read_bytes()))
    listed = names(bundle.read_bytes())
    assert listed == sorted(listed)
    assert listed == sorted(case.get("signed", listed))
    more: list[str | Path] = ignored(case, model)
    if case.get("ignore_unsigned"):
        (model / "injected.bin").write_text("after signing\n")
        more.append("--ignore_unsigned_files")
    how = [*keys.theirs("verify"), *more]
    peer(model_signing, "verify", case["method"], model, "--signature", bundle, *how)


@pytest.mark.component
@pytest.mark.parametrize("name", SIGNED)
def test_what_model_signing_signs_we_verify(
    name: str, files: Files, tmp_path: Path, model_signing: ModelSigning
) -> None:
    case = case_of(name, files)
    model, keys = files.model(case, tmp_path), Keys(case, tmp_path)
    bundle = (model if case.get("inside") else tmp_path) / "bundle.sig"
    how = [*keys.theirs("sign"), *ignored(case, model)]
    peer(model_signing, "sign", case["method"], model, "--signature", bundle, *how)
    if case.get("ignore_unsigned"):
        (model / "injected.bin").write_text("after signing\n")
    code, said = verify(model, bundle, keys.trust(), case)
    assert code == 0, said
    assert said["oms-root"] == payload(bundle.read_bytes())["subject"][0]["digest"]["sha256"]


@pytest.mark.parametrize("name", [case for case in ROUNDTRIP if case not in SIGNED])
def test_what_may_not_be_signed_is_not(name: str, files: Files, tmp_path: Path) -> None:
    case = case_of(name, files)
    Keys(case, tmp_path)
    bundle = tmp_path / "bundle.sig"
    model = files.model(case, tmp_path)
    code, _ = sovgate("sign", model, "--key", tmp_path / "key.pem", "--signature", bundle)
    assert code == 11
    assert not bundle.exists()


@pytest.mark.component
def test_the_day_when_model_signing_reads_a_file_by_its_basename(
    tmp_path: Path, model_signing: ModelSigning
) -> None:
    """The specification names a file by its basename (6.1.2); model_signing up to 1.1.1 reads "."
    alone, and so we write that. When this fails, write the basename, and keep reading both."""
    from sovgate.formats.oms import Oms
    from sovgate.stages import inventory
    from sovgate.stages.seal import seal

    signer = KeySigner()
    file = tmp_path / "model.bin"
    file.write_bytes(b"weights")
    (tmp_path / "pub.pem").write_bytes(signer.public_key.pem)
    ours = Oms.of(inventory.take(file).manifest, subject_name=file.name)
    named = replace(ours, items=(replace(ours.items[0], name=file.name),))
    done = {}
    for what, oms in (("dot", ours), ("basename", named)):
        bundle = tmp_path / f"{what}.sig"
        bundle.write_bytes(seal(oms.statement(), signer))
        how = ("--signature", bundle, "--public_key", tmp_path / "pub.pem")
        done[what] = subprocess.run(
            [model_signing.cli, "verify", "key", file, *how],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done["dot"].returncode == 0, done["dot"].stderr
    assert done["basename"].returncode != 0, "it verifies: write the basename from now on"
    assert "mismatch" in done["basename"].stderr + done["basename"].stdout


def test_the_index_names_the_commits_that_the_test_workflow_checks_out() -> None:
    from tests.omscases import INDEX

    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    for source in INDEX["sources"].values():
        assert f"repository: {source['repository']}\n" in workflow
        assert f"ref: {source['commit']}\n" in workflow
