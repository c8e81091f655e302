"""sovgate's own rules, vetted once: when they were written.

To vet them takes longer than all that a decision asks of them. So what came of it lies beside them,
with the SHA-256 of each file (`policies/vetted.json`, generated): where one differs, or is not
there, all of them are vetted anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sovgate import files, strict
from sovgate.engines._api import Module, Rule, Source
from sovgate.errors import SovgateError

FOLDER, VETTED = "policies", "vetted.json"
_FORMAT = "sovgate.vetted/v0"
_MAX_BYTES = 256 * 1024

Vetted = tuple[tuple[Module, ...], tuple[Rule, ...]]


def vetted(read: Sequence[Source]) -> Vetted:
    """Modules and rules of our own files. Raises ConfigError on what is not allowed in them."""
    return _known(read, _written()) or vet_anew(read)


def vet_anew(read: Sequence[Source]) -> Vetted:
    from sovgate.engines import regorus
    from sovgate.engines.vet import vet

    return vet(read, json.loads(regorus.load(read).get_ast_as_json()))


def document(found: Vetted) -> dict[str, Any]:
    """What is written down of them: no text, which the files hold."""
    modules, rules = found
    return {
        "format": _FORMAT,
        "generated": "by `python -m sovgate.surface`; do not edit",
        "modules": [{"name": m.name, "sha256": m.sha256, "package": m.package} for m in modules],
        "rules": [
            {**{k: v for k, v in asdict(rule).items() if k != "module"}, "module": rule.module.name}
            for rule in rules
        ],
    }


def _written() -> Any:
    path = files.resource_dir(FOLDER) / VETTED
    try:
        return strict.loads(files.read_bounded(path, most=_MAX_BYTES, what="list of rules"))
    except SovgateError:
        return None


def _known(read: Sequence[Source], written: Any) -> Vetted | None:
    """None where it is of other files than these, or of another form."""
    try:
        if written["format"] != _FORMAT:
            return None
        told = [(entry["name"], entry["sha256"]) for entry in written["modules"]]
        if told != [(source.name, source.sha256) for source in read]:
            return None
        modules = {
            source.name: Module(
                name=source.name,
                text=source.text,
                sha256=source.sha256,
                package=entry["package"],
                ours=True,
            )
            for source, entry in zip(read, written["modules"], strict=True)
        }
        rules = tuple(
            Rule(**{**entry, "module": modules[entry["module"]]}) for entry in written["rules"]
        )
    except (KeyError, TypeError):
        return None
    return tuple(modules.values()), rules
