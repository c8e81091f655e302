"""make demo: the whole story runs, and what it says happened did happen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import components

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo"


@pytest.fixture(scope="module")
def told(demo: Path) -> str:
    components.found(components.package, "sklearn")
    done = subprocess.run(
        [sys.executable, str(ROOT / "demo" / "run.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "DEMO_DIR": str(demo)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_step_is_one_line_with_its_time(told: str, demo: Path) -> None:
    steps = [line for line in told.splitlines() if line[:2] in ("✓ ", "✗ ") and line[-2:] == " s"]
    assert [line.split()[1] for line in steps] == [
        "set",
        "train",
        "sign",
        "decide",
        "push",
        "pull",
        "predict",
        "promote",
        "audit",
        "commit",
        "tune",
        "evidence",
        "legal",
        "release",
        "worse",
        "stopped",
        "better",
        "evidence",
        "release",
        "rollback",
        "story",
    ]


def test_the_zone_serves_what_the_last_signed_word_says(told: str, demo: Path) -> None:
    """1.2.0 was rolled back, the worse version never came: the branch pins 1.1.0."""
    shown = subprocess.run(
        [
            "git",
            "--git-dir",
            str(demo / "serving.git"),
            "show",
            "main:overlays/eu/sovgate-release.yaml",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "kyc-risk/1.1.0@sha256:" in shown
    assert "1.2.0" not in shown
    assert "regression fail" in told
    assert "denied by gates-before-stage" in told


def test_times_stand_beside_the_guides_figures(told: str, demo: Path) -> None:
    for name, minutes in (("replication", 5), ("compliance", 60)):
        line = re.search(rf"^{name} +([0-9.]+) s +{minutes} min$", told, re.MULTILINE)
        assert line is not None
        assert float(line.group(1)) < minutes * 60


def test_the_denial_names_rule_data_set_line_and_fix(told: str, demo: Path) -> None:
    denial = told[told.index("✗ policy denies") :]
    assert "weights-inherit: kyc-eu may go only to EU, and us-train is in US" in denial
    line = re.search(r"at +sovgate\.yaml:(\d+)", denial)
    assert line is not None
    project = (demo / "eu" / "sovgate.yaml").read_text().splitlines()
    assert "stays-in: [EU]" in project[int(line.group(1)) - 1]
    assert re.search(r"fix +.*if the law lets kyc-eu go to US", denial)


def test_only_ciphertext_and_statements_crossed(told: str, demo: Path) -> None:
    model = demo / "us" / "kyc-risk" / "model.safetensors"
    tensors = model.read_bytes()
    assert (demo / "eu" / "kyc-risk" / model.name).read_bytes() == tensors
    for path in (demo / "store-eu").rglob("*"):
        if path.is_file():
            assert tensors[-64:] not in path.read_bytes(), path


def test_no_secret_key_left_its_side(told: str, demo: Path) -> None:
    secrets = {
        path.read_bytes()
        for side in ("us", "eu")
        for path in (demo / side / "keys").glob("*.pem")
        if b"PRIVATE" in path.read_bytes()
    }
    assert len(secrets) == 5
    for place in ("store-us", "store-eu", "serving.git", "us", "eu"):
        found = [
            path
            for path in (demo / place).rglob("*")
            if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
        ]
        assert len(found) == {"us": 2, "eu": 3}.get(place, 0), found


def _steady(text: str) -> list[str]:
    """Its lines without what differs from run to run: times, identifiers and counts of bytes."""
    text = re.sub(r"\d[\d,]*(?= bytes)", "N", text)
    text = re.sub(r"(?<=[ :-])[0-9a-f]{10,}", "HEX", text)
    return [re.sub(r"  \d+\.\d\d s$", "", line.rstrip()) for line in text.splitlines()]


def test_the_readme_and_the_home_page_show_what_it_prints(told: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```text\n(A model crosses.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    lines = _steady(shown)
    assert _steady(told)[: len(lines)] == lines


def test_a_terminal_of_80_columns_holds_what_it_prints(told: str, demo: Path) -> None:
    """The times stand right of the text; what a command prints is held by test_columns.py."""
    denial = told[told.index("  why  ") : told.index("✓ nothing reached")].splitlines()
    lines = [re.sub(r"\d+\.\d\d s$", "0.00 s", line) for line in told.splitlines()]
    lines = [line.replace(str(demo), ".demo") for line in lines]
    assert [line for line in lines if len(line) > 80 and line not in denial] == []


def test_what_it_says_to_try_next_works_in_that_order(told: str, demo: Path) -> None:
    """In a copy: the last of them do change what the demo left."""
    place = demo.parent / "tried"
    shutil.copytree(demo, place)
    codes, head = [], ""
    for line in told[told.index("Try next") :].splitlines():
        if line.startswith("  sovgate "):
            words = re.split(r" {3,}", line.strip())[0].replace("HEAD", head).split()
            done = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=place / "eu",
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
            )
            codes.append((words[1], done.returncode))
            found = re.search(r"audit-head +([0-9a-f]{64})", done.stdout)
            head = found.group(1) if found else head
    assert codes == [
        ("verify", 0),
        ("audit", 0),
        ("check", 10),
        ("pull", 0),
        ("audit", 0),
        ("push", 10),
    ]


@pytest.mark.thorough
def test_the_same_story_on_an_object_store_with_keys_in_kms(
    tmp_path: Path, ministack: str, seaweedfs: str
) -> None:
    """`make demo STORE=s3`. It starts servers of its own; ours show that they can be had."""
    components.found(components.package, "sklearn")
    place = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, str(ROOT / "demo" / "run.py")],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "DEMO_DIR": str(place),
            "DEMO_STORE": "s3",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "two buckets, four KMS keys" in done.stdout
    assert "nothing reached store-us" in done.stdout
    assert not [
        path
        for path in place.rglob("*")
        if path.is_file()
        and b"PRIVATE KEY-----" in path.read_bytes()
        and "cloud" not in path.parts
        and path.name != "dpo.pem"  # the lawyer's own key, of no zone
    ]
    assert (place / "eu" / "kyc-risk" / "model.safetensors").read_bytes() == (
        place / "us" / "kyc-risk" / "model.safetensors"
    ).read_bytes()
