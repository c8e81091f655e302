"""sovgate signs through a Sigstore on loopback, that looks at tokens and requests as a real one
does; model_signing verifies it, and so does sovgate, when that Sigstore is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate.pipeline.look.keys import generate
from sovgate.stages import attest
from tests.components import ModelSigning
from tests.crossing import Crossing, make_crossing
from tests.sigstores import Sigstore
from tests.sigstoreserver import IDENTITY, ISSUER, Served, laid, serving

TRUSTED = f"keyless: {{identity: {IDENTITY}, issuer: '{ISSUER}', trusted-root: trusted_root.json}}"
EVERY = "signature, sbom, provenance, gate, transfer, part, decision, receipt, audit, promotion"


@pytest.fixture
def instance() -> Sigstore:
    return Sigstore()


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path)


def trust(crossing: Crossing, may: str = "signature, sbom, provenance", more: str = "") -> None:
    crossing.edit(
        "border:\n",
        "trust:\n"
        f"  - {{name: home, key: keys/home.pub.pem, from: home, may: [{EVERY}]}}\n"
        f"  - {{name: eu, key: keys/eu.pub.pem, from: eu, may: [{EVERY}]}}\n"
        f"  - {{name: release, may: [{may}], {TRUSTED}{more}}}\n"
        "border:\n",
    )


@pytest.mark.component
@pytest.mark.parametrize("version", [1, 2])
def test_it_signs_and_model_signing_verifies_and_the_model_crosses(
    crossing: Crossing, instance: Sigstore, version: int, model_signing: ModelSigning
) -> None:
    """With Rekor v1 the log tells the time, beside Rekor v2 the timestamp authority does."""
    with serving(instance) as served:
        key = laid(crossing.base, served, version)
        trust(crossing)
        said = crossing.json("sign", crossing.model, "--key", key)
        crossing.json("sbom", crossing.model, "--key", key)
        paths = ["/api/v2/signingCert"]
        paths += ["/api/v1/timestamp"] if version == 2 else []
        assert served.asked == [*paths, f"/api/v{version}/log/entries"] * 2
        assert [bearer != "" for bearer in served.heard] == [
            "signingCert" in path for path in served.asked
        ]
        config = crossing.base / "trust-config.json"
        config.write_text(json.dumps(served.trust_config(version)))
    # From here on no Sigstore is there.
    found = crossing.json("verify", crossing.model)
    assert found["manifest"] == said["manifest"]
    keyless = found["signer"]["keyless"]
    assert said["keyless"] == keyless
    assert (found["signer"]["name"], keyless["identity"]) == ("release", IDENTITY)
    assert keyless["by"] == (["the log"] if version == 1 else ["a timestamp authority"])
    done = subprocess.run(
        [
            *(model_signing.cli, "verify", "sigstore", crossing.model),
            *("--signature", attest.signature_path(crossing.model), "--trust_config", config),
            *("--identity", IDENTITY, "--identity_provider", ISSUER),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    crossing.push()
    crossing.json("pull", "churn/1.0.0", "--zone", "eu", "-o", crossing.base / "out")
    assert crossing.json("verify", crossing.base / "out")["signer"]["keyless"] == keyless


def test_signed_again_by_the_same_identity_the_older_signature_is_no_one_else_s(
    crossing: Crossing, instance: Sigstore
) -> None:
    """RULES 32: its key is another each time, and it is the same signer."""
    trust(crossing)
    folder = attest.evidence_dir(crossing.model)
    with serving(instance) as served:
        key = laid(crossing.base, served)
        crossing.json("sign", crossing.model, "--key", key)
        before = sorted(path.name for path in folder.iterdir())
        crossing.json("sign", crossing.model, "--key", key)
        assert sorted(path.name for path in folder.iterdir()) == before
        laid(crossing.base, served, token=served.token("other@firm.example"))
        crossing.json("sign", crossing.model, "--key", key)
        assert len(sorted(folder.iterdir())) == len(before) + 1


def test_beside_rekor_v1_an_authority_tells_the_time_too(
    crossing: Crossing, instance: Sigstore
) -> None:
    """As the public instance has it."""
    trust(crossing)
    with serving(instance) as served:
        key = laid(crossing.base, served, 1)
        config = served.signing_config(1) | {"tsaUrls": served.signing_config(2)["tsaUrls"]}
        (crossing.base / "signing.json").write_text(json.dumps(config))
        crossing.json("sign", crossing.model, "--key", key)
    keyless = crossing.json("verify", crossing.model)["signer"]["keyless"]
    assert keyless["by"] == ["the log", "a timestamp authority"]


def test_a_release_is_signed_by_nobody_whom_the_zone_does_not_believe(
    crossing: Crossing, instance: Sigstore
) -> None:
    """And is signed, and found signed already, by an identity whom it does."""
    trust(crossing, "sbom")
    words = ["release", crossing.model, "--release", "churn/1.0.0", "--zone", "home", "--to", "eu"]
    with serving(instance) as served:
        key = laid(crossing.base, served)
        words += ["--key", key, "--through", "push"]
        attest.signature_path(crossing.model).unlink()
        error = crossing.json(*words, code=3)["error"]
        assert (error["reason"], served.asked) == ("own-role", [])
        assert "signature" in error["fix"]
        crossing.edit("may: [sbom]", "may: [signature, sbom]")
        done = {step["name"]: step["outcome"] for step in crossing.json(*words)["steps"]}
        assert (done["sign"], done["sbom"]) == ("done", "done")
        asked = len(served.asked)
        done = {step["name"]: step["outcome"] for step in crossing.json(*words)["steps"]}
        assert (done["verify"], done["sbom"], len(served.asked)) == ("already", "already", asked)


def test_a_name_that_the_project_does_not_trust_is_told_with_the_entry_to_write(
    crossing: Crossing, instance: Sigstore
) -> None:
    with serving(instance) as served:
        key = laid(crossing.base, served)
        _, said = crossing.run("sign", crossing.model, "--key", key)
        assert f'keyless: {{identity: "{IDENTITY}", issuer: "{ISSUER}"' in said, said
        code, said = crossing.run("verify", crossing.model)
        assert code == 11
        trust(crossing)
        code, said = crossing.run("sign", crossing.model, "--key", key)
        assert (code, "trusts nobody" in said) == (0, False), said
        crossing.edit("may: [signature, sbom, provenance]", "may: [signature]")
        generate("sign", out=crossing.base / "keys/desk.pem")
        for signer in (key, "keys/desk.pem"):
            words = ("record", crossing.model, "--dataset", "public", "--key", signer)
            code, said = crossing.run(*words)
            assert (code, "has may: [provenance]; a record that cannot" in said) == (0, True), said


def test_the_two_files_of_an_instance_that_are_mistaken_for_each_other_are_3(
    crossing: Crossing, instance: Sigstore
) -> None:
    """The page says 3; so do what a project names and a trusted root that a person copied."""
    with serving(instance) as served:
        laid(crossing.base, served)
        for config, trusted, reason in (
            ("trusted_root.json", "trusted_root.json", "bad-signing-config"),
            ("signing.json", "signing.json", "bad-trusted-root"),
        ):
            key = f"sigstore:{config}?trusted-root={trusted}&token-file=token"
            error = crossing.json("sign", crossing.model, "--key", key, code=3)["error"]
            assert (error["reason"], served.asked) == (reason, [])
            assert error["fix"]


def test_through_an_instance_that_the_project_does_not_know_nobody_is_believed(
    crossing: Crossing, instance: Sigstore
) -> None:
    """The same names, vouched for by somebody else: what it signs would verify nowhere here."""
    trust(crossing)
    with serving(instance) as served:
        key = laid(crossing.base, served)
        (crossing.base / "trusted_root.json").rename(crossing.base / "own.json")
        (crossing.base / "trusted_root.json").write_text(json.dumps(Sigstore().trusted_root()))
        key = key.replace("trusted_root.json", "own.json")
        code, said = crossing.run("sign", crossing.model, "--key", key)
        assert (code, "trusts nobody of this name by this instance" in said) == (0, True), said
        served.asked.clear()
        words = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu", "--dataset", "public")
        told = crossing.json("release", crossing.model, *words, "--key", key, code=3)
        assert (told["error"]["reason"], served.asked) == ("own-role", [])


def test_a_record_of_data_that_may_not_be_where_the_identity_speaks_for_is_not_signed(
    crossing: Crossing, instance: Sigstore
) -> None:
    """An entry with `from: eu` speaks for eu, whichever key it has today."""
    trust(crossing, "provenance", ", from: eu")
    with serving(instance) as served:
        key = laid(crossing.base, served)
        words = ("record", crossing.model, "--dataset", "kyc", "--key", key)
        said = crossing.json(*words, code=10)
        assert said["error"]["reason"] == "data-not-here"
        assert "eu" in said["error"]["what"]
        assert served.asked == []


def test_of_the_names_that_a_token_has_the_certificate_s_alone_speaks_for_a_zone(
    crossing: Crossing, instance: Sigstore
) -> None:
    """By its subject it would speak for home, where the data may be; it is certified by its e-mail
    address, which speaks for eu."""
    trust(crossing, "provenance", ", from: eu")
    other = TRUSTED.replace(IDENTITY, "number-7@firm.example")
    crossing.edit(
        "border:\n", f"  - {{name: desk, may: [provenance], from: home, {other}}}\nborder:\n"
    )
    with serving(instance) as served:
        both = {"email": IDENTITY, "email_verified": True}
        key = laid(crossing.base, served, token=served.token("number-7@firm.example", **both))
        said = crossing.json("record", crossing.model, "--dataset", "kyc", "--key", key, code=10)
        assert said["error"]["reason"] == "data-not-here"
        assert served.asked == ["/api/v2/signingCert"]


def test_a_zone_has_a_key_that_stays(crossing: Crossing) -> None:
    """However a command comes by the zone's key, and before anybody is asked."""
    crossing.edit("keys/home.pem", '"sigstore:signing.json?trusted-root=trusted_root.json"')
    for words in (("sign", crossing.model), ("sbom", crossing.model)):
        said = crossing.json(*words, "--zone", "home", code=3)
        assert said["error"]["reason"] == "unsupported-key-use"
        assert "--key" in said["error"]["fix"]
        assert said["error"]["where"]["line"] == 6


def test_no_key_is_shown_of_who_has_a_new_one_each_time(crossing: Crossing) -> None:
    for word in ("show", "check"):
        said = crossing.json("keys", word, "sigstore:signing.json?trusted-root=r.json", code=3)
        assert "unsupported-key-use" in str(said), said


#: Ends a process that connects to another place than the one that was named, or asks for a name.
_NAMED = """
import sys
def refuse(event, args):
    named = event == "socket.connect" and args[1] == ("127.0.0.1", {port})
    sockets = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname")
    local = event == "socket.getaddrinfo" and args[0] == "127.0.0.1"
    if event in sockets and not named and not local:
        print("NETWORK", event, args[1:] if event == "socket.connect" else args, file=sys.stderr)
        import os
        os._exit(99)
sys.addaudithook(refuse)
from sovgate.cli import main
main(sys.argv[1:])
"""


def alone(
    served: Served, folder: Path, *words: object, **env: str
) -> subprocess.CompletedProcess[str]:
    port = served.address.rpartition(":")[2]
    return subprocess.run(
        [sys.executable, "-c", _NAMED.format(port=port), *map(str, words)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("version", [1, 2])
def test_no_service_is_asked_but_those_of_the_signing_config(
    crossing: Crossing, instance: Sigstore, version: int
) -> None:
    """Whatever the environment says of proxies, CAs, logs and TUF; and nothing is cached."""
    with serving(instance) as served:
        key = laid(crossing.base, served, version)
        elsewhere = "http://127.0.0.1:1"
        named = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "SIGSTORE_REKOR_URL", "TUF_ROOT")
        named += ("SIGSTORE_FULCIO_URL", "SIGSTORE_TSA_URL", "GCE_METADATA_HOST", "REKOR_SERVER")
        done = alone(
            served,
            crossing.base,
            *("sign", crossing.model, "--key", key, "--format", "json"),
            **dict.fromkeys(named, elsewhere),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert served.asked
    assert not (crossing.base / "home").exists()


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_signed_is_sent_to_rekor_v1_and_to_no_other_service(
    crossing: Crossing, instance: Sigstore, version: int
) -> None:
    """As the page tells who chooses an instance: v2 and the authorities get digests."""
    got: dict[str, bytes] = {}
    with serving(instance) as served:
        for path in ("/api/v2/signingCert", "/api/v1/timestamp", f"/api/v{version}/log/entries"):
            served.lies[path] = lambda body, made, path=path: (got.update({path: body}), made)[1]
        crossing.json("sign", crossing.model, "--key", laid(crossing.base, served, version))
    bundle = json.loads(attest.signature_path(crossing.model).read_bytes())
    payload = bundle["dsseEnvelope"]["payload"].encode()
    assert [path for path in got if payload in got[path]] == ["/api/v1/log/entries"][: 2 - version]
    assert len(got) == 1 + version


def test_a_token_is_in_nothing_that_is_written(crossing: Crossing, instance: Sigstore) -> None:
    """Planted in each place that it may come from; refused ones are told in no error either."""
    with serving(instance) as served:
        key = laid(crossing.base, served)
        good = served.token(IDENTITY)
        (crossing.base / "token").write_text(good)
        bare = key.replace("&token-file=token", "")
        foreign = served.token(IDENTITY, aud="https://bao.bank.example")
        late = served.token(IDENTITY, exp=1)
        text, run = "", []
        run.append((alone(served, crossing.base, "sign", crossing.model, "--key", key, "-v"), 0))
        for token, code in ((good, 0), (foreign, 20), (late, 20), (good[:-9], 20), ("x.y", 20)):
            words = ("sign", crossing.model, "--key", bare, "-v")
            run.append((alone(served, crossing.base, *words, SIGSTORE_ID_TOKEN=token), code))
        for done, code in run:
            assert done.returncode == code, done.stdout + done.stderr
            text += done.stdout + done.stderr
        assert set(served.heard) <= {"", good, good[:-9]}
    written = [p for p in crossing.base.rglob("*") if p.is_file() and p.name != "token"]
    text += "".join(path.read_bytes().decode("latin-1") for path in written)
    for token in (good, foreign, late):
        for part in token.split("."):
            assert part[5:] not in text.replace(token.split(".")[0], "")
