"""Where a job's identity token comes from: GitHub, GitLab, Google Cloud, a file of SPIFFE's or of
Kubernetes'. Each signs through a Sigstore that looks at it; what is missing is told to paste.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cloudmachine import ACCOUNT
from tests.components import ROOT
from tests.crossing import Crossing
from tests.sigstores import Sigstore
from tests.sigstoreserver import IDENTITY, laid, serving
from tests.vendor import Asked, Said, vendor

GITHUB, RUN = "https://token.actions.githubusercontent.com", "run.actions.githubusercontent.com"
WORKFLOW = "bank/churn/.github/workflows/release.yml@refs/heads/main"
FULCIO, LOG, STAMPS = "fulcio.bank.example", "log.bank.example", "tsa.bank.example"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    """A model alone: what its project trusts is asked elsewhere."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(b"weights")
    return Crossing(base=tmp_path, model=tmp_path / "model")


def signed_as(crossing: Crossing, key: str) -> str:
    code, said = crossing.run("sign", crossing.model, "--key", key)
    assert code == 0, said
    return said.partition("signed as ")[2].partition(" of ")[0]


def in_github(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"https://{RUN}/token?x=1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job")


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": GITHUB, "sub": "repo:bank/churn", "job_workflow_ref": WORKFLOW, **more}


def test_a_job_of_github_s_signs_as_its_workflow_through_a_proxy_and_a_private_ca(
    crossing: Crossing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each service has a host of its own, and hears its own secret; nobody else is asked."""
    with serving(Sigstore()) as served:
        served.issuers = {GITHUB}
        key = laid(crossing.base, served).replace("&token-file=token", "")
        config = served.signing_config(2)
        config["caUrls"][0]["url"] = f"https://{FULCIO}"
        config["rekorTlogUrls"][0]["url"] = f"https://{LOG}/"
        config["tsaUrls"][0]["url"] = f"https://{STAMPS}/api/v1/timestamp"
        (crossing.base / "signing.json").write_text(json.dumps(config))
        given: list[str] = []

        def answers(heard: Asked) -> Said:
            if heard.host == RUN:
                assert heard.path == "/token?x=1&audience=sigstore"
                given.append(served.token("repo:bank/churn", **claims()))
                return 200, {}, json.dumps({"value": given[-1]}).encode()
            bearer = heard.headers.get("authorization", "").removeprefix("Bearer ")
            kind, body = served.answer(heard.path, heard.body, bearer)
            assert isinstance(body, bytes)
            return 201, {"content-type": kind}, body

        in_github(monkeypatch)
        with vendor(tmp_path, [RUN, FULCIO, LOG, STAMPS], answers) as cloud:
            assert signed_as(crossing, key) == f"https://github.com/{WORKFLOW}"
            heard = [(asked.host, asked.headers.get("authorization")) for asked in cloud.seen]
        assert heard == [
            (RUN, "bearer job"),
            (FULCIO, f"Bearer {given[0]}"),
            (STAMPS, None),
            (LOG, None),
        ]


@pytest.mark.parametrize("login", ["", "&login=github"])
def test_without_the_permission_the_block_to_paste_is_printed(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served).replace("&token-file=token", login)
        error = crossing.json("sign", crossing.model, "--key", key, code=20)["error"]
        assert (error["reason"], served.asked) == ("no-credentials", [])
    assert error["details"] == [
        "paste into the job:",
        "  permissions:",
        "    id-token: write",
        "    contents: read",
    ]


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        ((307, {"location": "https://evil.example/"}, b""), 12, "redirected"),
        ((403, {}, b"{}"), 20, "credentials"),
        ((200, {}, b'{"value": "x"}'), 20, "bad-token"),
        ((200, {}, b'{"value": 1}'), 20, "credentials"),
        ((200, {}, b'"' + b"x" * 300_000 + b'"'), 20, "no-answer"),
        (None, 20, "other-audience"),
    ],
)
def test_a_token_service_that_lies_makes_nobody_sign(
    crossing: Crossing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Said | None,
    code: int,
    reason: str,
) -> None:
    in_github(monkeypatch)
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served).replace("&token-file=token", "")
        other = json.dumps({"value": served.token("x", **claims(aud="bank"))}).encode()
        said = (200, {}, other) if answer is None else answer
        with vendor(tmp_path, [RUN], lambda _: said):
            error = crossing.json("sign", crossing.model, "--key", key, code=code)["error"]
        assert (error["reason"], served.asked) == (reason, [])
    assert not (crossing.base / "model.evidence").exists()


def test_a_token_service_elsewhere_is_not_asked(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier step wrote to GITHUB_ENV would get the job's bearer, and choose who signs."""
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served).replace("&token-file=token", "")
        in_github(monkeypatch)
        for url in (f"{served.address}/token", "https://evil.example/token", "https://[x"):
            monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            error = crossing.json("sign", crossing.model, "--key", key, code=20)["error"]
            assert error["reason"] == "credentials"
        assert served.asked == []


def test_a_job_of_gitlab_s_signs_as_its_pipeline_and_is_told_what_it_lacks(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    path = "gitlab.com/bank/churn//.gitlab-ci.yml@refs/heads/main"
    with serving(Sigstore()) as served:
        served.issuers = {"https://gitlab.com"}
        key = laid(crossing.base, served, more="&audience=sigstore").replace(
            "&token-file=token", ""
        )
        error = crossing.json("sign", crossing.model, "--key", key, code=20)["error"]
        assert error["details"][1:] == [
            "  id_tokens:",
            "    SIGSTORE_ID_TOKEN:",
            "      aud: sigstore",
        ]
        token = served.token(
            "project_path:bank/churn", iss="https://gitlab.com", ci_config_ref_uri=path
        )
        monkeypatch.setenv("SIGSTORE_ID_TOKEN", token)
        assert signed_as(crossing, key) == f"https://{path}"


@pytest.mark.parametrize(
    ("said", "identity"),
    [
        (
            {"sub": "spiffe://bank.example/ns/ml/sa/signer"},
            "spiffe://bank.example/ns/ml/sa/signer",
        ),
        (
            {
                "sub": "system:serviceaccount:ml:signer",
                "kubernetes.io": {"namespace": "ml", "serviceaccount": {"name": "signer"}},
            },
            "https://kubernetes.io/namespaces/ml/serviceaccounts/signer",
        ),
    ],
)
def test_a_file_that_another_program_keeps_fresh(
    crossing: Crossing, said: dict[str, Any], identity: str
) -> None:
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served, token=served.token(said["sub"], **said))
        assert signed_as(crossing, key) == identity


def test_a_token_that_ends_while_the_model_is_read_is_fetched_again(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """spiffe-helper replaces the file; a certificate outlives no such token either."""
    from sovgate.keys import registry
    from sovgate.keys import sigstore as ours

    with serving(Sigstore()) as served:
        key = laid(crossing.base, served)
        signer = registry.open_signer(key, crossing.base)
        first = (crossing.base / "token").read_text()
        second = served.token(IDENTITY, jti="2")
        (crossing.base / "token").write_text(second)
        monkeypatch.setattr(ours, "EARLY", ours.EARLY * 1000)
        signer.prepare()
        assert served.heard == [second]
        assert first != second


def machine(folder: Path, lie: str) -> subprocess.CompletedProcess[str]:
    """`sign` on a machine that reaches its metadata service and a Sigstore, and nothing else."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace to be had here (unshare --net)")
    words = [folder, lie, "sign", "model", "--format", "json"]
    return subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.cloudmachine", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "GCE_METADATA_HOST": "127.0.0.1:1"},
    )


def test_a_machine_of_google_cloud_s_signs_as_its_service_account(crossing: Crossing) -> None:
    done = machine(crossing.base, "")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"signed as {ACCOUNT} of " in done.stderr


@pytest.mark.parametrize(
    ("lie", "code", "told"),
    [
        ("other", 20, "is not Google's"),
        ("none", 20, "run as a service account"),
        ("redirect", 12, "redirect"),
    ],
)
def test_what_answers_in_the_place_of_the_metadata_service(
    crossing: Crossing, lie: str, code: int, told: str
) -> None:
    done = machine(crossing.base, lie)
    assert done.returncode == code, done.stdout + done.stderr
    assert told in done.stdout
    assert not (crossing.base / "model.evidence").exists()


def test_no_metadata_service_is_asked_unless_the_key_says_so(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job anywhere may have one, and what it says is who we are."""
    monkeypatch.setenv("CI", "true")
    asked: list[str] = []
    monkeypatch.setattr(
        "sovgate.clouds.google.metadata.identity_token", lambda *_: asked.append("asked")
    )
    with serving(Sigstore()) as served:
        key = laid(crossing.base, served).replace("&token-file=token", "")
        error = crossing.json("sign", crossing.model, "--key", key, code=20)["error"]
    assert (error["reason"], asked) == ("no-credentials", [])
    assert "SIGSTORE_ID_TOKEN" in error["fix"]
