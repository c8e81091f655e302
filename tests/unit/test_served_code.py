"""RULES 34: Python that the usual servers would run is code of the model's own, by its layout."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from sovgate.stages import sbom as stage
from tests.unit.test_brought_code import HDF5, LAMBDA, graph, node, saved

CODE = b"print('ran')\n"
HANDLER = b"class EndpointHandler:\n    pass\n"
MANIFEST = {"model": {"modelName": "m", "serializedFile": "m.pt", "handler": "handler.py"}}
TRITON = b'name: "m"\nbackend: "onnxruntime"\nparameters { key: "x" value { string_value: "y" } }\n'


def tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def inspected(folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return dict(stage.inspect(folder, "directory", sorted(files)).remote_code)


RUN = [
    ("code/inference.py", CODE, "a server runs code/inference.py"),
    ("custom_generate/generate.py", CODE, "a server runs custom_generate/generate.py"),
    ("hubconf.py", CODE, "a server runs hubconf.py"),
    ("handler.py", HANDLER, "a server runs handler.py"),
    ("m/1/model.py", CODE, "a server runs m/1/model.py"),
    ("MAR-INF/MANIFEST.json", json.dumps(MANIFEST).encode(), "handler: handler.py"),
    ("MAR-INF/MANIFEST.json", b"{model: {handler: 'x.py'}}", "settings that cannot be read"),
    ("m/config.pbtxt", b'name: "m"\nbackend: "python"\n', "the backend python of Triton"),
    ("config.pbtxt", b"backend:\n'py' # so\n\"thon\"", "the backend python of Triton"),
    ("config.pbtxt", b'backend: "mine"', "the backend mine of Triton"),
    ("config.pbtxt", b'backend: "pyth\\157n"', "a backend in a spelling that is not read"),
    ("config.pbtxt", b'platform: "python"', "the platform python of Triton"),
    ("config.pbtxt", b'backend: ""\nplatform: "pyt" \'hon\'', "the platform python of Triton"),
    ("m/config.pbtxt", b'platform: "custom"', "the platform custom of Triton"),
    ("config.pbtxt", b'platform: "pyth\\157n"', "a platform in a spelling that is not read"),
    ("saved_model.pb", saved(graph(node("x", "WriteFile"))), "the operation WriteFile (node x)"),
]


@pytest.mark.parametrize(("name", "data", "told"), RUN)
def test_rule_34_what_a_server_runs_is_code(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    files = {name: data, "m.tar.gz": tarred({f"./{name}": data}), "m.mar": zipped({name: data})}
    (tmp_path / "variables").mkdir()
    found = inspected(tmp_path, files)
    assert found.pop(name) == told
    assert len(found) == 2
    assert all(text.startswith(f"{told}, in ") for text in found.values())


def test_rule_34_all_code_of_sagemaker_in_an_archive_counts(tmp_path: Path) -> None:
    archive = tarred({"model.safetensors": b"", "code/serve.py": CODE})
    assert inspected(tmp_path, {"model.tar.gz": archive}) == {
        "model.tar.gz": "a server runs code/serve.py, in code/serve.py"
    }


def test_files_that_no_server_runs_are_no_code(tmp_path: Path) -> None:
    own = {"model": {"modelName": "m", "serializedFile": "m.pt", "handler": "image_classifier"}}
    found = inspected(
        tmp_path,
        {
            "code/train.py": CODE,
            "scripts/inference.py": CODE,
            "handler.py": CODE,
            "m/config.pbtxt": TRITON + b'# backend: "python"\n',
            **{
                f"m-{kind}/config.pbtxt": f'platform: "{kind}"\n'.encode()
                for kind in (
                    *("ensemble", "onnxruntime_onnx", "openvino", "pytorch_libtorch", ""),
                    *("tensorflow_graphdef", "tensorflow_savedmodel", "tensorrt_plan"),
                )
            },
            "m.mar": zipped({"MAR-INF/MANIFEST.json": json.dumps(own).encode()}),
            "m.tar.gz": tarred({"src/model.py": CODE, "m/config.pbtxt": TRITON}),
            "saved_model.pb": saved(
                graph(node("s", "SaveV2"), node("r", "RestoreV2"), node("f", "ShardedFilename"))
            ),
        },
    )
    assert found == {}


@pytest.mark.parametrize("name", ["model.keras", "saved", "weights.bin", "model.h5"])
def test_rule_34_a_member_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    archive = tarred({name: HDF5["variable"]})
    assert inspected(tmp_path, {"m.tar.gz": archive}) == {"m.tar.gz": f"{LAMBDA}, in {name}"}
