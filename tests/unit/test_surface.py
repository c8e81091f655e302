"""What is generated says what the commands say, and nothing in it can be injected into."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sovgate import uri
from sovgate.errors import MEANING, KeyServiceError
from sovgate.keys import _secret
from sovgate.keys import registry as keys
from sovgate.pipeline.look import doctor
from sovgate.stores import registry as stores
from sovgate.surface import __main__ as surface
from sovgate.surface import actions, install, launch, tekton
from sovgate.surface._verbs import SECRETS, TASK_VERSION, Verb, commands, verbs
from sovgate.surface._yaml import Block, dump

ROOT = Path(__file__).resolve().parents[2]
MADE = surface.files()
ACTIONS = sorted(path for path in MADE if path.endswith("action.yml"))
TASKS = sorted(p for p in MADE if p.startswith("tekton/") and p.endswith(".yaml"))
VERBS = {verb.path: verb for verb in verbs()}


def read(path: str) -> Any:
    return yaml.safe_load(MADE[path])


def step(path: str) -> dict[str, Any]:
    """The step that works; the one after it only looks whether it did."""
    found: dict[str, Any] = read(path)["runs"]["steps"][0]
    return found


def test_nothing_that_is_generated_differs_from_its_source() -> None:
    found = surface.drift(ROOT)
    assert not found, "\n".join([*found, "fix: python -m sovgate.surface"])


def test_drift_is_named(tmp_path: Path) -> None:
    surface.write(tmp_path)
    assert surface.drift(tmp_path) == []
    (tmp_path / "actions/sign/action.yml").write_text("edited by hand\n")
    (tmp_path / "docs/exit-codes.md").unlink()
    (tmp_path / "actions/gone").mkdir()
    (tmp_path / "actions/gone/action.yml").write_text("of a command that is no more\n")
    found = "\n".join(surface.drift(tmp_path))
    assert "differs: actions/sign/action.yml" in found
    assert "edited by hand" in found
    assert "missing: docs/exit-codes.md" in found
    assert "of no command: actions/gone/action.yml" in found
    surface.write(tmp_path)
    assert surface.drift(tmp_path) == []
    assert not (tmp_path / "actions/gone/action.yml").exists()


def test_the_same_bytes_each_time() -> None:
    """Whatever the order of sets is: here it is this process's, there that of the seed 1."""
    line = "from sovgate.surface.__main__ import files; print(sorted(files().items()))"
    there = subprocess.run(
        [sys.executable, "-c", line],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
    )
    assert there.stdout.decode() == f"{sorted(MADE.items())}\n"


@pytest.mark.parametrize("path", sorted(MADE))
def test_each_file_says_what_makes_it(path: str) -> None:
    first = "".join(MADE[path].splitlines()[:4])
    if path.startswith("patterns/"):  # exactly what `init` writes
        assert "`make generate` writes them anew" in (ROOT / "patterns/README.md").read_text()
        return
    if path == "schemas/project.json":  # its words are written by hand, its lists are not
        assert "by `python -m sovgate.surface`" in first
        return
    if path == "docs/stores.md":  # only its table is made
        assert "Made from sovgate/clouds/aws/profiles.py" in MADE[path]
        return
    assert "Generated from sovgate/" in first or "Generated from schemas/" in first
    assert "python -m sovgate.surface" in first
    assert "Do not edit" in first


PAGES = [*(ROOT / "docs").glob("*.md"), *(ROOT / "patterns").rglob("*.md"), ROOT / "README.md"]
SHOWN = [
    (page, block)
    for page in PAGES
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if "uses: org/sovgate/" in block
]


@pytest.mark.parametrize(("page", "block"), SHOWN, ids=lambda value: getattr(value, "stem", ""))
def test_a_step_that_a_page_shows_has_inputs_of_its_action(page: Path, block: str) -> None:
    def steps(part: Any) -> Iterator[dict[str, Any]]:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        if isinstance(part, dict) and str(part.get("uses", "")).startswith("org/sovgate/"):
            yield part
        for one in inner:
            yield from steps(one)

    found = list(steps(yaml.safe_load(block)))
    assert found
    for step in found:
        verb = step["uses"].split("/")[2].split("@")[0]
        inputs = read(f"actions/{verb}/action.yml")["inputs"]
        required = {name for name, one in inputs.items() if one.get("required")}
        assert required <= set(step.get("with", {})) <= set(inputs), f"{page.name}: {verb}"


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.path)
def test_a_page_says_which_options_are_required(verb: Verb) -> None:
    page = MADE[f"docs/reference/{verb.path}.md"]
    rows = page.split("# Options\n")[1].split("\n## ")[0].splitlines()
    for item in verb.parameters:
        if item.flags.startswith("-"):
            named = re.compile(rf"\| \S*{re.escape(item.flags)}(?![\w-])")
            (row,) = [row for row in rows if named.match(row)]
            assert (" Required. |" in row) == item.required, row


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.path)
def test_every_option_is_an_input_or_left_out_with_its_reason(verb: Verb) -> None:
    text = MADE[f"actions/{verb.path}/action.yml"]
    page = MADE[f"docs/reference/{verb.path}.md"]
    inputs = read(f"actions/{verb.path}/action.yml")["inputs"]
    task = read(f"tekton/tasks/sovgate-{verb.path}/{TASK_VERSION}/sovgate-{verb.path}.yaml")
    params = {param["name"] for param in task["spec"]["params"]}
    for item in verb.parameters:
        assert item.help, f"{item.flags} has no help"
        if item.left_out:
            assert f"#   {item.flags}: {item.left_out}" in text
            assert f"| {item.left_out} |" in page
            assert item.name not in inputs
        else:
            assert inputs[item.name]["description"] == item.sentence
            assert item.name in params
    secrets = {secret.name for secret in verb.secrets}
    assert set(inputs) == {item.name for item in verb.inputs} | secrets | set(actions.INSTALLING)


def test_a_secret_reaches_the_commands_that_need_it_and_no_other() -> None:
    for path in ACTIONS:
        env = step(path)["env"]
        for secret in SECRETS:
            wanted = path == "action.yml" or Path(path).parent.name in secret.verbs
            here = {verb for verb in secret.verbs if verb in VERBS}
            value = f"${{{{ inputs.{secret.name} }}}}" if wanted and here else ""
            assert env[secret.variable] == value
    assert {secret.variable for secret in SECRETS} <= {*launch.OURS, *launch.GIT_CREDENTIALS}


def test_who_lacks_a_secret_is_told_the_input_that_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In an Action a variable would be of no use: its own environment sets it anew."""
    monkeypatch.setenv("CI", "true")
    for secret in SECRETS:
        with pytest.raises(KeyServiceError) as caught:
            _secret.secret("it", secret.variable)
        assert f"the input {secret.name};" in str(caught.value.fix)


def test_a_task_leaves_to_a_clouds_webhook_what_that_sets() -> None:
    """Those for workloads of EKS and AKS pass over a container that has the name already."""
    theirs = {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}
    theirs |= {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"}
    for verb in VERBS.values():
        task = read(f"tekton/tasks/sovgate-{verb.path}/{TASK_VERSION}/sovgate-{verb.path}.yaml")
        names = {entry["name"] for entry in task["spec"]["steps"][0]["env"]}
        assert not names & theirs
        with_key = bool(verb.secrets)
        assert (
            set(tekton.SECRET_CREDENTIALS) <= names
            if with_key
            else not names & set(launch.CREDENTIALS)
        )


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.path)
def test_the_report_has_exactly_the_outputs_that_are_declared(verb: Verb) -> None:
    """Read from the source: each `Report(outputs={…})` of a verb has literally these keys."""
    found = [
        {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
        for node in ast.walk(ast.parse((ROOT / verb.module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Report"
        for keyword in node.keywords
        if keyword.arg == "outputs" and isinstance(keyword.value, ast.Dict)
    ]
    assert found, "a verb's Report has no outputs written out: declare them, and write them out"
    assert all(keys == set(verb.outputs) for keys in found)
    assert set(verb.artifact or ()) <= set(verb.outputs)


# --- actions ----------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ACTIONS)
def test_rule_21_an_action_is_an_environment_and_one_fixed_command(path: str) -> None:
    one = step(path)
    assert one["shell"] == "/bin/bash --noprofile --norc -eo pipefail {0}"
    assert "${{" not in one["run"]
    assert "\n" not in one["run"]
    words = one["run"].split(" ")
    assert words[:2] == ["/bin/bash", "-p"]
    assert words[2].startswith('"$GITHUB_ACTION_PATH/')
    for word in words[4:]:
        assert re.fullmatch(r'\$\{(INPUT_[A-Z_]+):\+"--[a-z-]+=\$\1"\}', word)
    expressions = re.findall(r"\$\{\{(.*?)\}\}", MADE[path])
    allowed = re.compile(r" (inputs\.[a-z-]+|steps\.run\.outputs\.[a-z-]+|runner\.\w+) ")
    assert all(allowed.fullmatch(text) for text in expressions)


@pytest.mark.parametrize("path", ACTIONS)
def test_rule_21_the_runner_itself_looks_whether_the_command_ran(path: str) -> None:
    """It starts what can be on no machine, and the condition is no program's to judge."""
    _, look = read(path)["runs"]["steps"]
    assert look["if"] == "steps.run.outputs.ran != 'true'"
    assert look["shell"].startswith("/dev/null/")
    assert "ran" not in read(path).get("outputs", {})


@pytest.mark.parametrize("path", ACTIONS)
def test_rule_21_each_variable_that_could_change_the_step_is_set_at_step_level(path: str) -> None:
    env = step(path)["env"]
    for names in actions.DANGEROUS.values():
        assert all(env[name] == "" for name in names)
    for name in (
        "BASH_ENV",
        "LD_PRELOAD",
        "PYTHONPATH",
        "PIP_INDEX_URL",
        "AWS_ENDPOINT_URL",
        "OPENSSL_CONF",
        "SHELLOPTS",
        "PS4",
        "GIT_SSH_COMMAND",
    ):
        assert env[name] == ""
    known = set(VERBS) if path == "action.yml" else {Path(path).parent.name}
    for name in known:
        for item in VERBS[name].parameters:
            assert set(item.variables) <= set(env)
    assert env["SOVGATE_FORMAT"] == "github"


@pytest.mark.parametrize("path", ACTIONS)
def test_an_option_that_weakens_trust_is_never_in_the_environment(path: str) -> None:
    env = step(path)["env"]
    for verb in VERBS.values():
        for item in verb.parameters:
            if item.weakens_trust:
                assert item.variables == ()
                name = f"SOVGATE_{verb.path}_{item.name}".upper().replace("-", "_")
                assert name not in env


def test_verify_takes_what_weakens_trust_quoted_in_the_fixed_command() -> None:
    run = step("actions/verify/action.yml")["run"]
    words = ['${INPUT_KEY:+"--key=$INPUT_KEY"}']
    words.append('${INPUT_IGNORE_PATHS:+"--ignore-paths=$INPUT_IGNORE_PATHS"}')
    words.append('${INPUT_CA:+"--ca=$INPUT_CA"}')
    words.append('${INPUT_PROXY:+"--proxy=$INPUT_PROXY"}')
    words.append('${INPUT_PROJECT:+"--project=$INPUT_PROJECT"}')
    assert run.endswith(f'enter.sh" verify {" ".join(words)}')


def test_the_root_action_has_every_input_of_every_verb() -> None:
    inputs = read("action.yml")["inputs"]
    assert inputs["command"]["required"] is True
    for verb in VERBS.values():
        assert {item.name for item in verb.inputs} <= set(inputs)
        assert set(verb.outputs) <= set(read("action.yml")["outputs"])


# --- Tekton -----------------------------------------------------------------------------------
def steps_of(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    found: dict[str, Any] = spec["steps"][0] if document["kind"] == "Task" else spec
    return found


RUNNABLE = [path for path in TASKS if "/samples/" not in path]


@pytest.mark.parametrize("path", RUNNABLE)
def test_a_step_is_locked_down_and_its_script_names_no_parameter(path: str) -> None:
    document = read(path)
    one = steps_of(document)
    assert "$(" not in one["script"]
    context = one["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    params = {param["name"] for param in document["spec"]["params"]}
    named = set(re.findall(r"\$\(params\.([a-z-]+)\)", MADE[path]))
    assert named == params
    if document["kind"] == "Task":
        assert set(one["computeResources"]) == {"requests", "limits"}


@pytest.mark.parametrize("path", RUNNABLE)
def test_values_of_parameters_stand_above_all_else_that_kubernetes_could_expand(path: str) -> None:
    """A hostile `$(NAME)` can then name another parameter and nothing else."""
    values = [entry.get("value", "") for entry in steps_of(read(path))["env"]]
    kinds = [value.startswith("$(params.") for value in values]
    assert kinds == sorted(kinds, reverse=True)


def test_rule_25_the_task_that_verifies_wants_a_digest() -> None:
    spec = read(f"tekton/tasks/sovgate-verify/{TASK_VERSION}/sovgate-verify.yaml")["spec"]
    (param,) = [p for p in spec["params"] if p["name"] == "manifest"]
    assert "default" not in param
    env = {entry["name"]: entry["value"] for entry in spec["steps"][0]["env"]}
    assert env["SOVGATE_VERIFY_MANIFEST"] == "$(params.manifest)"
    assert "workspace" in param["description"]


def test_rule_25_a_task_says_how_to_pin_the_release_it_takes() -> None:
    for verb in VERBS.values():
        spec = read(f"tekton/tasks/sovgate-{verb.path}/{TASK_VERSION}/sovgate-{verb.path}.yaml")[
            "spec"
        ]
        for param in spec["params"]:
            if param["name"] == "release":
                assert "@sha256:" in param["description"]


def test_a_stepaction_finds_where_its_results_go() -> None:
    spec = read(f"tekton/stepactions/sovgate-sign/{TASK_VERSION}/sovgate-sign.yaml")["spec"]
    env = {entry["name"]: entry.get("value") for entry in spec["env"]}
    assert env["SOVGATE_A_RESULT"] == "$(step.results.manifest.path)"
    line = [*spec["script"].splitlines()[:-1], 'printf %s "$SOVGATE_RESULTS_DIR"']
    done = subprocess.run(
        ["/bin/sh", "-c", "\n".join(line)],
        capture_output=True,
        text=True,
        check=True,
        env={"SOVGATE_A_RESULT": "/tekton/steps/step-sign/results/manifest"},
    )
    assert done.stdout == "/tekton/steps/step-sign/results"


def test_what_was_made_goes_to_chains_as_an_object() -> None:
    verb = Verb(
        path="push",
        summary="s",
        help="h",
        example="",
        usage="",
        parameters=(),
        module="m",
        outputs={"release": "r", "manifest": "m"},
        artifact=("release", "manifest"),
    )
    result = tekton.task(verb)["spec"]["results"][-1]
    assert result["name"].endswith("ARTIFACT_OUTPUTS")
    assert result["type"] == "object"
    assert set(result["properties"]) == {"uri", "digest", "isBuildArtifact"}


# --- pages ------------------------------------------------------------------------------------
def test_every_exit_code_is_on_the_page() -> None:
    for code, text in MEANING.items():
        assert f"| {int(code)} | {code.name.lower()} | {text} |" in MADE["docs/exit-codes.md"]


def test_every_command_has_a_page_and_every_link_leads_somewhere() -> None:
    for name in commands():
        assert f"docs/reference/{name}.md" in MADE
    for path, text in MADE.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text) if path.endswith(".md") else []:
            there = os.path.normpath(Path(path).parent / target)
            assert there in MADE or (ROOT / there).is_file(), f"{path} leads to {target}"


# --- YAML -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "NO",
        "1",
        "1.0",
        "null",
        "~",
        "a: b",
        "a #b",
        "- a",
        "'",
        '"',
        "a'b\"c",
        "é",
        "line\nbreak",
        "\x07",
        " lead",
        "trail ",
        "{}",
        "[x]",
        "*a",
        "&a",
        "!t",
        "%d",
        "@x",
        "`x`",
        "${{ inputs.x }}",
        "$(params.x)",
        "0x1f",
        "1e3",
        "2020-01-01",
        "\u2028",
        "=",
        "a:",
    ],
)
def test_a_scalar_reads_back_as_itself(text: str) -> None:
    assert yaml.safe_load(dump({"key": text, text or "empty": [text]}))["key"] == text
    assert yaml.safe_load(dump([text, {"a": text}])) == [text, {"a": text}]


def test_comments_and_blocks() -> None:
    text = dump({"#": "above", "run": Block("a\n\n  b"), "list": [{"a": 1, "b": []}, {}]})
    assert text.startswith("# above\n")
    assert yaml.safe_load(text) == {"run": "a\n\n  b\n", "list": [{"a": 1, "b": []}, {}]}


def shipped_workflows() -> Iterator[tuple[str, str]]:
    """Workflows that we write for others: as files, and in the pages of docs."""
    for path in ROOT.glob("patterns/**/*.y*ml"):
        yield str(path.relative_to(ROOT)), path.read_text()
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("patterns/**/*.md")):
        for number, block in enumerate(re.findall(r"```ya?ml\n(.*?)```", path.read_text(), re.S)):
            yield f"{path.relative_to(ROOT)}[{number}]", block


def test_rule_23_no_shipped_workflow_hands_keys_to_strangers() -> None:
    """Neither trigger that runs with secrets on another's code; no model code beside the keys."""
    seen = 0
    for name, text in shipped_workflows():
        assert "pull_request_target" not in text, name
        assert "workflow_run" not in text, name
        for job in re.split(r"^  (?=[A-Za-z_-]+:\s*$)", text, flags=re.M):
            verbs = re.findall(r"uses: *org/sovgate/(?:actions/)?([a-z]+)@", job)
            if {"sign", "encrypt", "push", "promote", "rollback", "attest"} & set(verbs):
                seen += 1
                # Those of whole projects also write and remove key files; no script of the user's.
                ran = r"\./|\.sh\b" if name.startswith("patterns/") else r"^\s*(- )?run:"
                own = re.sub(
                    r"""run: umask 077 && printf '%s\\n' "\$SIGN_KEY" > \S+$""", "", job, flags=re.M
                )
                assert not re.search(ran, own, re.M), name
    assert seen


# --- the launcher -----------------------------------------------------------------------------
def test_rule_21_the_command_gets_a_list_of_named_variables(tmp_path: Path) -> None:
    given = {
        "SOVGATE_SIGN_MODEL": "m",
        "SOVGATE_KEY": "file:evil",
        "SOVGATE_VERIFY_MODEL": "x",
        "SOVGATE_FORMAT": "github",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "/evil.so",
        "HOME": "/evil",
        "PATH": "/evil",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_ENDPOINT_URL": "evil",
        "MY_PIN": "1",
        "OTHER": "2",
        "GITHUB_OUTPUT": "/out",
        "SOVGATE_ACTION_PASS_ENV": "MY_PIN",
    }
    made = launch._environment("sign", given, tmp_path)
    assert made.pop("HOME") != "/evil"
    assert made.pop("PATH") == "/usr/local/bin:/usr/bin:/bin"
    assert made.pop("TMPDIR").startswith(str(tmp_path))
    assert made == {
        "SOVGATE_SIGN_MODEL": "m",
        "SOVGATE_FORMAT": "github",
        "AWS_ACCESS_KEY_ID": "id",
        "MY_PIN": "1",
        "GITHUB_OUTPUT": "/out",
        "LC_ALL": "C.UTF-8",
    }


def test_only_what_pushes_commits_gets_the_credentials_of_git(tmp_path: Path) -> None:
    given = {"SOVGATE_GIT_TOKEN": "t", "SOVGATE_GIT_USER": "u", "SSH_AUTH_SOCK": "/s"}
    for command, passes in (
        ("promote", True),
        ("rollback", True),
        ("push", False),
        ("sign", False),
    ):
        (tmp_path / command).mkdir()
        made = launch._environment(command, given, tmp_path / command)
        assert (set(given) <= set(made)) is passes


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "PYTHONPATH",
        "PATH",
        "BASH_ENV",
        "SOVGATE_KEY",
        "PIP_INDEX_URL",
        "HOME",
        "AWS_ENDPOINT_URL_S3",
        "AWS_CONFIG_FILE",
        "SSL_CERT_FILE",
        "https_proxy",
        "GIT_SSH_COMMAND",
        "AWS_CA_BUNDLE",
        "a=b",
        "x;y",
        "TMPDIR",
        "GITHUB_OUTPUT",
        "OPENSSL_CONF",
        "KUBECONFIG",
        "HOSTALIASES",
        "LC_ALL",
        "XDG_DATA_HOME",
        "VAULT_SKIP_VERIFY",
        "MALLOC_TRACE",
        *(name for names in actions.DANGEROUS.values() for name in names),
    ],
)
def test_rule_21_a_variable_that_changes_programs_cannot_be_asked_for(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(launch.Refused, match="pass-env"):
        launch._environment("sign", {"SOVGATE_ACTION_PASS_ENV": name}, tmp_path)


def test_a_command_that_is_no_action_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["keys\n::set-output name=x::y"]) == 2
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "::set-output" not in out


def test_a_project_that_cannot_be_is_left_to_the_command(tmp_path: Path) -> None:
    for project in ("x" * 5000, str(tmp_path / "nowhere"), "a\nb"):
        locks = launch._locks("sign", [f"--project={project}"], {})
        assert [path.name for path in locks] == ["base.txt"]


def test_a_full_disk_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of wheels that is a file, where the environment would be built."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOVGATE_ACTION_WHEELS", str(tmp_path / "file" / "wheels"))
    monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))
    assert launch.main(["lint"]) == 24
    assert capsys.readouterr().out.startswith("::error title=sovgate::the folder of wheels cannot")
    assert list(tmp_path.glob("sovgate-*")) == []


def test_a_comment_in_the_project_file_needs_no_extra(tmp_path: Path) -> None:
    (tmp_path / "sovgate.yaml").write_text(
        "version: 1\n  # store: s3://some-day\n# awskms:///arn\n"
    )
    locks = launch._locks("sign", [f"--project={tmp_path}"], {})
    assert [path.name for path in locks] == ["base.txt"]


def test_an_extra_comes_with_the_scheme_that_needs_it(tmp_path: Path) -> None:
    base = launch._locks("sign", [f"--project={tmp_path}"], {})
    assert [path.name for path in base] == ["base.txt"]
    (tmp_path / "sovgate.yaml").write_text("zones: {a: {store: s3://bucket}}\n")
    (tmp_path / "below").mkdir()
    locks = launch._locks("sign", [f"--project={tmp_path / 'below'}"], {})
    assert [path.name for path in locks] == ["base.txt", "aws.txt"]
    (tmp_path / "sovgate.yaml").write_text("zones: {a: {store: gs://bucket}}\n")
    locks = launch._locks("sign", [f"--project={tmp_path}"], {})
    assert [path.name for path in locks] == ["base.txt", "gcp.txt"]
    (tmp_path / "sovgate.yaml").write_text('zones: {a: {keys: {sign: "pkcs11:token=a"}}}\n')
    locks = launch._locks("sign", [f"--project={tmp_path}"], {})
    assert [path.name for path in locks] == ["base.txt", "hsm.txt"]


def test_the_launcher_and_the_image_know_the_scheme_of_each_key_that_needs_a_package() -> None:
    """A walk over the registry: an adapter that says `pip install sovgate[NAME]` gets NAME."""
    for scheme, name in keys.SCHEMES.items():
        module = ROOT / name.replace(".", "/")
        files = list(module.rglob("*.py")) if module.is_dir() else [module.with_suffix(".py")]
        text = "".join(path.read_text(encoding="utf-8") for path in files)
        for extra in set(re.findall(r"pip install 'sovgate\[([a-z]+)\]'", text)):
            assert launch.EXTRAS.get(scheme) == extra
    image = (ROOT / "scripts" / "container.py").read_text(encoding="utf-8")
    installed = re.search(r"^EXTRAS = \((.*?)\)$", image, re.MULTILINE | re.DOTALL)
    assert installed is not None
    assert set(launch.EXTRAS.values()) <= set(re.findall(r'"([a-z]+)"', installed[1]))


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("trust:\n  - {name: a, may: [sbom], keyless: {identity: b}}\n", True),
        ("trust:\n  - name: a\n    keyless:\n      identity: b\n", True),
        ('trust: [{"name": "a", "keyless": {"identity": "b"}}]', True),
        ("model: keyless\n", False),
        ("# keyless: {identity: b}\n", False),
        ("model: x-keyless: 1\n", False),
    ],
)
def test_a_keyless_entry_of_trust_brings_its_library(
    tmp_path: Path, text: str, needed: bool
) -> None:
    (tmp_path / "sovgate.yaml").write_text(text)
    locks = launch._locks("verify", [f"--project={tmp_path}"], {})
    assert ("sigstore.txt" in [path.name for path in locks]) == needed


def test_each_scheme_of_an_extra_has_an_adapter_and_a_lock() -> None:
    """What has none is left to the command, whose error names the line in the project file."""
    assert set(launch.EXTRAS) <= {*stores.SCHEMES, *keys.SCHEMES, *keys.SIGNERS, "keyless"}
    assert set(launch.EXTRAS) == set(doctor.EXTRAS)
    assert all((ROOT / f"requirements/{name}.txt").is_file() for name in launch.EXTRAS.values())
    for scheme in uri.WITHOUT_ADAPTER:
        options = [f"--key={scheme}://x"]
        assert [path.name for path in launch._locks("sign", options, {})] == ["base.txt"]


# --- unpacking --------------------------------------------------------------------------------
def wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return hashlib.sha256((folder / name).read_bytes()).hexdigest()


@pytest.fixture
def chosen(tmp_path: Path) -> tuple[list[Path], Path, Path]:
    """A lock of one package, a folder with its wheel, and an empty environment."""
    wheels, environment = tmp_path / "wheels", tmp_path / "env"
    wheels.mkdir()
    install._site(environment).mkdir(parents=True)
    digest = wheel(wheels, "a-1-py3-none-any.whl", {"a.py": "x = 1\n"})
    lock = tmp_path / "base.txt"
    lock.write_text(f"a==1 --hash=sha256:{'0' * 64} --hash=sha256:{digest}\n")
    install._choice([lock], wheels).write_text('["a-1-py3-none-any.whl"]')
    return [lock], wheels, environment


def test_rule_22_what_is_unpacked_is_what_the_lock_names(
    chosen: tuple[list[Path], Path, Path],
) -> None:
    locks, wheels, environment = chosen
    assert install._unpack(locks, wheels, environment)
    assert [path.name for path in install._site(environment).iterdir()] == ["a.py"]


def test_a_package_that_not_every_machine_needs_may_be_left_out(
    chosen: tuple[list[Path], Path, Path],
) -> None:
    locks, wheels, environment = chosen
    more = f"b==1 ; python_version < '3' --hash=sha256:{'1' * 64}\n"
    locks[0].write_text(locks[0].read_text() + more)
    install._choice(locks, wheels).write_text('["a-1-py3-none-any.whl"]')
    assert install._unpack(locks, wheels, environment)


@pytest.mark.parametrize(
    "fault",
    [
        "changed",
        "missing",
        "unlocked",
        "empty",
        "no list",
        "deep",
        "elsewhere",
        "other lock",
        "left out",
    ],
)
def test_rule_22_anything_else_is_not_unpacked(
    chosen: tuple[list[Path], Path, Path], fault: str
) -> None:
    """pip is asked then, which checks the same hashes."""
    locks, wheels, environment = chosen
    note, name = install._choice(locks, wheels), "a-1-py3-none-any.whl"
    if fault == "changed":
        with (wheels / name).open("ab") as file:
            file.write(b" ")
    elif fault == "missing":
        (wheels / name).unlink()
    elif fault == "unlocked":
        wheel(wheels, "b-1-py3-none-any.whl", {"b.py": "evil"})
        note.write_text(f'["{name}", "b-1-py3-none-any.whl"]')
    elif fault == "empty":
        note.write_text("[]")
    elif fault == "no list":
        note.write_text('{"a": 1')
    elif fault == "deep":
        note.write_text("[" * 100_000)
    elif fault == "left out":
        locks[0].write_text(f"{locks[0].read_text()}b==1 --hash=sha256:{'1' * 64}\n")
        install._choice(locks, wheels).write_text(f'["{name}"]')
    elif fault == "elsewhere":
        wheel(wheels.parent, "b-1-py3-none-any.whl", {"b.py": "evil"})
        note.write_text('["../b-1-py3-none-any.whl"]')
    elif fault == "other lock":
        locks[0].write_text(locks[0].read_text() + "# another\n")
    assert not install._unpack(locks, wheels, environment)
    assert list(install._site(environment).iterdir()) == []
