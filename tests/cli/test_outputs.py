"""Each verb, run for real, has exactly the outputs that its declaration names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sovgate.surface._verbs import verbs
from tests import forked
from tests.zones import make_sides

VERBS = {verb.path: verb for verb in verbs()}


def outputs(folder: Path, *words: str) -> dict[str, str]:
    """What the command writes to $GITHUB_OUTPUT."""
    path = folder.parent / "output"
    path.write_text("")
    environment = {**os.environ, "GITHUB_OUTPUT": str(path)}
    done = forked.SOVGATE.run(*words, "--format", "github", cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(
        r"^([a-z-]+)<<(sovgate-[0-9a-f]{32})\n(.*?)\n\2$",
        path.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return {name: value for name, _, value in found}


def test_every_verb_has_the_outputs_it_declares(tmp_path: Path) -> None:
    sides = make_sides(tmp_path)
    us, eu = sides / "us", sides / "eu"
    model, key, release = "tumour-triage", "file:keys/us-sign.pem", "tumour-triage/1.0.0"
    seen = {}

    def run(folder: Path, verb: str, *words: str) -> dict[str, str]:
        seen[verb] = found = outputs(folder, verb, *words)
        assert list(found) == list(VERBS[verb].outputs), verb
        return found

    run(us, "lint")
    run(us, "guard", "sovgate.yaml")
    signed = run(us, "sign", model, "--key", key)
    run(us, "record", model, "--key", key, "--dataset", "screening-public")
    if "sbom" in VERBS:
        run(us, "sbom", model)
    (us / "report.xml").write_text("<testsuite><testcase name='a'/></testsuite>")
    assert run(us, "gate", "junit", model, "--report", "report.xml")["outcome"] == "pass"
    run(us, "attest", model, "--all-unsigned", "--key", key)
    run(us, "verify", model)
    move = ("--zone", "us-train", "--to", "eu")
    checked = run(us, "check", model, "--action", "transfer", *move)
    assert checked["allowed"] == "true"
    assert checked["decision"] == ""
    run(us, "encrypt", model, "--to", "eu", "--release", release, "-o", "sealed")
    run(eu, "decrypt", str(us / "sealed"), "--zone", "eu", "-o", "opened")
    dry = run(us, "push", model, "--release", release, *move, "--dry-run")
    assert dry["record"] == ""
    pushed = run(us, "push", model, "--release", release, *move)
    assert pushed["record"]
    assert pushed["release"] == f"{release}@{signed['manifest']}"
    run(eu, "pull", pushed["release"], "--zone", "eu", "-o", "served")
    promoted = run(eu, "promote", pushed["release"], "--zone", "eu")
    assert promoted["commit"]
    second = (model, "--release", "tumour-triage/1.1.0", *move)
    newer = outputs(us, "push", *second)["release"]
    outputs(eu, "pull", newer, "--zone", "eu", "-o", "served")
    outputs(eu, "promote", newer, "--zone", "eu")
    back = run(eu, "rollback", "--zone", "eu", "--reason", "too slow")
    assert back["release"] == pushed["release"]
    third = (model, "--release", "tumour-triage/1.2.0", *move, "--through", "promote")
    released = run(us, "release", *third)
    assert released["left-to"] == "eu"
    assert set(seen) == set(VERBS)
    same = {found["manifest"] for found in seen.values() if "manifest" in found}
    assert same == {signed["manifest"]}
