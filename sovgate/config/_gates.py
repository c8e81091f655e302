"""The part `gates` of sovgate.yaml -> records. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sovgate.config._records import DatasetRef, GateConfig
from sovgate.formats.sections import Section

_SHA256 = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_BEFORE = ("transfer", "deploy", "train", "serve", "observe")


def _digest(section: Section, key: str) -> str | None:
    """What `gate pin` writes, as lower-case hex."""
    if not section.has(key):
        return None
    text = section.text(key)
    if not _SHA256.fullmatch(text):
        section.refuse(
            key,
            f"{section.title(key)}: {text[:80]!r} is not sha256: and 64 digits of 0-9 and a-f",
            fix=f"let it be written: sovgate gate pin {section.path[-1]} --predictions FILE",
        )
    return text.removeprefix("sha256:")


def gate(name: str, section: Section, datasets: Mapping[str, DatasetRef]) -> GateConfig:
    made = GateConfig(
        name=name,
        at_least=section.decimal("at-least", example="0.90") if section.has("at-least") else None,
        at_most=section.decimal("at-most", example="0.10") if section.has("at-most") else None,
        dataset=section.choice("dataset", list(datasets)) if section.has("dataset") else None,
        before=section.choice("before", _BEFORE),
        test_set=_digest(section, "test-set"),
        baseline=_digest(section, "baseline"),
        positive=section.text("positive") if section.has("positive") else None,
    )
    if made.dataset is not None:
        for key in ("at-least", "at-most", "test-set", "baseline", "positive"):
            if section.has(key):
                section.refuse(
                    key,
                    "a gate with dataset: is a legal gate, and has no bound"
                    if key in ("at-least", "at-most")
                    else "a gate with dataset: is a legal gate, and measures nothing",
                    fix="split it into two gates",
                )
    if made.at_least is not None and made.at_most is not None:
        section.refuse(
            "at-most", "a gate has one bound, at-least or at-most", fix="split it into two gates"
        )
    section.done()
    return made
