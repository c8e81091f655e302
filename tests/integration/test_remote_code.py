"""A model that asks for Python of its own is listed, and goes nowhere where the project says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sovgate.formats import remotecode
from tests.crossing import FILES, Crossing, make_crossing

CONFIG = {"model_type": "x", "auto_map": {"AutoModel": "modeling_x.XModel"}}
PRESET = "\npolicy: {presets: [no-remote-code]}\n"


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    files = {
        **FILES,
        "config.json": json.dumps(CONFIG).encode(),
        "modeling_x.py": b"class XModel:\n    pass\n",
    }
    return make_crossing(tmp_path / "project", files)


def switch_on(crossing: Crossing) -> None:
    path = crossing.base / "sovgate.yaml"
    path.write_text(path.read_text() + PRESET)


def test_it_is_listed_in_the_sbom(crossing: Crossing) -> None:
    crossing.json("sbom", crossing.model, "-o", "s.json", "--spdx", "s.spdx.json")
    document = json.loads((crossing.base / "s.json").read_bytes())
    rows = {row["name"]: row["value"] for row in document["metadata"]["component"]["properties"]}
    assert rows["sovgate:remote-code"] == "1"
    (file,) = [one for one in document["components"] if one["name"] == "config.json"]
    told = {row["name"]: row["value"] for row in file["properties"]}
    assert told["sovgate:remote-code"] == "modeling_x.XModel"
    assert "modeling_x.XModel" in (crossing.base / "s.spdx.json").read_text()


def test_without_the_rule_it_crosses_and_with_it_it_is_refused(crossing: Crossing) -> None:
    crossing.push()
    crossing.pull()
    switch_on(crossing)
    error = crossing.push(code=10)["error"]
    assert error["reason"] == "no-remote-code"
    assert "config.json: modeling_x.XModel" in error["why"]
    assert crossing.pull(code=10)["error"]["reason"] == "no-remote-code"


def test_with_the_rule_other_models_cross(tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project")
    switch_on(crossing)
    crossing.push()
    crossing.pull()
    crossing.json("check", crossing.model, "--zone", "home", "--to", "eu")


@pytest.mark.parametrize(
    "data",
    [
        b'{"auto_map": {"AutoModel": "m.M"}}',
        b'{"a": {"b": [{"auto_map": {"AutoModel": ["m.M", null]}}]}}',
        b'{"auto\\u005fmap": {"AutoModel": "user/other--m.M"}}',
        b'{"auto_map": {"AutoModel": "m.M"}, "auto_map": {}}',
        b'{"custom_pipelines": {"x": {"impl": "m.M"}}}',
        b'{"auto_map": {"AutoModel": "m.M"}',
        b'\xef\xbb\xbf{"auto_map": {"AutoModel": "m.M"}}',
        b"[" * 100_000 + b'"auto_map"',
    ],
)
def test_no_spelling_hides_it(data: bytes) -> None:
    assert remotecode.asked(data)


@pytest.mark.parametrize("data", [b"{}", b'{"auto_map": {}}', b'{"auto_map": null}', b"", b"x"])
def test_what_asks_for_nothing_is_not_named(data: bytes) -> None:
    assert remotecode.asked(data) is None


def test_settings_too_large_to_read_count(tmp_path: Path) -> None:
    files = {"config.json": b" " * (remotecode.MAX_FILE + 1) + b"{}"}
    crossing = make_crossing(
        tmp_path / "project", {**FILES, "sub/config.json": files["config.json"]}
    )
    switch_on(crossing)
    assert crossing.push(code=10)["error"]["reason"] == "no-remote-code"
