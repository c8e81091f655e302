"""The actions as workflows use them, run by the real act: `uses: org/sovgate/sign@v1`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests import forked
from tests.pace import told_to_end
from tests.workflows import PYTHON, Act, Log, release_tree, uses, wheels, workflow

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def runner(act: Path, tmp_path_factory: pytest.TempPathFactory) -> Act:
    folder = tmp_path_factory.mktemp("act")
    return Act(act, release_tree(folder / "tree"), folder)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a model, and key files outside it."""
    model = tmp_path / "repository" / "build" / "churn"
    model.mkdir(parents=True)
    (model / "weights.bin").write_bytes(b"weights")
    sovgate("keys", "generate", "sign", "-o", tmp_path / "sign.pem")
    return tmp_path / "repository"


def sovgate(*words: str | Path, code: int = 0) -> str:
    done = forked.SOVGATE.run(*words, cwd=ROOT)
    assert done.returncode == code, done.stderr
    return done.stdout


def key(repository: Path) -> str:
    return f"file:{repository.parent / 'sign.pem'}"


def public(repository: Path) -> str:
    return str(repository.parent / "sign.pub.pem")


def test_a_model_is_signed_and_verified_in_two_steps(runner: Act, repository: Path) -> None:
    """By `org/sovgate/sign`, as a release has it, and by `org/sovgate/actions/verify`, as main."""
    log = runner.run(
        workflow(
            uses("sign", "sign", model="build/churn", key=key(repository)),
            uses(
                "actions/verify",
                "verify",
                model="build/churn",
                key=public(repository),
                manifest="${{ steps.sign.outputs.manifest }}",
            ),
        ),
        repository,
    )
    assert log.code == 0, str(log)
    signed, verified = log.outputs("sign"), log.outputs("verify")
    assert set(signed) == {"manifest", "signature", "key-id", "ran"}
    assert set(verified) == {"manifest", "signature", "signer", "ran"}
    assert signed["manifest"] == verified["manifest"]
    assert signed["manifest"].startswith("sha256:")
    summary = log.summary("sign")
    assert summary.startswith("#### ✅ signed churn")
    assert f"| manifest | {signed['manifest']} |" in summary
    assert "|---|---|" in summary
    print(f"seconds: sign {log.seconds('sign'):.1f}, verify {log.seconds('verify'):.1f}")


def test_the_root_action_runs_the_command_it_is_told(runner: Act, repository: Path) -> None:
    log = runner.run(
        workflow(
            uses("", "sign", command="sign", model="build/churn", key=key(repository)),
            uses("", "verify", command="verify", model="build/churn", key=public(repository)),
            uses("", "wrong", when="always()", command="sign;id", model="build/churn"),
        ),
        repository,
    )
    assert log.result("sign") == log.result("verify") == "success", str(log)
    assert log.outputs("sign")["manifest"] == log.outputs("verify")["manifest"]
    assert log.result("wrong") == "failure"
    assert "there is no action for the command" in log.text("wrong", "run") + str(log)


def test_a_model_that_was_changed_fails_the_step_with_an_annotation(
    runner: Act, repository: Path
) -> None:
    log = runner.run(
        workflow(
            uses("sign", "sign", model="build/churn", key=key(repository)),
            {"run": "echo more >> build/churn/weights.bin"},
            uses("verify", "verify", model="build/churn", key=public(repository)),
            {"id": "after", "run": "echo deployed"},
        ),
        repository,
    )
    assert log.result("verify") == "failure"
    assert log.code != 0
    assert "exit status 11" in str(log)
    (annotation,) = log.annotations("verify", "run")
    assert "::error::the model is not the one that was signed" in annotation
    assert "weights.bin" in log.text("verify", "run")
    assert "⛔" in log.summary("verify")
    assert "weights.bin" in log.summary("verify")
    assert not any(log.outputs("verify").values())
    assert log.text("after") == ""


def test_rule_25_another_model_by_the_same_hand_is_refused(runner: Act, repository: Path) -> None:
    log = runner.run(
        workflow(
            uses("sign", "sign", model="build/churn", key=key(repository)),
            uses(
                "verify",
                "verify",
                model="build/churn",
                key=public(repository),
                manifest="sha256:" + "0" * 64,
            ),
        ),
        repository,
    )
    assert log.result("sign") == "success"
    assert log.result("verify") == "failure"
    assert "is another model" in log.annotations("verify", "run")[0]


# --- hostile values ---------------------------------------------------------------------------
# Several to a name: each costs a run.
HOSTILE = {
    "shell and page": """a'b"c $(touch PLANTED) `touch PLANTED` ${IFS}; touch PLANTED && touch \
PLANTED # <img src=x><script> [a](https:evil) ![b](https:x) | `tick` **bold** größe-模型-🙂""",
    "runner and expression": "::set-output name=manifest::evil %0A::error::planted "
    "##[error]planted $ {{ secrets.KEY }} $(SOVGATE_SIGN_KEY)",
    "option": "--help",
}


def nothing_planted(log: Log, repository: Path) -> None:
    """Nothing in the value was run, by a shell, the runner, or a reader of the summary."""
    assert not list(repository.parent.rglob("PLANTED"))
    for step in (("sign",), ("sign", "run"), ("verify",), ("verify", "run")):
        assert "evil" not in log.outputs(*step).get("manifest", "")
        assert not any(text.startswith("planted") for text in log.annotations(*step))
        summary = log.summary(*step)
        assert "<img" not in summary
        assert "<script" not in summary
        assert "](http" not in summary
    for line in (log.text("sign", "run") + log.text("verify", "run")).splitlines():
        assert not line.startswith("::set-output")
        assert not line.startswith("##[")


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_has_no_effect_but_itself(runner: Act, repository: Path, value: str) -> None:
    """The model bears the name; it is signed and verified under it."""
    (repository / "build" / "churn").rename(repository / "build" / value)
    told = {"NAME": f"./build/{value}"}
    write = 'printf "value<<END\\n%s\\nEND\\n" "$NAME" >> "$GITHUB_OUTPUT"'
    given = "${{ steps.name.outputs.value }}"
    log = runner.run(
        workflow(
            {"id": "name", "run": write, "env": told},
            uses("sign", "sign", model=given, key=key(repository)),
            uses("verify", "verify", model=given, key=public(repository)),
        ),
        repository,
    )
    nothing_planted(log, repository)
    assert log.result("sign") == "success", str(log)
    assert log.result("verify") == "success", str(log)
    assert log.outputs("sign")["manifest"] == log.outputs("verify")["manifest"]
    assert log.outputs("sign")["signature"].endswith(
        f"/build/{value}.evidence/signature.sigstore.json"
    )


LINES = """no
::set-output name=manifest::evil
::error::planted
##[error]planted
manifest<<X
evil
X
%0A::error::planted\r::error::planted

# heading
<script>alert(1)</script>"""


@pytest.mark.parametrize("name", ["model", "key", "signature"])
def test_a_hostile_value_in_an_error_has_no_effect_but_itself(
    runner: Act, repository: Path, name: str
) -> None:
    """It makes the step fail, and comes back in the message, the annotation and the summary."""
    given = {"model": "build/churn", "key": key(repository), name: LINES}
    if name == "signature":
        (repository / "build" / "other").write_text("no signature")
        given["signature"] = f"build/other/{LINES}"
    log = runner.run(workflow(uses("sign", "sign", **given)), repository)
    nothing_planted(log, repository)
    assert log.result("sign") == "failure", str(log)
    assert len(log.annotations("sign", "run")) == 1, str(log)
    assert "\n# heading" not in log.summary("sign")
    assert not any(log.outputs("sign").values())


# --- poisoned environment ---------------------------------------------------------------------
POISON = r"""
mkdir -p evil/site evil/home/.config/pip
marker=$PWD/../PLANTED
for name in bash sh env python python3 python3.11 git pip dirname; do
    printf '#!/bin/bash -p\necho %s >> %s\nexec /usr/bin/%s "$@"\n' \
        "$name" "$marker" "$name" > "evil/$name"
    chmod +x "evil/$name"
done
echo "open('$marker', 'a').write('PYTHONPATH ')" > evil/site/sitecustomize.py
cp evil/site/sitecustomize.py evil/site/usercustomize.py
mkdir evil/site/sovgate && cp evil/site/sitecustomize.py evil/site/sovgate/__init__.py
cp evil/site/sitecustomize.py sovgate.py
cp evil/site/sitecustomize.py json.py
cp evil/site/sitecustomize.py click.py
echo "echo BASH_ENV >> $marker" > evil/rc
printf 'openssl_conf = a\n[a]\nproviders = b\n[b]\nc = d\n[d]\nactivate = 1\nmodule = /evil.so\n' \
    > evil/openssl.cnf
printf '[global]\nindex-url = http://127.0.0.1:9/evil\nfind-links = /evil\n' \
    > evil/home/.config/pip/pip.conf
cat > evil/evil.c <<END
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void f(void) {
    int d = open("$marker", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (write(d, "LD_PRELOAD ", 11)) close(d);
}
END
cc -shared -fPIC -o evil/evil.so evil/evil.c || echo 'no compiler: the loader says it misses one'
echo "$PWD/evil" >> "$GITHUB_PATH"
echo "BASH_FUNC_exec%%=() { echo function >> $marker; }" >> "$GITHUB_ENV"
echo "BASH_FUNC_unset%%=() { echo function >> $marker; }" >> "$GITHUB_ENV"
{
    :
    echo "BASH_ENV=$PWD/evil/rc"
    echo "ENV=$PWD/evil/rc"
    echo "SHELLOPTS=xtrace"
    echo "PS4=\$(echo PS4 >> $marker)"
    echo "PYTHONPATH=$PWD/evil/site"
    echo "PYTHONHOME=$PWD/evil"
    echo "PYTHONSTARTUP=$PWD/evil/site/sitecustomize.py"
    echo "PYTHONUSERBASE=$PWD/evil"
    echo "LD_PRELOAD=$PWD/evil/evil.so"
    echo "LD_LIBRARY_PATH=$PWD/evil"
    echo "OPENSSL_CONF=$PWD/evil/openssl.cnf"
    echo "SSL_CERT_FILE=$PWD/evil/openssl.cnf"
    echo "HOME=$PWD/evil/home"
    echo "TMPDIR=$PWD/evil/missing"
    echo "RUNNER_TEMP=$PWD/evil/missing"
    echo "RUNNER_TOOL_CACHE=$PWD/evil"
    echo "GITHUB_ACTION_PATH=$PWD/evil"
    echo "LD_AUDIT=$PWD/evil/evil.so"
    echo "BASHOPTS=xpg_echo"
    echo "CDPATH=$PWD/evil"
    echo "PIP_INDEX_URL=http://127.0.0.1:9/evil"
    echo "PIP_FIND_LINKS=$PWD/evil"
    echo "PIP_CONFIG_FILE=$PWD/evil/home/.config/pip/pip.conf"
    echo "PIP_TARGET=$PWD/evil/target"
    echo "PIP_REQUIRE_VIRTUALENV=1"
    echo "HTTPS_PROXY=http://127.0.0.1:9"
    echo "AWS_ENDPOINT_URL=http://127.0.0.1:9"
    echo "SOVGATE_KEY=file:$PWD/evil/none.pem"
    echo "SOVGATE_SIGN_KEY=file:$PWD/evil/none.pem"
    echo "SOVGATE_SIGNATURE=$PWD/evil/signature"
    echo "SOVGATE_SIGN_SIGNATURE=$PWD/evil/signature"
    echo "SOVGATE_VERIFY_KEY=$PWD/evil/none.pem"
    echo "SOVGATE_MANIFEST=sha256:0"
    echo "SOVGATE_PROJECT=$PWD/evil"
    echo "SOVGATE_FORMAT=json"
    echo "SOVGATE_ACTION_WHEELS=$PWD/evil"
    echo "SOVGATE_ACTION_PYTHON=$PWD/evil/python3"
    echo "SOVGATE_ACTION_PASS_ENV=LD_PRELOAD"
    echo "SOVGATE_SIGN_PROJECT=$PWD/evil"
    echo "SOVGATE_VERIFY_PROJECT=$PWD/evil"
    echo "INPUT_PROJECT=$PWD/evil"
    echo "INPUT_KEY=$PWD/evil/none.pem"
} >> "$GITHUB_ENV"
"""


def test_rule_21_a_poisoned_environment_changes_nothing(runner: Act, repository: Path) -> None:
    marker = repository.parent / "PLANTED"
    steps = (
        uses("sign", "sign", model="build/churn", key=key(repository)),
        uses("verify", "verify", model="build/churn", key=public(repository)),
    )
    poison = POISON.replace("$PWD/../PLANTED", str(marker))
    log = runner.run(workflow({"shell": "/bin/bash -p {0}", "run": poison}, *steps), repository)
    assert not marker.exists(), marker.read_text()
    assert log.code == 0, str(log)
    clean = runner.run(workflow(*steps), repository)
    for step in ("sign", "verify"):
        assert log.outputs(step)["manifest"] == clean.outputs(step)["manifest"]
        assert log.outputs(step)["signature"].endswith(
            "/build/churn.evidence/signature.sigstore.json"
        )
        assert (
            log.summary(step).replace("\\", "")[:40] == clean.summary(step).replace("\\", "")[:40]
        )
        assert "evil" not in log.text(step, "run")
        assert "ld.so" not in log.text(step, "run")


def test_rule_21_a_loader_that_is_told_to_run_nothing_fails_the_step(
    runner: Act, repository: Path
) -> None:
    """The step's own bash then ends with 0 at once, and nothing was verified."""
    poison = 'echo "LD_TRACE_LOADED_OBJECTS=1" >> "$GITHUB_ENV"'
    log = runner.run(
        workflow(
            {"id": "naive", "run": poison},
            {"id": "trap", "shell": "/bin/bash -e {0}", "run": "exit 1"},
            uses("verify", "verify", model="build/churn", key=public(repository)),
            uses("", "root", when="always()", command="lint"),
        ),
        repository,
    )
    if log.result("trap") == "failure":
        pytest.skip("this machine's loader runs programs all the same")
    assert log.result("verify") == log.result("root") == "failure", str(log)
    assert "sovgate-did-not-run:an-earlier-step-set-LD_TRACE_LOADED_OBJECTS" in str(log)


@pytest.mark.parametrize(
    ("trap", "planted"),
    [
        ("BASH_ENV=", "BASH_ENV"),
        ("PS4= SHELLOPTS=", "PS4"),
        ("PYTHONPATH=", "PYTHONPATH"),
        ("LD_PRELOAD=", "LD_PRELOAD"),
        ("BASH_FUNC_exec", "function"),
        ("GITHUB_PATH", "python3"),
    ],
)
def test_each_trap_of_the_test_above_does_work(
    runner: Act, repository: Path, trap: str, planted: str
) -> None:
    """Otherwise that nothing was planted would say nothing."""
    if planted == "PS4" and os.getuid() == 0:
        pytest.skip("bash itself takes no PS4 from root's environment")
    if planted == "LD_PRELOAD" and not shutil.which("cc"):
        pytest.skip("no compiler to make a library that is preloaded")
    marker = repository.parent / "PLANTED"
    lines = [
        line
        for line in POISON.replace("$PWD/../PLANTED", str(marker)).splitlines()
        if ("GITHUB_PATH" not in line and not line.startswith(("    echo ", 'echo "BASH_FUNC')))
        or any(name in line for name in trap.split())
    ]
    naive = {"shell": "/bin/bash -e {0}", "run": "python3 -c 'import json'; exec /bin/true"}
    poison = {"shell": "/bin/bash -p {0}", "run": "\n".join(lines)}
    log = runner.run(workflow(poison, naive), repository)
    assert marker.exists(), str(log)
    assert planted in marker.read_text()


# --- installation -----------------------------------------------------------------------------
def test_rule_22_a_wheel_that_was_changed_is_never_installed(
    runner: Act, repository: Path, tmp_path: Path
) -> None:
    """Nor is another one of its version taken; without an index, the step fails."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for wheel in wheels().glob("*.whl"):
        if wheel.name.startswith("click-"):
            with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(folder / wheel.name, "w") as new:
                for name in old.namelist():
                    data = old.read(name)
                    if name == "click/__init__.py":
                        data += b"\nopen('PLANTED', 'w')\n"
                    new.writestr(name, data)
        else:
            (folder / wheel.name).symlink_to(wheel)
    step = uses("sign", "sign", model="build/churn", key=key(repository))
    step["with"]["wheels"] = str(folder)
    log = runner.run(workflow(step), repository)
    nothing_planted(log, repository)
    if log.result("sign") == "success":  # an index could be reached: the right one was fetched
        (mended,) = folder.glob("click-*.whl")
        (real,) = wheels().glob("click-*.whl")
        assert mended.read_bytes() == real.read_bytes()
    else:
        assert "the locked packages could not be downloaded" in log.annotations("sign", "run")[0]


def test_a_complete_wheel_folder_needs_no_network(tmp_path: Path) -> None:
    """The launcher itself in a namespace without network, with an empty home."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace to be had here (unshare --net)")
    done = subprocess.run(
        ["unshare", "--net", "/bin/bash", "-p", ROOT / "sovgate/surface/enter.sh", "lint"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={
            "SOVGATE_ACTION_WHEELS": str(wheels()),
            "SOVGATE_ACTION_PYTHON": str(PYTHON),
            "SOVGATE_LINT_PATH": str(ROOT / "sovgate"),
            "RUNNER_TEMP": str(tmp_path),
        },
    )
    assert "environment built from checked wheels" in done.stdout, done.stdout + done.stderr
    assert not list(tmp_path.glob("sovgate-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_that_is_cancelled_leaves_nothing(tmp_path: Path, number: int) -> None:
    """The runner tells the step's process; what it had unpacked goes, without a traceback."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/bash", "-p", ROOT / "sovgate/surface/enter.sh", "lint"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env={
                "SOVGATE_ACTION_WHEELS": str(wheels()),
                "SOVGATE_ACTION_PYTHON": str(PYTHON),
                "SOVGATE_LINT_PATH": str(ROOT / "sovgate"),
                "SOVGATE_ACTION_TEMP": str(tmp_path),
            },
        )

    code, said = told_to_end(start, number, lambda: list(tmp_path.glob("sovgate-*/env")))
    assert code == 130, said
    assert "Traceback" not in said
    assert "interrupted" in said
    assert list(tmp_path.iterdir()) == []


def test_a_python_is_found_by_absolute_path_without_any_environment() -> None:
    done = subprocess.run(
        ["/bin/bash", "-p", ROOT / "sovgate/surface/enter.sh", "none"],
        capture_output=True,
        text=True,
        check=False,
        env={},
    )
    if "no Python 3.11 or newer on this runner" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert "there is no action for the command" in done.stdout


@pytest.mark.parametrize(
    ("python", "words"),
    [("python3", "not an absolute path"), ("/nowhere/python3", "names no Python 3.11")],
)
def test_the_python_that_is_named_must_be_one(python: str, words: str) -> None:
    done = subprocess.run(
        ["/bin/bash", "-p", ROOT / "sovgate/surface/enter.sh", "lint"],
        capture_output=True,
        text=True,
        check=False,
        env={"SOVGATE_ACTION_PYTHON": python},
    )
    assert done.returncode == 2
    assert words in done.stdout
    assert done.stdout.startswith("::error ")


# --- checkers ---------------------------------------------------------------------------------
FILES = sorted([ROOT / "action.yml", *(ROOT / "actions").glob("*/action.yml")])


def test_zizmor_finds_nothing(zizmor: Path) -> None:
    done = subprocess.run(
        [zizmor, "--offline", "--persona=pedantic", "--no-progress", *FILES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


def test_jactionlint_finds_nothing(jactionlint: Path) -> None:
    done = subprocess.run([jactionlint, *FILES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_each_action_fits_the_schema_of_actions(check_jsonschema: Path) -> None:
    done = subprocess.run(
        [check_jsonschema, "--builtin-schema", "vendor.github-actions", *FILES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
