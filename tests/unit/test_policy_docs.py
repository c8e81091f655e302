"""docs/policy.md and the section on cases: the example runs, the tables are whole."""

from __future__ import annotations

import re
from pathlib import Path

from sovgate.formats import case as cases
from sovgate.pipeline.decide.evidence import sort_evidence
from sovgate.pipeline.decide.policies import lint_rules, run_tests
from tests.policies import ALL_PRESETS, golden, policies

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


def test_the_example_rule_loads_and_passes_its_tests(tmp_path: Path) -> None:
    rule, test = re.findall(r"```rego\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "weekend.rego").write_text(rule)
    (tmp_path / "weekend_test.rego").write_text(test)
    assert lint_rules(sorted(tmp_path.iterdir())) == []
    results = run_tests(tmp_path)
    assert len(results) == 4
    assert [result for result in results if result.error is not None] == []


def test_every_rule_is_in_the_table() -> None:
    for rule in policies(*ALL_PRESETS).rules:
        assert f"| `{rule.id}` |" in PAGE


def test_the_worked_digest_is_the_vectors() -> None:
    assert cases.digest(golden()[0].case) in FORMATS


def test_every_reason_for_rejecting_evidence_is_documented() -> None:
    source = Path(sort_evidence.__code__.co_filename).read_text(encoding="utf-8")
    reasons = set(re.findall(r'_Unfit\(f?"([a-z-]+):', source))
    assert len(reasons) >= 6
    for reason in reasons:
        assert f"`{reason}`" in FORMATS
