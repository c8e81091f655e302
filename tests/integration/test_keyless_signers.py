"""What others signed keylessly, from their own clients to our commands, without a network.

Signed by Sigstore's own Python client and by model_signing, at a Sigstore on loopback; that is gone
when sovgate looks at it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sigstore._internal.fulcio.client import FulcioClientError
from sigstore.dsse import StatementBuilder, Subject
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

from sovgate.formats.foreign import statement
from sovgate.stages import attest
from tests.components import ModelSigning
from tests.crossing import Crossing, make_crossing
from tests.sigstores import Sigstore
from tests.sigstoreserver import IDENTITY, ISSUER, serving


@pytest.fixture
def instance() -> Sigstore:
    return Sigstore()


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path)


@dataclass(frozen=True)
class Signer:
    """Signs statements as IDENTITY by Sigstore's own client."""

    instance: Sigstore
    version: int = 1
    identity: str = IDENTITY

    def sign(self, predicate_type: str, predicate: dict[str, Any], manifest: str) -> str:
        said = (
            StatementBuilder([Subject(name="churn", digest={"sha256": manifest})])
            .predicate_type(predicate_type)
            .predicate(predicate)
            .build()
        )
        with serving(self.instance) as served:
            config = ClientTrustConfig.from_json(json.dumps(served.trust_config(self.version)))
            token = IdentityToken(served.token(self.identity))
            with SigningContext.from_trust_config(config).signer(token) as signer:
                text: str = signer.sign_dsse(said).to_json()
        return text


def trust(crossing: Crossing, instance: Sigstore, may: str = "sbom") -> None:
    """Both zones' own keys for what `without trust` they may say, and the keyless signer."""
    (crossing.base / "trusted_root.json").write_text(json.dumps(instance.trusted_root()))
    every = "signature, sbom, provenance, gate, transfer, part, decision, receipt, audit, promotion"
    who = f"identity: {IDENTITY}, issuer: '{ISSUER}', trusted-root: trusted_root.json"
    crossing.edit(
        "border:\n",
        "trust:\n"
        f"  - {{name: home, key: keys/home.pub.pem, from: home, may: [{every}]}}\n"
        f"  - {{name: eu, key: keys/eu.pub.pem, from: eu, may: [{every}]}}\n"
        f"  - name: release\n    may: [{may}]\n    keyless: {{{who}}}\n"
        "border:\n",
    )


BOM = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": []}


CHECK = ("--action", "transfer", "--zone", "home", "--to", "eu")
#: A project's own rule: what is in a model is for the release workflow to say.
RULE = f"""# METADATA
# title: the release workflow lists what is in a model
# custom:
#   id: release-lists
#   severity: error
package user.release

import rego.v1

deny contains "no SBOM by the release workflow" if {{
    count([e |
        some e in input.evidence
        e.role == "sbom"
        e.identity == "{IDENTITY}"
        e.issuer == "{ISSUER}"
        e.logged > "2026-01-01T00:00:00Z"
    ]) == 0
}}
"""


def lay(crossing: Crossing, text: str, role: str = "sbom") -> None:
    folder = attest.evidence_dir(crossing.model)
    (folder / f"{role}-keyless.sigstore.json").write_text(text)


@pytest.mark.parametrize("version", [1, 2])
def test_sigstore_s_own_client_signs_and_a_rule_asks_for_the_identity(
    crossing: Crossing, instance: Sigstore, version: int
) -> None:
    trust(crossing, instance)
    crossing.edit("border:\n", "policy: {rules: policies}\nborder:\n")
    (crossing.base / "policies").mkdir()
    (crossing.base / "policies" / "release.rego").write_text(RULE)
    crossing.json("sbom", crossing.model, "--key", "keys/home.pem")
    denied = crossing.json("check", crossing.model, *CHECK, code=10)
    assert [one["message"] for one in denied["denies"]] == ["no SBOM by the release workflow"]
    text = Signer(instance, version).sign("https://cyclonedx.org/bom", BOM, crossing.manifest)
    lay(crossing, text)
    said = crossing.json("check", crossing.model, *CHECK)
    assert said["rejected"] == []
    (keyless,) = said["keyless"]
    root = (crossing.base / "trusted_root.json").read_bytes()
    assert (keyless["role"], keyless["signer"], keyless["identity"], keyless["issuer"]) == (
        "sbom",
        "release",
        IDENTITY,
        ISSUER,
    )
    assert keyless["trustedRoot"] == hashlib.sha256(root).hexdigest()
    _, printed = crossing.run("check", crossing.model, *CHECK)
    assert f"sbom by release: {IDENTITY} of {ISSUER}, signed at " in printed


def test_another_identity_of_the_same_instance_counts_for_nothing(
    crossing: Crossing, instance: Sigstore
) -> None:
    trust(crossing, instance)
    signer = Signer(instance, identity=f"{IDENTITY}.org")
    lay(crossing, signer.sign("https://cyclonedx.org/bom", BOM, crossing.manifest))
    said = crossing.json("check", crossing.model, *CHECK)
    (rejected,) = said["rejected"]
    assert rejected["reason"].startswith("wrong-signer")
    assert said["keyless"] == []


def test_rule_7_a_record_of_before_counts_by_the_time_that_the_log_shows(
    crossing: Crossing, instance: Sigstore
) -> None:
    """Nothing else dates it: no decision, no transfer, no receipt."""
    folder = attest.evidence_dir(crossing.model)
    (record,) = folder.glob("provenance-*.sigstore.json")
    said = statement(record.read_bytes())
    record.unlink()
    lay(
        crossing,
        Signer(instance).sign(said.predicate_type, said.predicate, crossing.manifest),
        "provenance",
    )
    trust(crossing, instance, "provenance")
    assert crossing.json("check", crossing.model, *CHECK)["allowed"]
    crossing.edit("    may: [provenance]\n", "    may: [provenance]\n    UNTIL\n")
    crossing.edit("UNTIL", 'former: true\n    until: "2099-01-01T00:00:00Z"')
    assert crossing.json("check", crossing.model, *CHECK)["allowed"]
    crossing.edit("2099-", "2026-")
    denied = crossing.json("check", crossing.model, *CHECK, code=10)
    assert any(one["reason"].startswith("former-signer") for one in denied["rejected"])


def test_it_crosses_and_the_story_tells_who_it_was(crossing: Crossing, instance: Sigstore) -> None:
    trust(crossing, instance)
    text = Signer(instance).sign("https://cyclonedx.org/bom", BOM, crossing.manifest)
    lay(crossing, text)
    crossing.push()
    crossing.json("pull", "churn/1.0.0", "--zone", "eu", "-o", crossing.base / "out")
    arrived = attest.evidence_dir(crossing.base / "out")
    texts = [one.read_text() for one in arrived.glob("sbom-*.sigstore.json")]
    assert text in texts
    decisions = [*arrived.glob("decision-*.sigstore.json")]
    assert decisions
    for decision in decisions:
        rows = statement(decision.read_bytes()).predicate["inputAttestations"]
        (row,) = [one for one in rows if "annotations" in one]
        assert row["annotations"]["identity"] == IDENTITY
    _, story = crossing.run("audit", "show", "churn/1.0.0", "--zone", "eu", "-v")
    assert f"release ({IDENTITY} of {ISSUER}, " in story, story


@pytest.mark.component
def test_a_model_that_another_tool_signed_keylessly_crosses(
    crossing: Crossing, instance: Sigstore, model_signing: ModelSigning
) -> None:
    """Its signature is the model's own, in place of a key's."""
    trust(crossing, instance, "signature")
    signed = model_signed(crossing, instance, model_signing, 2)
    attest.signature_path(crossing.model).write_bytes(signed.read_bytes())
    crossing.push()
    crossing.json("pull", "churn/1.0.0", "--zone", "eu", "-o", crossing.base / "out")
    found = crossing.json("verify", crossing.base / "out")
    assert found["signer"]["keyless"]["identity"] == IDENTITY


def model_signed(
    crossing: Crossing, instance: Sigstore, model_signing: ModelSigning, version: int
) -> Path:
    config, bundle = crossing.base / "trust-config.json", crossing.base / "churn.sig"
    with serving(instance) as served:
        config.write_text(json.dumps(served.trust_config(version)))
        words = ["--signature", bundle, "--trust_config", config]
        words += ["--identity_token", served.token(IDENTITY)]
        done = subprocess.run(
            [model_signing.cli, "sign", "sigstore", crossing.model, *words],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return bundle


@pytest.mark.component
@pytest.mark.parametrize("version", [1, 2])
def test_model_signing_signs_keylessly_and_sovgate_verifies(
    crossing: Crossing, instance: Sigstore, version: int, model_signing: ModelSigning
) -> None:
    trust(crossing, instance, "signature")
    bundle = model_signed(crossing, instance, model_signing, version)
    found = crossing.json("verify", crossing.model, "--signature", bundle)
    keyless = found["signer"]["keyless"]
    assert (found["signer"]["name"], keyless["identity"]) == ("release", IDENTITY)
    assert keyless["issuer"] == ISSUER
    assert keyless["by"] == (["the log"] if version == 1 else ["a timestamp authority"])
    code, said = crossing.run("verify", crossing.model, "--signature", bundle)
    assert code == 0
    for told in (IDENTITY, ISSUER, "signed at", "entry 5 of https://", "trusted root"):
        assert told in said, said


def test_a_token_by_another_login_gets_no_certificate() -> None:
    """The Sigstore of these tests is one: it looks at who asks."""
    said = StatementBuilder([Subject(name="m", digest={"sha256": "ab" * 32})])
    statement = said.predicate_type("https://cyclonedx.org/bom").predicate(BOM).build()
    with serving(Sigstore()) as other, serving(Sigstore()) as served:
        tokens = [other.token(IDENTITY), served.token(IDENTITY, iss="https://login.example")]
        config = ClientTrustConfig.from_json(json.dumps(served.trust_config(1)))
        for token in tokens:
            with (
                pytest.raises(FulcioClientError),
                SigningContext.from_trust_config(config).signer(IdentityToken(token)) as signer,
            ):
                signer.sign_dsse(statement)
    assert served.asked == ["/api/v2/signingCert"] * 2


#: Ends a process that opens a connection or asks for a name; RULES: no network that was not named.
_ALONE = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        print("NETWORK", event, args[1:] if event == "socket.connect" else args, file=sys.stderr)
        import os
        os._exit(99)
sys.addaudithook(refuse)
from sovgate.cli import main
main(sys.argv[1:])
"""


def test_nothing_is_asked_of_any_network(crossing: Crossing, instance: Sigstore) -> None:
    trust(crossing, instance, "sbom, signature")
    for version in (1, 2):
        text = Signer(instance, version).sign("https://cyclonedx.org/bom", BOM, crossing.manifest)
        folder = attest.evidence_dir(crossing.model)
        (folder / f"sbom-keyless{version}.sigstore.json").write_text(text)
    words = ["check", crossing.model, "--action", "transfer", "--zone", "home", "--to", "eu"]
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, *words, "--format", "json"],
        cwd=crossing.base,
        env={"PATH": "/usr/bin:/bin", "HOME": str(crossing.base / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (crossing.base / "home").exists()  # no cache of TUF is written either


def test_without_the_library_it_says_what_to_install(
    crossing: Crossing, instance: Sigstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not pass over what it could not look at."""
    trust(crossing, instance)
    text = Signer(instance).sign("https://cyclonedx.org/bom", BOM, crossing.manifest)
    folder = attest.evidence_dir(crossing.model)
    (folder / "sbom-keyless.sigstore.json").write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "sigstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    for words in (
        ("check", crossing.model, "--action", "transfer", "--zone", "home", "--to", "eu"),
        ("push", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"),
    ):
        said = crossing.json(*words, code=3)
        assert said["error"]["reason"] == "missing-package"
        assert said["error"]["fix"] == "pip install 'sovgate[sigstore]'"
    assert crossing.objects("releases/") == []


def test_doctor_says_whom_an_entry_believes_and_by_which_file(
    crossing: Crossing, instance: Sigstore
) -> None:
    trust(crossing, instance)
    code, said = crossing.run("doctor", "--zone", "home", "--offline")
    assert f"{IDENTITY} of {ISSUER}, by 2 logs of the trusted root sha256:" in said, (code, said)
    assert "keyless: sigstore" in said
    (crossing.base / "trusted_root.json").write_text("{}")
    code, said = crossing.run("doctor", "--zone", "home", "--offline")
    assert code == 3
    assert "not a trusted root of Sigstore" in said
