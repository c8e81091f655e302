"""doctor: what this machine and this project lack for a run, each with the exact fix.

Opens what the project names: files, public keys, stores; a zone's secret keys only when asked for
that zone. With `offline`, nothing that would need the network.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import config as configuration
from sovgate import uri
from sovgate.errors import ConfigError, EngineError, SovgateError

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.pipeline.project import Project

OK, WARN, MISSING, SKIPPED = "ok", "warn", "missing", "skipped"
#: Scheme of a key or store -> (module that it needs, extra that brings it).
EXTRAS: Mapping[str, tuple[str, str]] = {
    "awskms": ("botocore", "aws"),
    "s3": ("botocore", "aws"),
    "gcpkms": ("google.cloud.kms", "gcp"),
}
#: What the base install brings: import name -> distribution.
BASE = {
    "click": "click",
    "cryptography": "cryptography",
    "yaml": "pyyaml",
    "regorus": "gordon-to-regorus",
    "jsonschema_rs": "jsonschema-rs",
    "cyclonedx": "cyclonedx-python-lib",
    "ruamel.yaml": "ruamel.yaml",
}
#: Seconds that a file may be younger than now.
SKEW = 300


@dataclass(frozen=True, kw_only=True)
class Check:
    """`status` is ok, warn, missing or skipped; `fix` is there for warn and missing."""

    name: str
    status: str
    detail: str
    fix: str | None = None


class _Doctor:
    def __init__(self, zone: str | None, offline: bool) -> None:
        self.zone, self.offline = zone, offline
        self.checks: list[Check] = []

    def say(self, name: str, status: str, detail: str, fix: str | None = None) -> None:
        self.checks.append(Check(name=name, status=status, detail=detail, fix=fix))

    def run(self, name: str, work: Callable[[], str | None], *, worst: str = MISSING) -> bool:
        """One line: what `work` found, or the error that it raised with that error's own fix."""
        try:
            found = work()
            if found is not None:
                self.say(name, OK, found)
        except SovgateError as error:
            detail = error.what if error.why is None else f"{error.what} ({error.why})"
            where = f"{error.where}: " if error.where else ""
            self.say(name, worst, where + detail, error.fix or "see docs, and run it again")
            return False
        except ImportError as error:
            self.say(
                name,
                worst,
                f"{error.name or error} cannot be imported",
                "install sovgate again, with the extra that it needs",
            )
            return False
        return True


def doctor(
    project: Path | None,
    *,
    zone: str | None,
    offline: bool,
    variables: Mapping[str, str],
    known: frozenset[str],
) -> tuple[Check, ...]:
    """All checks, in the order in which a run would meet them. Raises nothing for what it finds.

    `variables` is the environment, of which names alone are told; `known` are the SOVGATE_ names
    that something reads.
    """
    found = _Doctor(zone, offline)
    _machine(found)
    _environment(found, variables, known)
    path: list[Path] = []

    def read() -> str:
        path.append(configuration.find(project))
        return str(configuration.read(path[0]).path)

    if found.run("project file", read):
        from sovgate.pipeline.project import open_project

        opened: list[Project] = []

        def open_it() -> str:
            opened.append(open_project(path[0].parent))
            return f"{opened[0].config.model}, {len(opened[0].config.zones)} zones"

        if found.run("project", open_it):
            _project(found, opened[0])
    elif found.checks[-1].detail.startswith("there is no"):
        last = found.checks.pop()
        found.say(last.name, MISSING, last.detail, "sovgate init, or name its folder: --project")
    return tuple(found.checks)


def _machine(found: _Doctor) -> None:
    from sovgate import __version__
    from sovgate.pipeline.decide.check import clock

    found.say("Python", OK, f"{platform.python_version()}, {sys.executable}")
    lacking = [name for name in BASE if not _importable(name)]
    if lacking:
        names = " ".join(BASE[name] for name in lacking)
        found.say(
            "packages", MISSING, f"not there: {names}", "pip install sovgate, into a fresh venv"
        )
    else:
        found.say("packages", OK, f"sovgate {__version__} and all {len(BASE)} that it stands on")
    found.run("clock", lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock())))


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _environment(found: _Doctor, variables: Mapping[str, str], known: frozenset[str]) -> None:
    """Which of our variables are set, by name; one that nothing reads is a slip."""
    from difflib import get_close_matches

    ours = sorted(name for name in variables if name.startswith("SOVGATE_"))
    strange = [name for name in ours if name not in known]
    used = [name for name in ours if name in known and variables[name]]
    found.say("variables", OK, "set: " + (", ".join(used) or "none that sovgate reads"))
    for name in strange[:20]:
        near = get_close_matches(name, known, n=1)
        fix = f"did you mean {near[0]}?" if near else f"unset {name}"
        found.say("variables", WARN, f"nothing reads {name[:80]}", fix)


def _project(found: _Doctor, opened: Project) -> None:
    config = opened.config
    _lint(found, config)
    _young(found, config.path)
    _policies(found, opened)
    _programs(found, config)
    _extras(found, config)
    if found.zone is not None and not found.run(
        "zone", lambda: opened.zone(str(found.zone)).region
    ):
        return
    for name in config.zones:
        _zone(found, opened, name)
    _trust(found, opened)


def _lint(found: _Doctor, config: ProjectConfig) -> None:
    from sovgate.pipeline.decide.lint import lint

    def judge() -> str | None:
        findings, read = lint([], config.path.parent)
        errors = [finding for finding in findings if finding.severity == "error"]
        for finding in errors:
            found.say(
                "lint",
                MISSING,
                f"{finding.where}: {finding.message}",
                finding.fix or "sovgate lint",
            )
        for finding in findings:
            if finding.severity != "error":
                found.say(
                    "lint",
                    WARN,
                    f"{finding.where}: {finding.message}",
                    finding.fix or "sovgate lint",
                )
        return None if errors else f"{len(read)} file{'s' * (len(read) != 1)} read, 0 errors"

    found.run("lint", judge)


def _young(found: _Doctor, path: Path) -> None:
    """A file from the future means that a clock is wrong, here or where it was written."""
    ahead = path.stat().st_mtime - time.time()
    if ahead > SKEW:
        found.say(
            "clock",
            WARN,
            f"{path.name} is {ahead / 60:.0f} minutes younger than now",
            "set this machine's clock; decisions and evidence depend on it",
        )


def _policies(found: _Doctor, opened: Project) -> None:
    from sovgate.engines.registry import open_engine
    from sovgate.pipeline.decide.policies import project_policies

    def load() -> str:
        policies = project_policies(opened)
        open_engine(policies.engine)
        if policies.engine in ("opa", "both") and shutil.which("opa") is None:
            raise EngineError(
                "there is no program opa on PATH",
                fix="install OPA 1.0 or newer, or say engine: regorus",
            )
        return f"{len(policies.rules)} rules, engine {policies.engine}"

    found.run("policies", load)


def _programs(found: _Doctor, config: ProjectConfig) -> None:
    from sovgate.git.run import find_program

    rolls_out = any(zone.gitops is not None for zone in config.zones.values())
    found.run("git", lambda: find_program("git"), worst=MISSING if rolls_out else WARN)
    if not rolls_out:
        return
    if kubectl := shutil.which("kubectl"):
        found.say("kubectl", OK, kubectl)
    else:
        found.say(
            "kubectl",
            WARN,
            "not on PATH; promote does without it",
            "install kubectl, to see what `kubectl kustomize` makes of an overlay",
        )


def _extras(found: _Doctor, config: ProjectConfig) -> None:
    """What the schemes of the project's URIs need."""
    schemes: set[str] = set()
    for zone in config.zones.values():
        keys = zone.keys
        for text, what in (
            (keys.sign, "key"),
            (keys.sign_public, "key"),
            (keys.encrypt, "key"),
            (keys.encrypt_public, "key"),
            (zone.store, "store"),
        ):
            if text is not None:
                schemes.add(uri.parse(text, what=what).scheme)
    for scheme in sorted(schemes & set(EXTRAS)):
        module, extra = EXTRAS[scheme]
        if _importable(module):
            found.say("extra", OK, f"{scheme}: {module}")
        else:
            found.say(
                "extra",
                MISSING,
                f"{scheme}: {module} is not installed",
                f"pip install 'sovgate[{extra}]'",
            )


def _remote(text: str | None, what: str) -> bool:
    return text is not None and uri.parse(text, what=what).scheme != "file"


def _zone(found: _Doctor, opened: Project, name: str) -> None:
    from sovgate.keys.registry import open_public

    zone, keys = opened.zone(name), opened.zone(name).keys
    signs = keys.sign_public or keys.sign
    if signs is not None and opened.config.trust is None:
        _key(
            found,
            opened,
            f"{name}: key that its word is known by",
            signs,
            "sign",
            lambda: open_public(signs, opened.base, zone.region).key_id,
        )
    reach = {to for rule in opened.config.border.values() for _, to in rule.allow}
    seals = keys.encrypt_public or (keys.encrypt if name in reach else None)
    if seals is not None:
        _key(
            found,
            opened,
            f"{name}: key to encrypt for it",
            seals,
            "encrypt",
            lambda: opened.recipient(name).key_id,
        )
    if name == found.zone:
        if keys.sign is not None:
            trusted = keys.sign_public if opened.config.trust is None else None
            _key(
                found,
                opened,
                f"{name}: secret key to sign",
                keys.sign,
                "sign",
                lambda: _half(
                    found,
                    opened.signer(name).public_key.key_id,
                    trusted,
                    lambda text: open_public(text, opened.base, zone.region).key_id,
                ),
            )
        if keys.encrypt is not None:
            _key(
                found,
                opened,
                f"{name}: secret key to decrypt",
                keys.encrypt,
                "encrypt",
                lambda: _half(
                    found,
                    opened.identity(name).key_id,
                    keys.encrypt_public,
                    lambda _: opened.recipient(name).key_id,
                ),
            )
    if zone.store is not None:
        _store(found, opened, name)


def _half(found: _Doctor, key_id: str, public: str | None, open_it: Callable[[str], str]) -> str:
    """The id of a secret key, which the public half that the file names has to have as well."""
    if public is None or (found.offline and _remote(public, "key")):
        return key_id
    try:
        other = open_it(public)
    except SovgateError:  # was said of that key itself
        return key_id
    if other != key_id:
        raise ConfigError(
            f"it is not the other half of {public}",
            why=f"its id is {key_id[:16]}…, and that one's is {other[:16]}…",
            fix=f"bring back the key that belongs to {public}; or, where this is the right one, "
            "`sovgate keys show` it into that file, and tell the other zones",
            reason="half-a-key",
        )
    return key_id


def _key(
    found: _Doctor, opened: Project, label: str, text: str, kind: str, open_it: Callable[[], str]
) -> None:
    if _remote(text, "key"):
        if found.offline:
            found.say(label, SKIPPED, f"{text}: needs the network")
            return
    else:
        path = uri.parse(text, what="key").rest
        if not os.path.exists(opened.base / path):  # noqa: PTH110 (Path's raises if it is too long)
            private = path.removesuffix(".pub.pem") + ".pem" if path.endswith(".pub.pem") else path
            ask = "ask that zone for it; it is made there by: " if private != path else ""
            found.say(
                label,
                MISSING,
                f"{path} is not there",
                f"{ask}sovgate keys generate {kind} -o {shlex.quote(private)}",
            )
            return
    found.run(label, lambda: f"{text}, id {open_it()[:16]}…")


def _store(found: _Doctor, opened: Project, name: str) -> None:
    """Reached, where it should be; create-only where this zone writes to it."""
    from sovgate.stages import transfer

    zone = opened.zone(name)
    label = f"{name}: store"
    if _remote(zone.store, "store"):
        if found.offline:
            found.say(label, SKIPPED, f"{zone.store}: needs the network")
            return
    elif not os.path.isdir(  # noqa: PTH112 (as above)
        opened.base / uri.parse(str(zone.store), what="store").rest
    ):
        found.say(label, WARN, f"{zone.store} is no folder yet", "the first push or pull makes it")
        return
    writes = found.zone is not None and (
        name == found.zone
        or any((found.zone, name) in rule.allow for rule in opened.config.border.values())
    )

    def look() -> str:
        store = opened.store(name)
        located = transfer.locate(store, zone=name, declared=zone.region)
        next(iter(store.list("releases/")), None)
        if writes:
            store.probe()
        lies = f"{located.value or 'place unknown'}, by {located.source}"
        return f"{store.uri}: reached, {lies}" + (", create-only" if writes else "")

    found.run(label, look)


def _trust(found: _Doctor, opened: Project) -> None:
    """Where `trust` says whom to believe: by public keys and root certificates alone."""
    entries = opened.config.trust
    if entries is None:
        return
    if found.offline and any(_remote(entry.key, "key") for entry in entries):
        found.say("trust", SKIPPED, "some public keys are in a key service: needs the network")
        return
    found.run("trust", lambda: f"{len(opened.trusted(found.zone))} may say something")
