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
        b'{"auto_mapping": {"parent_library": "transformers_modules.org.m"}}',
        b'{"auto_mapping": {"parent_library": "os.path"}}',
        b'{"auto_map": {"AutoModel": "m.M"}',
        b'\xef\xbb\xbf{"auto_map": {"AutoModel": "m.M"}}',
        b"[" * 100_000 + b'"auto_map"',
    ],
)
def test_no_spelling_hides_it(data: bytes) -> None:
    assert remotecode.asked(data)


def test_a_library_that_is_installed_is_not_named() -> None:
    library = {"base_model_class": "B", "parent_library": "transformers.models.bert.modeling_bert"}
    assert remotecode.asked(json.dumps({"auto_mapping": library}).encode()) is None


@pytest.mark.parametrize("data", [b"{}", b'{"auto_map": {}}', b'{"auto_map": null}', b"", b"x"])
def test_what_asks_for_nothing_is_not_named(data: bytes) -> None:
    assert remotecode.asked(data) is None


def test_settings_too_large_to_read_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotecode, "MAX_FILE", 4096)
    files = {**FILES, "sub/config.json": b" " * 4096 + b"{}"}
    crossing = make_crossing(tmp_path / "project", files)
    switch_on(crossing)
    assert crossing.push(code=10)["error"]["reason"] == "no-remote-code"


PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.31.0",
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": [None, None],
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def test_parts_that_are_installed_code_are_not_named() -> None:
    names = ["unet/config.json", "vae/helper.py"]
    assert remotecode.asked(json.dumps(PIPELINE).encode(), "model_index.json", names) is None
    assert remotecode.asked(json.dumps(MODULES).encode(), "sub/modules.json", names) is None


@pytest.mark.parametrize(
    ("name", "settings", "names", "told"),
    [
        ("model_index.json", {"_class_name": ["my_pipe", "P"]}, [], "my_pipe.P"),
        ("a/model_index.json", {"unet": ["my_unet", "U"]}, ["unet/my_unet.py"], "my_unet.U"),
        ("model_index.json", {"unet": ["my_unet", "U"]}, ["my_unet.py"], "my_unet.U"),
        ("model_index.json", {"_class_name": "P"}, ["pipeline.py"], "pipeline.py"),
        ("modules.json", [{"type": "custom_st.Transformer"}], [], "custom_st.Transformer"),
        ("1/modules.json", [{"type": "user/x--custom_st.T"}], [], "user/x--custom_st.T"),
        ("MODULES.JSON", [{"type": 7}], [], "code of its own"),
        ("modules.json", [{}], [], "code of its own"),
    ],
)
def test_parts_of_the_models_own_are_named(
    name: str, settings: object, names: list[str], told: str
) -> None:
    changed = PIPELINE | settings if isinstance(settings, dict) else [*MODULES, *settings]  # type: ignore[misc]
    assert remotecode.is_settings(name)
    assert remotecode.asked(json.dumps(changed).encode(), name, names) == told
    assert remotecode.asked(json.dumps(changed).encode()[:-1], name, names) == "code of its own"


def test_a_module_of_the_models_own_is_refused_where_the_rule_is_on(tmp_path: Path) -> None:
    modules = [*MODULES, {"idx": 2, "type": "custom_st.Transformer"}]
    files = {
        **FILES,
        "modules.json": json.dumps(modules).encode(),
        "custom_st.py": b"x = 1\n",
        "1_Pooling/config.json": b"{}",
    }
    crossing = make_crossing(tmp_path / "project", files)
    switch_on(crossing)
    assert "modules.json: custom_st.Transformer" in crossing.push(code=10)["error"]["why"]
