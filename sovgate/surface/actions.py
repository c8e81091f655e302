"""actions/<verb>/action.yml and the root action.yml, from the commands. Pure: records to text.

RULES 21: each value goes into the step's environment, and the step is one fixed command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sovgate.surface._verbs import SECRETS, Input, Verb
from sovgate.surface._yaml import dump

SHELL = "/bin/bash --noprofile --norc -eo pipefail {0}"

#: What an earlier step could have written to GITHUB_ENV to change what our step does. Set to
#: nothing here; whatever else it wrote, launch.py hands on to no one.
DANGEROUS: dict[str, tuple[str, ...]] = {
    "the shell": ("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "CDPATH", "GLOBIGNORE"),
    "the loader": (
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "LD_DEBUG",
        "LD_PROFILE",
        "GLIBC_TUNABLES",
        "GCONV_PATH",
        "LOCPATH",
        "NLSPATH",
        "DYLD_INSERT_LIBRARIES",
        "DYLD_LIBRARY_PATH",
        "DYLD_FRAMEWORK_PATH",
    ),
    "Python": (
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "PYTHONPLATLIBDIR",
        "PYTHONPYCACHEPREFIX",
        "PYTHONBREAKPOINT",
        "PYTHONWARNINGS",
        "PYTHONINSPECT",
        "PYTHONEXECUTABLE",
        "__PYVENV_LAUNCHER__",
        "VIRTUAL_ENV",
    ),
    "pip": (
        "PIP_CONFIG_FILE",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_NO_INDEX",
        "PIP_TRUSTED_HOST",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_PROXY",
        "PIP_CONSTRAINT",
        "PIP_REQUIREMENT",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_PYTHON",
        "PIP_REQUIRE_HASHES",
        "PIP_ONLY_BINARY",
        "PIP_NO_BINARY",
        "PIP_CACHE_DIR",
        "PIP_LOG",
    ),
    "TLS": (
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
        "OPENSSL_ENGINES",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "SSLKEYLOGFILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "AWS_CA_BUNDLE",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    ),
    # In capitals only, since names that differ in case are one to a checker; the others are
    # dropped like everything that launch.py does not name.
    "proxies": ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    "cloud SDKs": (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_KMS",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_PROFILE",
        "AWS_DATA_PATH",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "BOTO_CONFIG",
        "BOTOCORE_EXPERIMENTAL__PLUGINS",
        "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES",
        "CLOUDSDK_CONFIG",
        "VAULT_ADDR",
        "BAO_ADDR",
    ),
    "Git": (
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_EXEC_PATH",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_ASKPASS",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_TEMPLATE_DIR",
        "GIT_PROXY_COMMAND",
        "GIT_EXTERNAL_DIFF",
        "GIT_TRACE",
    ),
    "time and place": ("TMPDIR", "TZ", "TZDIR", "SOURCE_DATE_EPOCH"),
}

#: The launcher says so when it went well. One name no step can set back to nothing: where
#: LD_TRACE_LOADED_OBJECTS is set, even empty, glibc's loader runs no program and ends with 0. So
#: the runner itself looks, and then starts what can exist nowhere.
RAN = "ran"
NOT_RUN = "/dev/null/sovgate-did-not-run:an-earlier-step-set-LD_TRACE_LOADED_OBJECTS {0}"

#: Inputs of every action, beside those of its command: how it gets its environment.
INSTALLING: dict[str, tuple[str, str, str]] = {
    "wheels": (
        "SOVGATE_ACTION_WHEELS",
        "Folder of wheels. Complete, no network is needed; else what is missing is downloaded "
        "into it. Each is checked against requirements/. Default: a folder of this job.",
        "${{ inputs.wheels }}",
    ),
    "python": (
        "SOVGATE_ACTION_PYTHON",
        "Absolute path of a Python 3.11 or newer. Default: the runner's own.",
        "${{ inputs.python }}",
    ),
    "pass-env": (
        "SOVGATE_ACTION_PASS_ENV",
        "Names of further environment variables that the command may read, separated by spaces. "
        "The usual credentials of clouds are passed, and nothing else.",
        "${{ inputs.pass-env }}",
    ),
}


def header(source: str, comment: str = "#") -> str:
    """The first lines of a generated file."""
    return (
        f"{comment} Generated from {source} by `python -m sovgate.surface`. Do not edit:\n"
        f"{comment} change that and run this again; `--check` compares.\n"
    )


def action(verb: Verb, root: str) -> str:
    """One verb's action. `root` leads from its folder to the repository's, e.g. "../..".

    In `actions/<verb>/` that is two levels up, and one in the tree of a release.
    """
    inputs = {item.name: _input(item.sentence, item.required) for item in verb.inputs}
    inputs |= _secrets([verb])
    document = {
        "name": f"sovgate {verb.path}",
        "description": verb.summary,
        "author": "sovgate",
        "branding": {"icon": "shield", "color": "blue"},
        **_comments(verb.left_out),
        "inputs": {**inputs, **_installing()},
        **_outputs(verb.outputs),
        "runs": _runs(f"sovgate {verb.path}", [verb], root, verb.path),
    }
    return header(verb.module) + dump(document)


def root_action(verbs: Sequence[Verb]) -> str:
    """The action at the repository's root: the input `command` says which verb."""
    inputs: dict[str, dict[str, Any]] = {
        "command": _input(f"One of {', '.join(v.path for v in verbs)}.", required=True)
    }
    for name in sorted({item.name for verb in verbs for item in verb.inputs}):
        inputs[name] = _input(_told(verbs, name), required=False)
    inputs |= _secrets(verbs)
    outputs: dict[str, str] = {}
    for name in sorted({name for verb in verbs for name in verb.outputs}):
        outputs[name] = _joined({v.path: v.outputs[name] for v in verbs if name in v.outputs})
    document = {
        "name": "sovgate",
        "description": "The gate at the border that a model crosses: one command as a step.",
        "author": "sovgate",
        "branding": {"icon": "shield", "color": "blue"},
        "inputs": {**inputs, **_installing()},
        **_outputs(outputs),
        "runs": _runs("sovgate", verbs, ".", '"$SOVGATE_ACTION_COMMAND"'),
    }
    return header("sovgate/cli/") + dump(document)


def _input(description: str, required: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"description": description, "required": required}
    if not required:
        found["default"] = ""
    return found


def _secrets(verbs: Sequence[Verb]) -> dict[str, dict[str, Any]]:
    wanted = {secret for verb in verbs for secret in verb.secrets}
    return {
        secret.name: _input(f"{secret.help} From a secret.", required=False)
        for secret in SECRETS
        if secret in wanted
    }


def _installing() -> dict[str, dict[str, Any]]:
    return {name: _input(text, required=False) for name, (_, text, _) in INSTALLING.items()}


def _comments(left_out: Sequence[Input]) -> dict[str, str]:
    lines = {f"#{n}": f"  {i.flags}: {i.left_out}" for n, i in enumerate(left_out)}
    return {"#": "No inputs, with the reason:", **lines} if lines else {}


def _told(verbs: Sequence[Verb], name: str) -> str:
    return _joined({v.path: i.sentence for v in verbs for i in v.inputs if i.name == name})


def _joined(texts: Mapping[str, str]) -> str:
    """ "sign, verify: the key. check: the action." - verbs that say the same stand together."""
    said: dict[str, list[str]] = {}
    for verb, text in texts.items():
        said.setdefault(text, []).append(verb)
    return " ".join(f"{', '.join(who)}: {text}" for text, who in said.items())


def _outputs(outputs: Mapping[str, str]) -> dict[str, Any]:
    if not outputs:
        return {}
    return {
        "outputs": {
            name: {"description": text, "value": f"${{{{ steps.run.outputs.{name} }}}}"}
            for name, text in outputs.items()
        }
    }


def _runs(name: str, verbs: Sequence[Verb], root: str, command: str) -> dict[str, Any]:
    passed = {item.name: item for verb in verbs for item in verb.passed}
    env: dict[str, str] = {}
    for verb in verbs:
        for item in verb.inputs:
            if not item.weakens_trust:
                env[item.variables[0]] = f"${{{{ inputs.{item.name} }}}}"
    for item in passed.values():
        env[item.shell] = f"${{{{ inputs.{item.name} }}}}"
    general = {
        variable: ""
        for verb in verbs
        for item in verb.parameters
        for variable in item.variables
        if variable not in env
    }
    general.pop("SOVGATE_FORMAT", None)
    for secret in SECRETS:
        if any(secret in verb.secrets for verb in verbs):
            env[secret.variable] = f"${{{{ inputs.{secret.name} }}}}"
        else:
            general[secret.variable] = ""
    env["SOVGATE_FORMAT"] = "github"
    if command.startswith('"'):
        env["SOVGATE_ACTION_COMMAND"] = "${{ inputs.command }}"
    env |= {variable: value for variable, _, value in INSTALLING.values()}
    env["SOVGATE_ACTION_TEMP"] = "${{ runner.temp }}"
    env["SOVGATE_ACTION_TOOLS"] = "${{ runner.tool_cache }}"
    env["#"] = "What an earlier step wrote to GITHUB_ENV changes nothing here."
    env |= general
    for what, names in DANGEROUS.items():
        env[f"#{what}"] = what
        env |= dict.fromkeys(names, "")
    words = [f'/bin/bash -p "$GITHUB_ACTION_PATH/{root}/sovgate/surface/enter.sh"', command]
    words += [f'${{{item.shell}:+"{item.option}=${item.shell}"}}' for item in passed.values()]
    step = {
        "name": name,
        "id": "run",
        "shell": SHELL,
        "env": env,
        "run": " ".join(words),
    }
    ran = {
        "name": f"{name} did run",
        "if": f"steps.run.outputs.{RAN} != 'true'",
        "shell": NOT_RUN,
        "run": "exit 1",
    }
    return {"using": "composite", "steps": [step, ran]}
