"""Small models saved by the real libraries, and the golden SBOMs of each, in tests/vectors/sbom.

`python -m tests.models` writes models and documents anew: look at the difference before it is
committed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sovgate.formats.provenance import BaseModel, RecordedDataset, TrainingRecord
from sovgate.stages import inventory
from sovgate.stages import sbom as stage
from sovgate.stages.sbom import Described, Library, Licence, cyclonedx, spdx3

FOLDER = Path(__file__).parent / "vectors" / "sbom"

RECORD = TrainingRecord(
    datasets=(
        RecordedDataset(
            name="kyc-eu",
            category="personal",
            stays_in=(("EU",), ("DE", "FR")),
            pointer="s3://kyc-eu/2026-10/",
            manifest_sha256="ab" * 32,
            commitment="cd" * 32,
        ),
        RecordedDataset(
            name="public-pretrain",
            category="public",
            stays_in=(),
            pointer=None,
            manifest_sha256=None,
            commitment=None,
        ),
        RecordedDataset(
            name="scraped",
            category=None,
            stays_in=None,
            pointer=None,
            manifest_sha256=None,
            commitment=None,
        ),
    ),
    base_models=(BaseModel(name="kyc-base/1.0.0", manifest="ef" * 32),),
    commit="0123456789abcdef0123456789abcdef01234567",
    parameters={"epochs": "3", "learning-rate": "0.0005"},
    metrics={"accuracy": "0.93", "f1": "0.91"},
    finished=datetime(2026, 10, 1, 12, tzinfo=UTC),
)
LIBRARIES = (
    Library(name="numpy", version="2.4.6", hashes=("11" * 32,), licence="BSD-3-Clause"),
    Library(name="torch", version="2.12.0+cpu", hashes=("22" * 32, "33" * 32)),
)


def transformer(folder: Path) -> None:
    """A classifier in two shards, as transformers lays it out, with a card and a licence."""
    import numpy as np
    from safetensors.numpy import save_file

    shards = {
        "model-00001-of-00002.safetensors": {
            "bert.embeddings.weight": np.zeros((8, 4), np.float16),
            "bert.encoder.0.weight": np.zeros((4, 4), np.float16),
        },
        "model-00002-of-00002.safetensors": {
            "classifier.weight": np.zeros((2, 4), np.float32),
            "classifier.bias": np.zeros(2, np.float32),
        },
    }
    weight_map, total = {}, 0
    for name, arrays in shards.items():
        save_file(arrays, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(arrays, name)
        total += sum(array.nbytes for array in arrays.values())
    _json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": weight_map},
    )
    _json(
        folder / "config.json",
        {
            "architectures": ["BertForSequenceClassification"],
            "model_type": "bert",
            "hidden_size": 4,
            "num_hidden_layers": 1,
            "vocab_size": 8,
            "layer_norm_eps": 1e-12,
            "id2label": {"0": "no", "1": "yes"},
            "torch_dtype": "float16",
            "use_cache": True,
        },
    )
    _json(folder / "generation_config.json", {"temperature": 0.7, "eos_token_id": 2})
    _json(
        folder / "tokenizer_config.json",
        {"model_max_length": 10**30, "tokenizer_class": "BertTokenizer"},
    )
    (folder / "README.md").write_text(
        "---\nlicense: apache-2.0\nbase_model: google/bert-tiny\ndatasets:\n- glue\n"
        "library_name: transformers\npipeline_tag: text-classification\n---\n# Risk\n",
        encoding="utf-8",
    )
    (folder / "LICENSE").write_text(
        "\n                                 Apache License\n"
        "                           Version 2.0, January 2004\n",
        encoding="utf-8",
    )


def llama(folder: Path) -> None:
    """A quantized GGUF file."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_name("Tiny")
    writer.add_context_length(128)
    writer.add_token_list(["<s>", "</s>", "a", "b"])
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    quantized = gguf.quantize(np.ones((2, 32), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def scorer(folder: Path) -> None:
    """An ONNX graph with its weights in a file beside it."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "scorer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.zeros((8, 2), np.float32), "w")],
    )
    model = helper.make_model(
        graph, producer_name="trainer", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save_model(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )


def legacy(folder: Path) -> None:
    """What policy refuses: pickles under several names, one of them an innocent one."""
    import pickle

    import numpy as np

    (folder / "weights.bin").write_bytes(pickle.dumps({"w": [0.0] * 8}, protocol=4))
    np.save(folder / "labels.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "sub").mkdir()
    (folder / "sub" / "old.txt").write_bytes(b"cos\ngetcwd\n(tR.")
    (folder / "plain.npy").write_bytes(_npy())


def _npy() -> bytes:
    import io

    import numpy as np

    out = io.BytesIO()
    np.save(out, np.zeros(3, np.float32))
    return out.getvalue()


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


MODELS: dict[str, Callable[[Path], None]] = {
    "transformer": transformer,
    "llama": llama,
    "scorer": scorer,
    "legacy": legacy,
}


def described(model: Path, *, timestamp: datetime | None = None) -> Described:
    """As the pipeline does it, but for project, record and version, which are fixed here."""
    survey = inventory.survey(model)
    inspected = stage.inspect(survey.root, survey.kind, [entry.name for entry in survey.entries])
    full = model.name == "transformer" or model.parent.name == "transformer"
    return Described(
        name="golden",
        manifest=inventory.read(survey).manifest,
        inspected=inspected,
        filename=survey.root.name,
        record=RECORD if full else None,
        record_signer="99" * 32 if full else None,
        libraries=LIBRARIES if full else (),
        licences=(Licence(text="Apache-2.0", declared=True),) if full else (),
        timestamp=timestamp,
        tool_version="0",
    )


def documents(model: Path) -> dict[str, Any]:
    """File name -> document."""
    described_ = described(model)
    return {"cdx.json": cyclonedx.build(described_), "spdx.json": spdx3.build(described_)}


def written(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, make in MODELS.items():
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        (FOLDER / name / "model").mkdir(parents=True)
        make(FOLDER / name / "model")
        for file, document in documents(FOLDER / name / "model").items():
            (FOLDER / name / file).write_text(written(document), encoding="utf-8")
