"""lint: every mistake at once, at its line, without network."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from sovgate import config
from sovgate.errors import ConfigError
from sovgate.pipeline.look.keys import generate
from sovgate.stores.registry import SCHEMES
from tests import commands
from tests.repositories import git
from tests.signers import KeySigner

ROOT = Path(__file__).parent.parent.parent
HYBRID = ROOT / "tests" / "vectors" / "projects" / "hybrid"
FILE = "sovgate.yaml"
RULE = """# METADATA
# title: A rule of the user's
# custom: {id: quiet-hours, severity: error, stage: replication, fix: "wait"}
package user.quiet_hours

import rego.v1

deny contains "not now" if {
	input.action == "transfer"
	not open
}

open if input.now.epoch > 0
"""


def lint(folder: Path, *arguments: str) -> tuple[int, dict[str, object], str]:
    done = commands.run("lint", *arguments, "--format", "json", cwd=folder)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(HYBRID, tmp_path, dirs_exist_ok=True)
    (tmp_path / "keys").mkdir()
    for name in ("eu.pub.pem", "us-signing.pem", "eu-signing.pem", "bank-ca.pem"):
        (tmp_path / "keys" / name).write_bytes(KeySigner().public_key.pem)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "quiet_hours.rego").write_text(RULE)
    return tmp_path


def found(document: dict[str, object]) -> list[tuple[object, ...]]:
    findings = document["findings"]
    assert isinstance(findings, list)
    return [(f["rule"], f["path"], f["line"]) for f in findings]


def test_a_good_project_has_no_findings(project: Path) -> None:
    code, document, error = lint(project)
    assert (code, document["findings"], error) == (0, [], "")
    assert document["files"] == [
        "sovgate.yaml",
        "data/public.yaml",
        "data/kyc-eu.yaml",
        "policies/quiet_hours.rego",
    ]


def test_all_that_cannot_work_is_found_at_once(project: Path) -> None:
    (project / "keys" / "eu.pub.pem").unlink()
    text = (project / "sovgate.yaml").read_text()
    text = text.replace("    store: s3://kyc-eu\n", "").replace(
        "category: personal", "category: secret"
    )
    (project / "sovgate.yaml").write_text(text)
    manifest = project / "data" / "public.yaml"
    manifest.write_text(manifest.read_text().replace("stays-in: []", "stays-in: null"))
    code, document, _ = lint(project)
    assert code == 3
    assert found(document) == [
        ("category-differs", "data/kyc-eu.yaml", 1),
        ("unknown-residence", "data/public.yaml", 1),
        ("border-without-store", "sovgate.yaml", 9),
        ("missing-file", "sovgate.yaml", 14),
    ]


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        ("https://github.com/a/b/.github/workflows/c.yml", "is nobody"),
        ("https://github.com/a/b/.github/workflows/c.yml@refs/pull/7/merge", "pull request"),
        ("https://github.com/a/b/.github/workflows/c.yml@refs/tags/v1", None),
    ],
)
def test_rule_23_a_keyless_entry_names_a_workflow_on_a_ref_of_its_own(
    project: Path, identity: str, said: str | None
) -> None:
    text = (project / "sovgate.yaml").read_text()
    issuer = "https://token.actions.githubusercontent.com"
    entry = f"{{identity: {identity!r}, issuer: {issuer!r}, trusted-root: keys/root.json}}"
    entries = f"  - {{name: ci, may: [sbom], keyless: {entry}}}\n"
    changed, count = re.subn(r"(?m)^trust:.*\n", lambda m: m[0] + entries, text)
    assert count == 1
    (project / "sovgate.yaml").write_text(changed)
    (project / "keys" / "root.json").write_text("{}")
    code, document, _ = lint(project)
    findings = [f for f in document["findings"] if f["rule"] == "keyless-identity"]  # type: ignore[attr-defined]
    assert (code == 3) == bool(findings) == (said is not None), document
    assert said is None or said in findings[0]["message"]
    (project / "keys" / "root.json").unlink()
    assert "missing-file" in [one[0] for one in found(lint(project)[1])]


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("s3://churn", "s3://churn", True),
        ("s3://churn/eu", "s3://churn/us", False),
        ("s3://churn?endpoint=https://[::1]", "s3://churn?endpoint=https://[0:0::1]/", True),
        ("s3://churn?endpoint=https://a.example", "s3://churn?endpoint=https://b.example", False),
        ("s3://churn?profile=a", "s3://churn?profile=b", True),
        ("file:store", "file:./x/../store", True),
        ("file:store/eu", "file:store/us", False),
    ],
)
def test_one_store_for_two_zones_is_told_before_the_second_push(
    tmp_path: Path, one: str, other: str, shared: bool
) -> None:
    (tmp_path / "sovgate.yaml").write_text(
        "version: 1\nmodel: m\nzones:\n"
        "  home: {region: aws:eu-central-1, keys: {sign-public: k.pem}}\n"
        f"  eu: {{region: aws:eu-central-1, store: '{one}', keys: {{encrypt-public: k.pem}}}}\n"
        f"  us: {{region: aws:eu-central-1, store: '{other}', keys: {{encrypt-public: k.pem}}}}\n"
        "border: {weights: {allow: [home -> eu, home -> us]}}\n"
    )
    _, document, _ = lint(tmp_path)
    told = [one for one in document["findings"] if one["rule"] == "shared-store"]  # type: ignore[attr-defined]
    assert len(told) == shared
    assert not told or (told[0]["severity"], told[0]["line"]) == ("error", 6)


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("sovgate.yaml", "version: 1\nmodle: x\n", "bad-value"),
        ("sovgate.yaml", "a: [\n", "bad-yaml"),
        ("data/kyc-eu.yaml", "version: 1\nid: kyc-eu\npointr: s3://x\n", "bad-value"),
    ],
)
def test_a_file_that_does_not_read_is_a_finding(
    project: Path, name: str, text: str, rule: str
) -> None:
    (project / name).write_text(text)
    code, document, _ = lint(project)
    assert code == 3
    assert (rule, name) in [finding[:2] for finding in found(document)]


def test_a_rule_that_could_fetch_or_allow_is_a_finding(project: Path) -> None:
    (project / "policies" / "bad.rego").write_text(
        RULE.replace("quiet_hours", "bad").replace(
            "open if input.now.epoch > 0", 'open if http.send({"url": "x"}).status_code == 200'
        )
    )
    code, document, _ = lint(project)
    assert code == 3
    assert "policies/bad.rego" in [path for _, path, _ in found(document)]


def test_a_key_or_store_without_an_adapter_is_found_before_it_is_opened(project: Path) -> None:
    text = (project / "sovgate.yaml").read_text()
    text = text.replace("s3://kyc-eu", "swift://kyc-eu").replace(
        "key: keys/eu-signing.pem", "key: k8s://eu"
    )
    (project / "sovgate.yaml").write_text(text)
    code, document, _ = lint(project)
    assert code == 3
    assert [rule for rule, _, _ in found(document)] == ["scheme-without-adapter"] * 2


@pytest.mark.parametrize("store", ["ftp://eu", "azblob://acct/models", "https://eu.example/x"])
def test_a_scheme_that_nobody_serves_is_found_before_a_push_is(project: Path, store: str) -> None:
    text = (project / "sovgate.yaml").read_text().replace("s3://kyc-eu", store)
    (project / "sovgate.yaml").write_text(text)
    code, document, _ = lint(project)
    assert code == 3
    (finding,) = [one for one in document["findings"] if one["rule"] == "scheme-without-adapter"]
    assert "zones.eu.store" in finding["message"]
    known = ", ".join(f"{scheme}:" for scheme in sorted(SCHEMES))
    assert finding["fix"] == f"name a store of one of these: {known}"


LONG = "a" * 300


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("keys/eu.pub.pem", LONG, "missing-file"),
        ("rules: policies/", f"rules: {LONG}", "missing-file"),
        ("rules: policies/", 'rules: "poli\\0cies/"', "bad-value"),
        ("manifest: data/public.yaml", 'manifest: "data\\0"', "bad-value"),
    ],
)
def test_a_path_that_no_file_can_have_is_a_finding_at_its_line(
    project: Path, old: str, new: str, rule: str
) -> None:
    text = (project / "sovgate.yaml").read_text()
    assert old in text
    (project / "sovgate.yaml").write_text(text.replace(old, new))
    for words in ((), (".",)):
        code, document, _ = lint(project, *words)
        assert code == 3
        lines = [line for name, path, line in found(document) if (name, path) == (rule, FILE)]
        assert lines
        assert all(lines)


def test_a_link_that_goes_round_is_a_finding(project: Path) -> None:
    (project / "policies" / "round.rego").symlink_to("round.rego")
    code, document, _ = lint(project)
    assert code == 3
    assert "policies/round.rego" in [path for _, path, _ in found(document)]


def test_a_file_that_is_named_brings_its_project(project: Path) -> None:
    code, document, _ = lint(project, "data")
    assert (code, document["files"]) == (0, ["data/kyc-eu.yaml", "data/public.yaml"])
    code, document, _ = lint(project, "data", "policies/quiet_hours.rego")
    assert code == 0
    assert document["files"][:4] == [
        "data/kyc-eu.yaml",
        "data/public.yaml",
        "policies/quiet_hours.rego",
        "sovgate.yaml",
    ]


def test_nothing_to_lint_and_a_missing_path_are_usage(tmp_path: Path) -> None:
    assert lint(tmp_path, ".")[0] == 2
    assert lint(tmp_path, "nowhere")[0] == 2
    assert lint(tmp_path)[0] == 3


def test_a_lift_that_no_gate_backs_is_a_finding(project: Path) -> None:
    text = (project / "sovgate.yaml").read_text()
    (project / "sovgate.yaml").write_text(text.replace("lifts: []", "lifts: [membership]"))
    _, document, _ = lint(project)
    assert ("lift-without-gate", "sovgate.yaml") in [finding[:2] for finding in found(document)]


SERVING = "https://git.example.eu/ml/serving.git"


@pytest.mark.parametrize(
    ("gitops", "code"),
    [
        (f"{{repo: {SERVING}, path: overlays/eu}}", 3),
        ("{repo: https://git.example.eu:443/ml/serving/, path: overlays/eu/}", 3),
        ("{repo: git@git.example.eu:ml/serving, path: ./overlays//eu, branch: main}", 3),
        (f"{{repo: {SERVING}, path: overlays/us}}", 0),
        (f"{{repo: {SERVING}, path: overlays/eu, branch: us}}", 0),
    ],
)
def test_rule_42_two_zones_that_share_an_overlay_are_a_finding(
    project: Path, gitops: str, code: int
) -> None:
    text = (project / "sovgate.yaml").read_text()
    assert f"repo: {SERVING}, path: overlays/eu, kind" in text
    store = "    store: s3://kyc-central\n"
    assert store in text
    (project / "sovgate.yaml").write_text(text.replace(store, f"{store}    gitops: {gitops}\n"))
    ended, document, _ = lint(project)
    assert ended == code
    if code:
        (finding,) = document["findings"]
        assert finding["rule"] == "one-overlay-for-two-zones"
        assert "us-train and eu" in finding["message"]
        assert finding["line"]


def test_rule_42_two_projects_that_share_an_overlay_are_a_finding_in_both(project: Path) -> None:
    top = project / "mono"
    shutil.move(project / "sovgate.yaml", project / "kept")
    text = (project / "kept").read_text().replace("repo: " + SERVING, "repo: @")
    spelt = ("https://GIT.example.eu/ml/serving.git", "git@git.example.eu:ml/serving")
    git("init", "-q", str(top))
    for name, repo in zip("ab", spelt, strict=True):
        (top / name).mkdir()
        (top / name / FILE).write_text(text.replace("@", repo).replace("path: o", "path: ./o"))
    (top / "c").mkdir()
    (top / "c" / FILE).write_text(text.replace("@", spelt[0]).replace("path: o", "path: c/o"))
    (top / "broken").mkdir()
    (top / "broken" / FILE).write_text("version: [")

    def shared(folder: Path) -> list[tuple[str, str, str]]:
        code, document, _ = lint(folder)
        assert code == 3
        every = [one for one in document["findings"] if one["rule"].startswith("one-overlay")]
        assert all(one["line"] and "'overlays/eu'" in one["message"] for one in every)
        return [(one["rule"], one["path"], one["message"]) for one in every]

    (one, other) = shared(top)
    assert (one[:2], other[:2]) == tuple(
        ("one-overlay-for-two-projects", f"{name}/{FILE}") for name in "ab"
    )
    assert f"zone eu of 'b/{FILE}'" in one[2]
    # Where one of them is linted alone, and in a folder that has none.
    assert len(shared(top / "b")) == 1
    assert shared(top / "c") == []


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ("path: overlays/eu", "path: ./overlays/eu", ("overlays/eu", "main")),
        ("path: overlays/eu", "path: overlays/./eu//", ("overlays/eu", "main")),
        ("path: overlays/eu", "path: ./", (".", "main")),
        ("path: overlays/eu", "branch: refs/heads/a/b, path: overlays/eu", ("overlays/eu", "a/b")),
    ],
)
def test_an_overlay_and_a_branch_are_known_however_they_are_spelt(
    project: Path, old: str, new: str, meant: tuple[str, str]
) -> None:
    text = (project / FILE).read_text()
    (project / FILE).write_text(text.replace(old, new))
    gitops = config.read(project / FILE).zones["eu"].gitops
    assert gitops is not None
    assert (gitops.path, gitops.branch) == meant


@pytest.mark.parametrize(
    "new",
    [
        "path: .git/x",
        "path: a/.GitHub",
        "path: a/../b",
        "path: 'a/con'",
        'path: "a/\\x7f"',
        "branch: refs/tags/v1, path: o",
        "branch: refs/remotes/origin/main, path: o",
        "branch: HEAD, path: o",
    ],
)
def test_what_promote_would_not_take_for_an_overlay_or_branch_lint_does_not_either(
    project: Path, new: str
) -> None:
    text = (project / FILE).read_text()
    (project / FILE).write_text(text.replace("path: overlays/eu", new))
    with pytest.raises(ConfigError) as caught:
        config.read(project / FILE)
    assert caught.value.reason == "bad-value"
    assert "for example" in str(caught.value.fix)


def test_whom_to_trust_is_not_told_by_a_secret_key(project: Path) -> None:
    generate("sign", out=project / "keys/secret.pem")
    text = (project / FILE).read_text()
    (project / FILE).write_text(text.replace("key: keys/us-signing.pem", "key: keys/secret.pem"))
    code, document, _ = lint(project)
    assert (code, [rule for rule, _, _ in found(document)]) == (3, ["private-half"])
    (finding,) = document["findings"]
    assert finding["line"] == text[: text.index("keys/us-signing.pem")].count("\n") + 1
    assert finding["fix"] == "write keys/secret.pub.pem"
    (project / FILE).write_text(
        text.replace("key: keys/us-signing.pem", "key: keys/secret.pub.pem")
    )
    assert lint(project)[0] == 0


def test_a_rule_that_is_misspelt_is_a_finding(project: Path) -> None:
    path = project / "policies" / "quiet_hours.rego"
    path.write_text(RULE.replace("deny contains", "denny contains"))
    code, document, _ = lint(project)
    assert (code, found(document)) == (3, [("policy-no-deny", "policies/quiet_hours.rego", None)])


def test_a_preset_that_does_not_exist_is_a_finding(project: Path) -> None:
    text = (project / "sovgate.yaml").read_text()
    assert "presets: [eu-personal-data]" in text
    (project / "sovgate.yaml").write_text(text.replace("[eu-personal-data]", "[eu-personal]"))
    code, document, _ = lint(project)
    assert (code, [f[0] for f in found(document)]) == (3, ["unknown-preset"])
    assert document["findings"][0]["path"] == "sovgate.yaml"
    assert document["findings"][0]["line"] == text[: text.index("presets:")].count("\n") + 1


def test_a_folder_of_rules_is_judged_as_it_is_loaded(project: Path) -> None:
    folder = project / "policies"
    (folder / "same.rego").write_text(RULE)
    code, document, _ = lint(project, "policies")
    assert code == 3
    assert [f[0] for f in found(document)] == ["policy-package"]
    (folder / "same.rego").write_text(
        RULE.replace("quiet_hours", "same").replace("quiet-hours", "same").replace("deny", "dny")
    )
    for paths in (["policies"], ["sovgate.yaml", "policies/"], ["."]):
        code, document, _ = lint(project, *paths)
        assert (code, [f[0] for f in found(document)]) == (3, ["policy-no-deny"])
    (folder / "quiet_hours.rego").write_text(
        RULE.replace("import rego.v1", "import rego.v1\n\nimport data.user.same")
    )
    assert lint(project, "policies")[0] == 0


@pytest.mark.parametrize("place", ["XX", "ZZ", "UE", "eu", "Europe", "EU-27"])
def test_a_place_that_does_not_exist_is_refused(project: Path, place: str) -> None:
    """Data that may stay nowhere would else look like data that may go nowhere: in order."""
    path = project / "data" / "kyc-eu.yaml"
    path.write_text(path.read_text().replace("stays-in: [DE, EU]", f"stays-in: [{place}]"))
    code, document, _ = lint(project)
    assert code == 3
    (finding,) = (f for f in document["findings"] if f["path"] == "data/kyc-eu.yaml")
    assert finding["rule"] == "unknown-group"
    assert repr(place) in finding["message"]
    assert "ISO 3166-1" in finding["message"]
    assert finding["line"]


def test_a_country_in_anothers_spelling_is_named(project: Path) -> None:
    path = project / "data" / "kyc-eu.yaml"
    path.write_text(path.read_text().replace("stays-in: [DE, EU]", "stays-in: [UK]"))
    _, document, _ = lint(project)
    (finding,) = (f for f in document["findings"] if f["path"] == "data/kyc-eu.yaml")
    assert "GB" in finding["fix"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("version: 1", "version: 1\nversion: 1"), ("version: 1", "version:\t1\n\tx: 1")],
)
def test_a_file_that_is_no_yaml_is_named_once(project: Path, old: str, new: str) -> None:
    path = project / FILE
    path.write_text(path.read_text().replace(old, new, 1))
    _, document, _ = lint(project)
    (finding,) = document["findings"]
    assert finding["path"] == FILE
    assert FILE not in finding["message"]
    assert commands.run("lint", cwd=project).stdout.count(FILE) == 1
