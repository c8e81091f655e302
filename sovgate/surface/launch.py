"""What an action's step runs: builds an environment anew from hash-checked wheels, and runs in it.

Standard library alone, started as a script by enter.sh. Touches the runner's temporary folder and
the wheel folder. RULES 21, 22: the command gets a list of named variables and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":  # started by its path, isolated: the package is the one it lies in
    sys.path.insert(0, str(ROOT))
    sys.pycache_prefix = os.devnull  # and no bytecode of it is read

from sovgate.host import home  # noqa: E402 - as above
from sovgate.surface.install import Refused, install  # noqa: E402 - as above

#: The commands that are Actions and Tasks.
VERBS = (
    "record",
    "sbom",
    "gate",
    "attest",
    "sign",
    "verify",
    "check",
    "encrypt",
    "decrypt",
    "push",
    "pull",
    "promote",
    "rollback",
    "release",
    "lint",
    "guard",
)

#: Credentials that another action may have put into the environment; they choose who asks a
#: service, never which one. Keys and stores are pinned by the project file.
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "VAULT_TOKEN",
    "VAULT_ROLE_ID",
    "VAULT_SECRET_ID",
    "VAULT_WRAPPED_SECRET_ID",
    "VAULT_JWT",
    "BAO_TOKEN",
    "BAO_ROLE_ID",
    "BAO_SECRET_ID",
    "BAO_WRAPPED_SECRET_ID",
    "BAO_JWT",
    "SIGSTORE_ID_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)

#: The same, for the commands that push to a Git repository.
GIT_VERBS = frozenset({"promote", "rollback", "release"})
GIT_CREDENTIALS = ("SOVGATE_GIT_TOKEN", "SOVGATE_GIT_USER", "SSH_AUTH_SOCK")

#: Ours that are no option's. The action sets each at step level, to nothing where it has no input.
OURS = ("SOVGATE_FORMAT", "SOVGATE_KEY_PASSPHRASE", "SOVGATE_PIN")

#: What the runner itself says, and does not let a step overwrite.
RUNNER = (
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_ACTOR",
    "GITHUB_EVENT_NAME",
    "GITHUB_JOB",
    "GITHUB_OUTPUT",
    "GITHUB_REF",
    "GITHUB_REPOSITORY",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_RUN_ID",
    "GITHUB_SERVER_URL",
    "GITHUB_SHA",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKFLOW",
    "GITHUB_WORKFLOW_REF",
    "GITHUB_WORKSPACE",
    "RUNNER_ARCH",
    "RUNNER_ENVIRONMENT",
    "RUNNER_OS",
)

#: Names that pass-env may not bring back: they change what programs do, not what they know.
_NEVER = re.compile(
    r"SOVGATE_|GITHUB_|RUNNER_|INPUT_|BASH|ENV$|SHELLOPTS|PS4|IFS|PATH$|LD_|DYLD_|GLIBC|GCONV"
    r"|LOCPATH|PYTHON|PIP_|OPENSSL|SSL|.*_CA_|.*PROXY|.*ENDPOINT|GIT_|HOME$|TMP|TEMP|.*CONFIG"
    r"|AWS_(PROFILE|DATA_PATH|SHARED|CONTAINER_CREDENTIALS_FULL)|BOTO|.*EXECUTABLE|GRPC|NODE_"
    r"|PERL|RUBY"
    r"|(.*_)?(VAULT|BAO)_(ADDR|NAMESPACE|SKIP|TLS|CA)|CDPATH|NLSPATH|GLOBIGNORE|VIRTUAL_ENV|TZ|SOURCE_DATE|LANG|LC_"
    r"|MALLOC_|XDG_|SSH_ASKPASS|HOSTALIASES|RES_OPTIONS|LOCALDOMAIN",
    re.IGNORECASE,
)

#: The packages that a URI's scheme needs beyond the base: requirements/<name>.txt.
EXTRAS = {
    "awskms": "aws",
    "gcpkms": "gcp",
    "gs": "gcp",
    "keyless": "sigstore",
    "pkcs11": "hsm",
    "s3": "aws",
    "sigstore": "sigstore",
}
#: What an entry of `trust` in the project file needs it by, which has no scheme.
_KEYLESS = re.compile(r"""(?<![\w.-])["']?(keyless)["']?[ \t]*:(?!//)""")
#: RFC 7512 has no `//`, nor need the path of a signing config.
_SCHEME = re.compile(r"(?<![\w+.-])((?:pkcs11|sigstore)(?=:)|[a-z0-9]+(?=://))")
#: A line that is a comment names nothing; what stands behind a value is looked through with it.
_COMMENT = re.compile(r"(?m)^[ \t]*#.*$")
_PROJECT = "--project="
_PROJECT_BYTES = 1 << 20


def main(arguments: Sequence[str]) -> int:
    """`launch.py COMMAND [--option=VALUE …]`; the exit code is the command's."""
    try:
        return _run(arguments, os.environ)
    except Refused as error:
        for line in error.output.splitlines():
            _say(_escape(line))
        _say(f"::error title=sovgate::{_escape(error.what)}. {_escape(error.fix)}")
        return error.code
    except OSError as error:
        what = f"the environment could not be built: {error.strerror or error}"
        _say(f"::error title=sovgate::{_escape(what)}. look at the runner's disk")
        return 24
    except Exception as error:  # noqa: BLE001 - the edge: a step ends with one line, no traceback
        what = f"the step broke before its command ran: {type(error).__name__}: {error}"
        _say(f"::error title=sovgate::{_escape(what[:500])}. this is a defect: report what it says")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; run it again")
        return 130


def _run(arguments: Sequence[str], given: Mapping[str, str]) -> int:
    command, *options = arguments
    if command not in VERBS:
        raise Refused(
            f"there is no action for the command {command[:40]!r}",
            fix=f"the input command is one of {', '.join(VERBS)}",
        )
    here = _temporary(given)
    folder = Path(tempfile.mkdtemp(prefix="sovgate-", dir=here))
    try:
        environment = _environment(command, given, folder)
        started = time.monotonic()
        python = install(_locks(command, options, given), _wheels(given, here), folder)
        _say(f"environment built from checked wheels in {time.monotonic() - started:.1f} s")
        # No bytecode is read from the checkout, nor written: nobody would run it a second time.
        line = [str(python), "-I", "-B", "-X", f"pycache_prefix={folder}/pyc", "-m", "sovgate"]
        code = _follow([*line, command, *options], environment)
        if code == 0:
            _ran(given)
        return code if code >= 0 else 128 - code
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _follow(line: Sequence[str], environment: Mapping[str, str]) -> int:
    """The command's exit code. A runner that cancels tells this process alone, so the command is
    told from here, and may take its plaintext away before it ends; a second word kills it."""
    command = subprocess.Popen(line, env=environment)
    try:
        return command.wait()
    except KeyboardInterrupt:
        command.terminate()
        if command.wait() == 0:  # it was done before it heard: nothing was interrupted
            return 0
        raise
    finally:
        command.kill()


def _ran(given: Mapping[str, str]) -> None:
    """Tell the action's second step, which fails where nobody says so."""
    if path := given.get("GITHUB_OUTPUT"):
        with open(path, "a", encoding="utf-8") as file:
            file.write("ran=true\n")


def _temporary(given: Mapping[str, str]) -> str | None:
    """The runner's folder of this job. In a container job the expression's path is the host's."""
    for name in ("SOVGATE_ACTION_TEMP", "RUNNER_TEMP"):
        path = given.get(name, "")
        if path and Path(path).is_dir():
            return path
    return None


def _environment(command: str, given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The explicit list (RULES 21); all else that earlier steps wrote is dropped."""
    prefix = f"SOVGATE_{command.upper()}_"
    asked = given.get("SOVGATE_ACTION_PASS_ENV", "").replace(",", " ").split()
    for name in asked:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,127}", name) or _NEVER.match(name):
            raise Refused(
                f"the input pass-env names {name[:60]!r}, which no step takes from the environment",
                fix="name only variables that hold credentials",
            )
    names = [*RUNNER, *CREDENTIALS, *OURS, *asked]
    names += GIT_CREDENTIALS if command in GIT_VERBS else ()
    names += [name for name in given if name.startswith(prefix)]
    kept = {name: given[name] for name in names if given.get(name)}
    temporary = folder / "tmp"
    temporary.mkdir()
    return {
        **kept,
        "HOME": home(str(folder / "home")),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(temporary),
    }


def _locks(command: str, options: Sequence[str], given: Mapping[str, str]) -> list[Path]:
    """The lock files to install: the base, and what the URIs in inputs and project file need."""
    prefix = f"SOVGATE_{command.upper()}_"
    texts = [value for name, value in given.items() if name.startswith(prefix)]
    named = [word.removeprefix(_PROJECT) for word in options if word.startswith(_PROJECT)]
    project = [*_project(Path(named[-1] if named else "."))]
    texts += [*options, *project]
    schemes = {match for text in texts for match in _SCHEME.findall(text)}
    schemes |= {match for text in project for match in _KEYLESS.findall(text)}
    locks = [ROOT / "requirements" / "base.txt"]
    for extra in sorted({EXTRAS[scheme] for scheme in schemes if scheme in EXTRAS}):
        lock = ROOT / "requirements" / f"{extra}.txt"
        if not lock.is_file():
            raise Refused(
                f"a key or store URI needs sovgate[{extra}], which this release does not lock",
                fix="use another kind of key or store",
            )
        locks.append(lock)
    return locks


def _project(start: Path) -> Iterator[str]:
    """The text of sovgate.yaml, here or above. Only looked through for schemes, never parsed."""
    for folder in (start.absolute(), *start.absolute().parents):
        try:
            with (folder / "sovgate.yaml").open("rb") as file:
                text = file.read(_PROJECT_BYTES).decode("utf-8", "replace")
            yield _COMMENT.sub("", text)
            return
        except OSError:  # none here, or a name that no file system has: the command says so
            continue


def _wheels(given: Mapping[str, str], here: str | None) -> Path:
    """The folder of wheels: named by the input, else one that the steps of this job share."""
    named = given.get("SOVGATE_ACTION_WHEELS", "")
    folder = Path(named) if named else Path(here or tempfile.gettempdir()) / "sovgate-wheels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"the folder of wheels cannot be made: {error.strerror}",
            fix="name a folder with the input wheels",
            code=24,
        ) from error
    return folder.absolute()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _escape(text: str) -> str:
    """For a log that the runner reads: no control characters, nothing that it takes as command."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", " ", text)
    text = re.sub(":(?=:)", r":\\", text.replace("%", "%25"))
    return text.replace("##[", "##\\[")


if __name__ == "__main__":
    # A runner that cancels says INT, then TERM: both shall leave nothing behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
