"""The project file: two by hand that read, and every mistake with its line and its fix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import config, links
from sovgate.errors import ConfigError, ExitCode, SovgateError, UsageError
from sovgate.formats import dataset
from sovgate.pipeline.look.keys import generate
from sovgate.pipeline.project import Project, open_project

PROJECTS = Path(__file__).parent.parent / "vectors" / "projects"
LEAST = (PROJECTS / "least" / "sovgate.yaml").read_text()


def parse(text: str) -> config.ProjectConfig:
    return config.parse(text.encode(), Path("sovgate.yaml"))


def test_the_least_file_that_pushes() -> None:
    read = config.read(PROJECTS / "least" / "sovgate.yaml")
    assert read.model == "churn"
    assert read.zones["eu"].store == "s3://churn-eu"
    assert read.border["weights"].allow == (("home", "eu"),)
    assert read.trust is None
    assert read.policy == config.PolicyConfig(
        presets=("default",), rules=None, mode="enforce", engine="regorus"
    )


def with_gitops(more: str) -> config.GitOps:
    text = LEAST.replace("    store", f"    gitops: {{repo: x, path: o, {more}}}\n    store", 1)
    (found,) = (zone.gitops for zone in parse(text).zones.values() if zone.gitops)
    return found


def test_containers_are_one_or_several() -> None:
    assert with_gitops("container: a").containers == ("a",)
    assert with_gitops("containers: [a, b]").containers == ("a", "b")
    assert with_gitops("accept: [vars, labels]").accept == ("vars", "labels")
    assert with_gitops("key: 'file:/k.pem'").key == "file:/k.pem"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("container: a, containers: [b]", "container: and containers:"),
        ("containers: a", "must be a list"),
        ("containers: [a, a]", "twice"),
        ("accept: [patches]", "'patches' is not known"),
        ("accept: [patchesJson6092]", "'patchesJson6092' is not known"),
        ("key: '://'", "key"),
    ],
)
def test_what_gitops_cannot_mean_is_refused_at_its_line(more: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_gitops(more)
    assert says in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.line


def test_the_hybrid_file_in_full() -> None:
    read = config.read(PROJECTS / "hybrid" / "sovgate.yaml")
    assert read.zones["eu"].require == "api"
    assert read.zones["eu"].gitops is not None
    assert read.zones["eu"].gitops.via == "pull-request"
    assert read.gates["accuracy"].at_least == "0.90"  # text: no float enters a decision
    assert read.trust is not None
    assert read.trust[0].may == {"signature", "sbom", "provenance", "gate", "transfer"}
    assert read.trust[2].certificate == config.CertificateTrust(
        root="keys/bank-ca.pem", san="dpo@bank.example", authority_leaf=False
    )
    assert read.datasets["kyc-eu"].stays_in == ("EU",)
    assert str(read.where("datasets.kyc-eu.stays-in")) == "sovgate.yaml:23:5"


def test_project_and_manifest_intersect() -> None:
    """A demand in either place counts; a manifest that says more cannot loosen the project."""
    facts = open_project(PROJECTS / "hybrid").datasets()
    assert facts["kyc-eu"].stays_in == (("EU",), ("DE", "EU"))
    assert facts["kyc-eu"].commitment is not None
    assert facts["public-pretrain"].stays_in == ()


@pytest.mark.parametrize(
    ("project", "manifest", "expected"),
    [
        ("stays-in: []", "[]", ()),
        ("stays-in: []", "[EU]", (("EU",),)),
        ("stays-in: [DE]", "[]", (("DE",),)),
        ("stays-in: [EU]", "null", None),
        ("stays-in: null", "[]", None),
        ("category: x", "null", None),
        ("category: x", "[NO]", (("NO",),)),
        ("stays-in: [EU]", None, (("EU",),)),
        ("category: x", None, None),
    ],
)
def test_null_is_unknown_and_empty_is_free(
    tmp_path: Path, project: str, manifest: str | None, expected: object
) -> None:
    entry = f"d: {{{project}}}"
    if manifest is not None:
        entry = f"d: {{{project}, manifest: d.yaml}}"
        text = f"version: 1\nid: d\ncategory: x\npointer: s3://d\nstays-in: {manifest}\n"
        (tmp_path / "d.yaml").write_text(text)
    (tmp_path / "sovgate.yaml").write_text(LEAST + f"datasets:\n  {entry}\n")
    assert open_project(tmp_path).datasets()["d"].stays_in == expected


@pytest.mark.parametrize(
    ("change", "line", "what", "fix"),
    [
        (("zones:", "zone:"), 3, "no key 'zone'", "did you mean 'zones'?"),
        (("store:", "stor:"), 7, "no key 'stor'", "did you mean 'store'?"),
        (("aws:us-east-1", "aws:us-east-9"), 4, "aws:us-east-9", "aws:us-east-1"),
        (("aws:us-east-1", "us-east-1"), 4, "us-east-1", "aws:us-east-1"),
        (("home -> eu]}\n  meta", "home -> ue]}\n  meta"), 10, "no zone 'ue'", "write one of: eu"),
        (("home -> eu]}\n  meta", "home eu]}\n  meta"), 10, "not a crossing", "home -> eu"),
        (("  weights:", "  weigths:"), 10, "not a class of data", "weights"),
        (("version: 1", "version: 2"), 1, "version 2", "version: 1"),
        (("version: 1", "version: '1'"), 1, "whole number", "version: 1"),
        (("version: 1", "version: 1.0"), 1, "whole number", "e.g. version: 1"),
        (("version: 1", "version: one"), 1, "whole number", "e.g. version: 1"),
        (("border:", "audit: {zone: eu, keep: 7}\nborder:"), 9, "text", "as in keep: 7y"),
        (
            ("border:", "audit: {zone: eu, keep: '7'}\nborder:"),
            9,
            "is not a span of time",
            "as in keep: 7y",
        ),
        (
            ("border:", "audit: {zone: eu, keep: 90 Days}\nborder:"),
            9,
            "is not a span of time",
            "keep: 90d",
        ),
        (
            ("border:", "audit: {zone: eu, keep: 6 months}\nborder:"),
            9,
            "is not a span of time",
            "keep: 6m",
        ),
        (
            ("border:", "audit: {zone: eu, keep: 2 weeks}\nborder:"),
            9,
            "is not a span of time",
            "keep: 7y",
        ),
        (("border:", "audit: {zone: eu, keep: null}\nborder:"), 9, "nothing", "keep: 7y"),
        (
            ("border:", "gates: {a: {at-least: 90%, before: deploy}}\nborder:"),
            9,
            "must be a number",
            "at-least: 0.90",
        ),
        (
            ("border:", "gates: {a: {at-most: '>= 0,5 %', before: deploy}}\nborder:"),
            9,
            "must be a number",
            "at-most: 0.005",
        ),
        (
            ("border:", "gates: {a: {at-most: low, before: deploy}}\nborder:"),
            9,
            "must be a number",
            "at-most: 0.10",
        ),
        (
            ("s3://churn-eu", "arn:aws:s3:::churn-eu/x"),
            7,
            "an ARN alone",
            "write s3://churn-eu/x",
        ),
        (
            ("border:", "trust: [{key: 'arn:aws:kms:eu-west-1:1:key/2'}]\nborder:"),
            9,
            "an ARN alone",
            "write awskms:///arn:aws:kms:eu-west-1:1:key/2",
        ),
        (("border:", "zzqq: 1\nborder:"), 9, "no key 'zzqq'", "write one of: audit, border, cl"),
        (("border:", "audit:\nborder:"), 9, "audit is empty", "keys with their values"),
        (("model: churn", "model: ../x"), 2, "small letters, digits", None),
        (("model: churn", "model: NO"), 2, "small letters, digits", None),
        (("model: churn", "model: [a]"), 2, "must be text, not a list", "model: a"),
        (("model: churn", "model: [a, b]"), 2, "must be text, not a list", "one word or text"),
        (("model: churn", 'model: ["7"]'), 2, "must be text, not a list", 'model: "7"'),
        (("model: churn", "model:"), 2, "must be text, not nothing", "write its value: model: …"),
        (
            ("store: s3://churn-eu", "store:"),
            7,
            "text, not nothing",
            "write its value: store: …",
        ),
        (("model: churn", "model: 7"), 2, "must be text, not a number", 'in quotes: model: "…"'),
        (
            ("model: churn", "model: My Model"),
            2,
            "small letters, digits",
            "did you mean model: my-model?",
        ),
        (("model: churn", "model: Llama_3.1"), 2, "small letters, digits", "model: llama_3.1?"),
        (("s3://churn-eu", "s3://user:pw@churn-eu"), 7, "carries credentials", "environment"),
        (("    store", "    require: apii\n    store"), 7, "not one of the choices", "'api'"),
        (("model: churn\n", "model: churn\nmodel: x\n"), 3, "twice", "remove"),
        (("border:", "trust: [{name: a, key: k, may: [sign]}]\nborder:"), 9, "'sign'", "signature"),
        (("border:", "trust: [{name: a, may: []}]\nborder:"), 9, "one of key:, cert", "say once"),
        (("border:", "datasets: {a: {stays-in: [EUU]}}\nborder:"), 9, "'EUU'", "ISO 3166"),
        (("border:", "datasets: {a: {stays-in: EU}}\nborder:"), 9, "must be a list", "[a, b]"),
        (("border:", "gates: {acc: {at-least: high, before: deploy}}\nborder:"), 9, "number", None),
        (
            (
                "border:",
                "datasets: {a: {}}\ngates: {f: {dataset: a, at-least: 0.8, before: deploy}}"
                "\nborder:",
            ),
            10,
            "has no bound",
            "two gates",
        ),
        (("border:", "audit: {zone: us}\nborder:"), 9, "'us' is not one", "eu"),
        (("border:", "policy: {engine: cel}\nborder:"), 9, "'cel'", "regorus"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_fix(
    change: tuple[str, str], line: int, what: str, fix: str | None
) -> None:
    assert change[0] in LEAST
    with pytest.raises(ConfigError) as caught:
        parse(LEAST.replace(*change, 1))
    assert caught.value.exit_code is ExitCode.CONFIG
    assert caught.value.where is not None
    assert caught.value.where.line == line
    assert what in caught.value.what
    if fix is not None:
        assert fix in f"{caught.value.fix} {caught.value.why}"


@pytest.mark.parametrize(
    "repo", ["https://user:token@git.example/x.git", "-oProxyCommand=x", "https://tok@h/x"]
)
def test_rule_29_a_git_url_with_credentials_is_refused_and_not_repeated(repo: str) -> None:
    text = LEAST.replace("    store", f"    gitops: {{repo: '{repo}', path: o}}\n    store", 1)
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "token" not in str(caught.value) + str(caught.value.why) + str(caught.value.fix)


def test_an_unknown_zone_names_the_likely_one() -> None:
    with pytest.raises(ConfigError, match="no zone 'e'") as caught:
        parse(LEAST).zone("e")
    assert caught.value.reason == "unknown-zone"
    assert caught.value.fix is not None


def test_no_project_here_or_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no sovgate\.yaml here or above") as caught:
        open_project(None)
    assert caught.value.exit_code is ExitCode.CONFIG
    with pytest.raises(UsageError):  # named on the command line, so 2
        open_project(tmp_path / "nowhere")


def test_a_project_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sovgate.yaml").write_text(LEAST)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert open_project(None).base.resolve() == tmp_path


def test_a_strangers_project_above_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody left a sovgate.yaml in /tmp: it must not say whom we trust."""
    path = tmp_path / "sovgate.yaml"
    path.write_text(LEAST)
    (tmp_path / "ours").mkdir()
    monkeypatch.chdir(tmp_path / "ours")
    if os.getuid() == 0:
        os.chown(path, 4242, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 4242)
    with pytest.raises(ConfigError) as caught:
        open_project(None)
    assert caught.value.reason == "project-owner"
    assert open_project(tmp_path).config.model == "churn"  # named, so meant


def test_a_missing_key_file_is_a_mistake_of_the_file_not_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "sovgate.yaml").write_text(LEAST)
    project = open_project(tmp_path)
    with pytest.raises(SovgateError) as caught:
        project.signer("home")
    assert caught.value.exit_code in (ExitCode.CONFIG, ExitCode.KEY)
    assert str(caught.value.where) == "sovgate.yaml:4:42"
    with pytest.raises(ConfigError, match="zone eu has no key to sign") as missing:
        project.signer("eu")
    assert missing.value.fix == "add zones.eu.keys.sign to sovgate.yaml"


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_is_a_project_or_a_config_error(text: str) -> None:
    try:
        parse(LEAST + text)
    except ConfigError as error:
        assert error.where is not None


def test_opening_a_project_opens_nothing_that_it_names() -> None:
    assert isinstance(open_project(PROJECTS / "least"), Project)


def shared(tmp_path: Path) -> tuple[Path, Path]:
    """A project of ours with its keys, and a folder that others can write to."""
    ours = tmp_path / "ours"
    (tmp_path / "shared" / "below").mkdir(parents=True)
    generate("sign", out=ours / "keys" / "a.pem", algorithm="ec-p256")
    zone = 'home: {region: "aws:us-east-1", keys: {sign: keys/a.pem}}'
    text = f"version: 1\nmodel: churn\nzones:\n  {zone}\n"
    (ours / "sovgate.yaml").write_text(text)
    return ours, tmp_path / "shared"


@pytest.mark.parametrize("here", ["", "below"])
@pytest.mark.parametrize("target", ["{ours}/sovgate.yaml", "../ours/sovgate.yaml"])
def test_rule_40_a_link_to_our_project_has_the_keys_of_another_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, target: str
) -> None:
    ours, folder = shared(tmp_path)
    (folder / "sovgate.yaml").symlink_to(target.format(ours=ours))
    generate("sign", out=folder / "keys" / "a.pem", algorithm="ec-p256")
    monkeypatch.chdir(folder / here)
    with pytest.raises(ConfigError) as caught:
        open_project(None)
    assert (caught.value.exit_code, caught.value.reason) == (3, "unsafe-link")
    assert f"--project {ours}" in str(caught.value.fix)
    assert open_project(ours).trusted()  # as the fix says


def test_rule_40_the_keys_of_a_project_above_are_ours_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = shared(tmp_path)
    (ours / "below").mkdir()
    monkeypatch.chdir(ours / "below")
    assert open_project(None).trusted()
    inode = (ours / "keys" / "a.pem").stat().st_ino
    ask = links.is_ours
    monkeypatch.setattr(
        links, "is_ours", lambda state, *more: state.st_ino != inode and ask(state, *more)
    )
    with pytest.raises(ConfigError) as caught:
        open_project(None).trusted()
    assert (caught.value.exit_code, caught.value.reason) == (3, "key-owner")
    assert open_project(ours).trusted()  # named, so meant


def test_rule_40_a_project_and_its_keys_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    ours, _ = shared(tmp_path)
    for folder, name in ((ours, "sovgate.yaml"), (ours / "keys", "a.pem")):
        (folder / "..day").mkdir()
        (folder / name).rename(folder / "..day" / name)
        (folder / "..data").symlink_to("..day")
        (folder / name).symlink_to(f"..data/{name}")
    assert open_project(ours).trusted()


def test_rule_40_a_key_that_is_a_link_to_another_place_is_refused(tmp_path: Path) -> None:
    ours, folder = shared(tmp_path)
    (ours / "keys" / "a.pem").rename(folder / "real.pem")
    (ours / "keys" / "a.pem").symlink_to(folder / "real.pem")
    with pytest.raises(ConfigError) as caught:
        open_project(ours).signer("home")
    assert (caught.value.exit_code, caught.value.reason) == (3, "unsafe-link")
    assert f"file:{folder / 'real.pem'}" in str(caught.value.fix)


def test_each_key_that_is_known_is_named_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(LEAST + "zzqq: 1\n")
    named = str(caught.value.fix).removeprefix("write one of: ").split(", ")
    assert len(named) == len(set(named)) > 5


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "null\n"])
def test_an_empty_file_is_said_to_be_empty(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert (caught.value.what, caught.value.reason) == ("the file is empty", "bad-value")
    assert "`sovgate init`" in str(caught.value.fix)
    with pytest.raises(ConfigError) as caught:
        dataset.parse(text.encode(), "data/kyc.yaml")
    assert caught.value.what == "the file is empty"
    assert "`sovgate data commit`" in str(caught.value.fix)
