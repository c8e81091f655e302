"""doctor: what this machine and this project lack for a run, each with the exact fix.

Opens what the project names: files, public keys, stores; a zone's secret keys only when asked for
that zone. With `offline`, nothing that would need the network.
"""

from __future__ import annotations

import importlib.util
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import config as configuration
from sovgate import uri
from sovgate.pipeline.look.diagnosis import MISSING, OK, WARN, Check, Diagnosis
from sovgate.pipeline.look.diagnosis.git import check_ignored, check_opened
from sovgate.pipeline.look.diagnosis.zones import check_trust, check_zone

if TYPE_CHECKING:
    from sovgate.config import ProjectConfig
    from sovgate.formats.resume import Course
    from sovgate.pipeline.project import Project

#: Scheme of a key or store, or kind of signer -> (module that it needs, extra that brings it).
EXTRAS: Mapping[str, tuple[str, str]] = {
    "awskms": ("boto3", "aws"),
    "gcpkms": ("google.cloud.kms_v1", "gcp"),
    "gs": ("google_crc32c", "gcp"),
    # No scheme: entries of `trust` have it.
    "keyless": ("sigstore", "sigstore"),
    "pkcs11": ("pkcs11", "hsm"),
    "s3": ("boto3", "aws"),
    "sigstore": ("sigstore", "sigstore"),
}
#: What a scheme can do without, and at what price.
SLOWER = {"gs": "each chunk costs 15 times the CPU for the sum that the service compares"}
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
#: Pushes that ended early, of which so many are named.
_MOST_KEPT = 20


def doctor(
    project: Path | None,
    *,
    zone: str | None,
    offline: bool,
    variables: Mapping[str, str],
    known: frozenset[str],
    state: Path | None = None,
) -> tuple[Check, ...]:
    """All checks, in the order in which a run would meet them. Raises nothing for what it finds.

    `variables` is the environment, of which names alone are told; `known` are the SOVGATE_ names
    that something reads; `state` is where pushes keep keys, if not in the default folder.
    """
    found = Diagnosis(zone, offline)
    _machine(found, state)
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
            return f"{opened[0].config.model}, zones: {len(opened[0].config.zones)}"

        if found.run("project", open_it):
            _project(found, opened[0])
    elif found.checks[-1].detail.startswith("there is no"):
        last = found.checks.pop()
        fix = configuration.meant(project or Path())
        fix = fix or "sovgate init, or name its folder: --project"
        found.say(last.name, MISSING, last.detail, fix)
    return tuple(found.checks)


def _machine(found: Diagnosis, state: Path | None) -> None:
    from sovgate import __version__
    from sovgate.pipeline.decide.judge import clock

    found.say("Python", OK, f"{platform.python_version()}, {sys.executable}")
    lacking = [name for name in BASE if not _importable(name)]
    if lacking:
        names = " ".join(BASE[name] for name in lacking)
        found.say(
            "packages", MISSING, f"missing: {names}", "pip install sovgate, into a fresh venv"
        )
    else:
        found.say(
            "packages", OK, f"sovgate {__version__} and all {len(BASE)} packages that it needs"
        )
    found.run("clock", lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock())))
    with found.going_on("kept keys"):
        _kept(found, state)


def _kept(found: Diagnosis, state: Path | None) -> None:
    """Pushes that ended early: keys of theirs lie there until they go on."""
    from sovgate.pipeline.move.pushing.resuming import default_state
    from sovgate.pipeline.move.pushing.waiting import kept

    if state is None and default_state() is None:
        return
    there = kept(state=state)
    where = "" if state is None else f"--state {shlex.quote(str(state))} "
    for one in there.found[:_MOST_KEPT]:
        told = "a push" if one.course is None else _told(one.course)
        detail = f"{told} keeps its keys in {str(there.state)!r}"
        if one.busy:
            found.say("kept keys", OK, f"{detail}, and is under way")
            continue
        days = there.age(one).days
        which = "" if one.course is None else f"{one.course.release} "
        found.say(
            "kept keys",
            WARN,
            f"{detail}, since its release is not written yet"
            + (f"; nothing touched it for {days} day{'s' * (days != 1)}" if days else ""),
            "run it again, and it goes on; or give it up: "
            f"sovgate keys kept {which}{where}--remove",
        )
    _ledgers(found, there.state)


def _ledgers(found: Diagnosis, folder: Path) -> None:
    """Ledgers of what was sent, which a project asked for, lie beside kept keys."""
    from sovgate.formats.ledger import PREFIX

    there = [] if not folder.is_dir() else list(folder.iterdir())
    ledgers = sum(path.name.startswith(PREFIX) for path in there)
    if ledgers:
        said = "a ledger" if ledgers == 1 else f"{ledgers} ledgers"
        found.say(
            "ledger",
            OK,
            f"{said} in {str(folder)!r}: who has it and this zone's `encrypt` key can "
            "read what was sent from here",
        )


def _told(course: Course) -> str:
    """Nobody vouches for what a header says, so no more of it is shown than a line takes."""
    shard = "" if course.shard is None else "shard {}/{} of ".format(*course.shard)
    return f"the push of {shard}{course.release[:160]} from {course.source} to {course.zone}"


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _environment(found: Diagnosis, variables: Mapping[str, str], known: frozenset[str]) -> None:
    """Which of our variables are set, by name; one that nothing reads is a slip."""
    from difflib import get_close_matches

    ours = sorted(name for name in variables if name.startswith("SOVGATE_"))
    strange = [name for name in ours if name not in known]
    used = [name for name in ours if name in known and variables[name]]
    found.say("variables", OK, "set: " + (", ".join(used) or "none that sovgate reads"))
    for name in strange[:20]:
        near = get_close_matches(name, known, n=1)
        fix = f"did you mean {near[0]}?" if near else f"unset {name}"
        found.say("variables", WARN, f"sovgate does not read {name[:80]}", fix)


def _project(found: Diagnosis, opened: Project) -> None:
    config = opened.config
    _lint(found, config)
    _young(found, config.path)
    _policies(found, opened)
    _programs(found, config)
    _extras(found, config)
    check_ignored(found, opened)
    check_opened(found, opened)
    if found.zone is not None and not found.run(
        "zone", lambda: opened.zone(str(found.zone)).region
    ):
        return
    for name in config.zones:
        with found.going_on(f"{name}: zone"):
            check_zone(found, opened, name)
    with found.going_on("trust"):
        check_trust(found, opened)


def _lint(found: Diagnosis, config: ProjectConfig) -> None:
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


def _young(found: Diagnosis, path: Path) -> None:
    """A file from the future means that a clock is wrong, here or where it was written."""
    ahead = path.stat().st_mtime - time.time()
    if ahead > SKEW:
        found.say(
            "clock",
            WARN,
            f"{path.name} is {ahead / 60:.0f} minutes younger than now",
            "set this machine's clock; decisions and evidence depend on it",
        )


def _policies(found: Diagnosis, opened: Project) -> None:
    from sovgate.pipeline.decide.judge import open_engine
    from sovgate.pipeline.decide.policies import project_policies

    def load() -> str:
        policies = project_policies(opened)
        open_engine(policies)
        if policies.engine in ("opa", "both"):
            from sovgate.engines.opa import program

            program()
        own = sum(not rule.module.ours for rule in policies.rules)
        return f"{len(policies.rules)} rules, {own} of them the project's own, {policies.engine}"

    found.run("policies", load)


def _programs(found: Diagnosis, config: ProjectConfig) -> None:
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
            "not on PATH; promote does not need it",
            "install kubectl, to see what `kubectl kustomize` makes of an overlay",
        )


def _extras(found: Diagnosis, config: ProjectConfig) -> None:
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
    if any(entry.keyless is not None for entry in config.trust or ()):
        schemes.add("keyless")
    for scheme in sorted(schemes & set(EXTRAS)):
        module, extra = EXTRAS[scheme]
        if _importable(module):
            found.say("extra", OK, f"{scheme}: {module}")
        else:
            price = SLOWER.get(scheme)
            found.say(
                "extra",
                MISSING if price is None else WARN,
                f"{scheme}: {module} is not installed" + (f"; {price}" if price else ""),
                f"pip install 'sovgate[{extra}]'",
            )
