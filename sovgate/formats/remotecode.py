"""Which of a model's files ask a library to run Python of the model's own. No I/O.

`trust_remote_code` of transformers and its like run what `auto_map` or `custom_pipelines` names: a
file of the model, or of another one on the hub. It is the same risk as a pickle.
"""

from __future__ import annotations

import json

#: Larger files of settings are none.
MAX_FILE = 4 * 1024 * 1024
#: Under these names, anywhere in a file of settings, stands what is to be run.
KEYS = frozenset({"auto_map", "custom_pipelines"})
_MAX_TEXT = 200


def is_settings(name: str) -> bool:
    """Files in which libraries look for such names: config.json, tokenizer_config.json, …"""
    return name.rpartition("/")[2].lower().endswith("config.json")


def asked(data: bytes) -> str | None:
    """What it asks for, e.g. "modeling_x.Model", or None. Where it is no JSON, its words decide."""
    found: list[object] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found.extend(value for key, value in items if key in KEYS and value)
        return dict(items)

    try:
        json.loads(data.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return "code of its own" if any(key.encode() in data for key in KEYS) else None
    texts = sorted(set(_texts(found)))
    return ", ".join(texts)[:_MAX_TEXT] or "code of its own" if found else None


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if "." in value else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]
