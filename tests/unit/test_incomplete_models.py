"""A model that its own files call incomplete is not signed (RULES 38), and a whole one is.

Folders as the tools of the field leave them; most are names and settings alone, without any file.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import VerificationFailed
from sovgate.formats import beside, pieces, unfinished
from sovgate.formats.folders import Folders, Promised
from sovgate.formats.tensors import BytesSource
from sovgate.stages import attest
from sovgate.stages import sbom as stage
from sovgate.stages.sbom.references import References
from tests.crossing import Crossing, make_crossing
from tests.downloads import safetensors
from tests.effort import effort

#: Name -> content: JSON, bytes, or None for bytes that do not matter.
Model = Mapping[str, Any]


def look(model: Model) -> References:
    """What `inspect` asks of the names and the settings of a model."""
    raw = {
        name: bytes(8)
        if content is None
        else content
        if isinstance(content, bytes)
        else json.dumps(content).encode()
        for name, content in model.items()
    }
    pieces.refuse(raw)
    sizes = {name: len(data) for name, data in raw.items()}
    found = References(sizes=sizes, folders=Folders(raw))
    for name, data in raw.items():
        found.look(name, BytesSource(data), data)
    found.check()
    return found


def refused(model: Model, reason: str = "missing-shard") -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        look(model)
    assert caught.value.reason == reason
    assert caught.value.exit_code == 11
    assert caught.value.why
    assert caught.value.fix
    return caught.value


def names(*paths: str) -> dict[str, Any]:
    return dict.fromkeys(paths)


PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.31.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "force_zeros_for_empty_prompt": True,
    "image_encoder": [None, None],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
DIFFUSERS = {
    "model_index.json": PIPELINE,
    **names(
        "feature_extractor/preprocessor_config.json",
        "safety_checker/config.json",
        "safety_checker/model.fp16.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/pytorch_model.bin",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
        "vae/config.json",
        "vae/diffusion_flax_model.msgpack",
    ),
}
ORT = "optimum.onnxruntime.modeling_diffusion"
#: As `optimum-cli export` leaves them: the settings are those of the pipeline that was exported.
EXPORTS: dict[str, Model] = {
    "ONNX": {
        "model_index.json": PIPELINE,
        **names(
            "scheduler/scheduler_config.json",
            "text_encoder/model.onnx",
            "tokenizer/vocab.json",
            "unet/model.onnx",
            "vae_decoder/model.onnx",
            "vae_encoder/model.onnx",
        ),
    },
    "OpenVINO": {
        "model_index.json": {
            "_class_name": "OVStableDiffusionPipeline",
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["optimum.intel.openvino.modeling_diffusion", "OVModelTextEncoder"],
            "unet": ["optimum.intel.openvino.modeling_diffusion", "OVModelUnet"],
            "vae": ["optimum.intel.openvino.modeling_diffusion", "OVModelVae"],
        },
        **names(
            "scheduler/scheduler_config.json",
            "text_encoder/openvino_model.xml",
            "text_encoder/openvino_model.bin",
            "unet/openvino_model.xml",
            "unet/openvino_model.bin",
            "vae_decoder/openvino_model.xml",
            "vae_decoder/openvino_model.bin",
        ),
    },
    "ONNX of diffusers": {
        "model_index.json": {
            "_class_name": "OnnxStableDiffusionPipeline",
            "unet": ["diffusers", "OnnxRuntimeModel"],
            "vae_decoder": ["diffusers", "OnnxRuntimeModel"],
        },
        **names("unet/model.onnx", "unet/weights.pb", "vae_decoder/model.onnx"),
    },
}
ST = "sentence_transformers.models"


def modules(*rows: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"idx": place, "name": str(place), "path": path, "type": kind}
        for place, (path, kind) in enumerate(rows)
    ]


SENTENCES = {
    "modules.json": modules(
        ("", f"{ST}.Transformer"),
        ("1_Pooling", f"{ST}.Pooling"),
        ("2_Dense", "pylate.models.Dense.Dense"),
        ("3_Normalize", "sentence_transformers.sentence_transformer.modules.normalize.Normalize"),
    ),
    **names(
        "config.json",
        "model.safetensors",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ),
}
MLC = {
    "mlc-chat-config.json": {"tokenizer_files": ["tokenizer.json"]},
    "tokenizer.json": {},
    "ndarray-cache.json": {
        "metadata": {"ParamSize": 2},
        "records": [
            {"dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": 8, "records": []},
            {"dataPath": "params_shard_1.bin", "format": "raw-shard", "nbytes": 8, "records": []},
        ],
    },
    **names("params_shard_0.bin", "params_shard_1.bin"),
}
GENAI = {
    "genai_config.json": {
        "model": {
            "type": "phi4mm",
            "decoder": {"filename": "text.onnx", "inputs": {"input_ids": "input_ids"}},
            "vision": {"filename": "vision.onnx", "adapter_filename": "vision.onnx_adapter"},
            "pipeline": [{"embeddings": {"filename": "embeddings.onnx"}}],
        },
        "search": {"filename": "none.onnx"},
    },
    **names("text.onnx", "vision.onnx", "vision.onnx_adapter", "embeddings.onnx"),
}
ENGINE = {
    "config.json": {
        "version": "1.0.0",
        "pretrained_config": {"mapping": {"world_size": 2, "tp_size": 2}},
        "build_config": {"max_batch_size": 8},
    },
    **names("rank0.engine", "rank1.engine"),
}
RANKS = {
    "config.json": {"architecture": "LlamaForCausalLM", "mapping": {"world_size": 2}},
    **names("rank0.safetensors", "rank1.safetensors"),
}
DISTCP = {
    ".metadata": b"\x80\x02cX\nY\nX\x0c\0\0\0__0_0.distcpX\x0c\0\0\0__3_1.distcp",
    **names("__0_0.distcp", "__3_1.distcp", "common.pt"),
}
KEPT = b'model_checkpoint_path: "m.ckpt-9"\nall_model_checkpoint_paths: "m.ckpt-5"\n'
TENSORFLOW = {
    "checkpoint": KEPT,
    **names("m.ckpt-9.meta", "m.ckpt-9.index", "m.ckpt-9.data-00000-of-00001"),
}

#: Model, what is taken out, and what the refusal names; @ is the folder above.
LACKING: list[tuple[Model, list[str], str]] = [
    (DIFFUSERS, ["unet/*"], "'unet' (UNet2DConditionModel), and there is no folder '@unet'"),
    (DIFFUSERS, ["tokenizer/*"], "no folder '@tokenizer'"),
    (DIFFUSERS, ["scheduler/*"], "no folder '@scheduler'"),
    (DIFFUSERS, ["safety_checker/*"], "no folder '@safety_checker'"),
    (DIFFUSERS, ["text_encoder/pytorch_model.bin"], "no weights lie in '@text_encoder'"),
    (DIFFUSERS, ["vae/config.json"], "'@vae/config.json' is not there"),
    (EXPORTS["ONNX"], ["unet/*"], "no folder '@unet'"),
    (EXPORTS["ONNX"], ["vae_decoder/*", "vae_encoder/*"], "no folder '@vae'"),
    (EXPORTS["OpenVINO"], ["text_encoder/*"], "no folder '@text_encoder'"),
    (SENTENCES, ["1_Pooling/*"], "no folder '@1_Pooling'"),
    (SENTENCES, ["2_Dense/*"], "no folder '@2_Dense'"),
    (SENTENCES, ["2_Dense/model.safetensors"], "no weights lie in '@2_Dense'"),
    (SENTENCES, ["2_Dense/config.json"], "'@2_Dense/config.json' is not there"),
    (SENTENCES, ["model.safetensors"], "no weights lie beside it"),
    (MLC, ["params_shard_1.bin"], "names '@params_shard_1.bin', which is not there"),
    (MLC, ["tokenizer.json"], "names '@tokenizer.json', which is not there"),
    (
        MLC,
        ["ndarray-cache.json", "params_*"],
        "neither 'tensor-cache.json' nor 'ndarray-cache.json'",
    ),
    (GENAI, ["text.onnx"], "names '@text.onnx', which is not there"),
    (GENAI, ["embeddings.onnx"], "names '@embeddings.onnx', which is not there"),
    (GENAI, ["vision.onnx_adapter"], "names '@vision.onnx_adapter', which is not there"),
    (ENGINE, ["rank0.engine"], "names '@rank0.engine', which is not there"),
    (ENGINE, ["rank1.engine"], "names '@rank1.engine', which is not there"),
    (RANKS, ["rank1.safetensors"], "names '@rank1.safetensors', which is not there"),
    (DISTCP, [".metadata"], "'@.metadata' is not there, and '@__0_0.distcp' is"),
    (DISTCP, ["__3_1.distcp"], "names '@__3_1.distcp', which is not there"),
    (TENSORFLOW, ["m.ckpt-9.index"], "'@m.ckpt-9.index' is not there"),
    (TENSORFLOW, ["m.ckpt-9.index", "m.ckpt-9.data*"], "of which '@m.ckpt-9.index' is not there"),
]


@pytest.mark.parametrize("above", ["", "a b/"])
@pytest.mark.parametrize(("whole", "gone", "said"), LACKING)
def test_rule_38_what_settings_name_is_there(
    whole: Model, gone: list[str], said: str, above: str
) -> None:
    look({above + name: content for name, content in whole.items()})
    left = [name for name in whole if not any(map(Path(name).match, gone))]
    assert len(left) < len(whole)
    error = refused({above + name: whole[name] for name in left})
    assert said.replace("@", above) in error.what


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_of_a_pipeline_is_whole_without_what_it_has_no_use_for(name: str) -> None:
    look(EXPORTS[name])


ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "org/base"}
WHOLE: dict[str, Model] = {
    "a pipeline with everything right in its folder": {
        "model_index.json": {
            "_class_name": "DDPMPipeline",
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        },
        **names("config.json", "diffusion_pytorch_model.bin", "scheduler_config.json"),
    },
    "a component with code of its own": {
        "model_index.json": {"_class_name": "P", "helper": ["helper", "Helper"]},
        **names("helper/helper.py", "helper/settings.json"),
    },
    "a component without weights": {
        "model_index.json": {"_class_name": "P", "mel": ["diffusers", "Mel"]},
        **names("mel/mel_config.json"),
    },
    "a pipeline whose settings have lists": {
        "model_index.json": {"_class_name": "P", "sizes": [1, 2], "tags": ["a"], "x": None},
    },
    "settings of another program": {"model_index.json": {"unet": ["a", "b"]}},
    "modules that lie right in the folder": {
        "modules.json": modules((".", f"{ST}.StaticEmbedding"), ("1_Normalize", f"{ST}.Normalize")),
        **names("model.safetensors", "tokenizer.json"),
    },
    "modules as ONNX": {
        "modules.json": modules(("", f"{ST}.Transformer"), ("1_Pooling", f"{ST}.Pooling")),
        **names("config.json", "onnx/model.onnx", "1_Pooling/config.json"),
    },
    "modules with an adapter": {
        "modules.json": modules(("", f"{ST}.Transformer"), ("1_Dropout", f"{ST}.Dropout")),
        "adapter_config.json": ADAPTER,
        **names("adapter_model.safetensors", "1_Dropout/config.json"),
    },
    "a module of its own without files": {
        "modules.json": modules(("", "custom_st.Transformer"), ("1_Cut", "custom_st.Cut")),
        **names("model.safetensors"),
    },
    "modules of another program": {"modules.json": [{"path": "x", "type": "a.b"}, 7]},
    "a router": {
        "modules.json": modules(("", f"{ST}.Router")),
        "router_config.json": {"types": {"query_0_SparseStaticEmbedding": f"{ST}.S"}},
        **names("query_0_SparseStaticEmbedding/config.json"),
    },
    "an adapter of PEFT": {"adapter_config.json": ADAPTER, **names("adapter_model.bin")},
    "an adapter of MLX": {"adapter_config.json": {}, **names("adapters.safetensors")},
    "an adapter of AdapterHub": {"adapter_config.json": {}, **names("pytorch_adapter.bin")},
    "a merged model that kept the adapter's settings": {
        "adapter_config.json": ADAPTER,
        **names("model.safetensors"),
    },
    "an adapter in parts": {
        "adapter_config.json": ADAPTER,
        **names("pytorch_model_fsdp_0/.metadata", "pytorch_model_fsdp_0/__0_0.distcp"),
    },
    "both indices of MLC": {**MLC, "ndarray-cache-b16.json": MLC["ndarray-cache.json"]},
    "one engine": {
        "config.json": {"pretrained_config": {"mapping": {"world_size": 1}}},
        **names("rank0.engine"),
    },
    "a tokenizer": {"config.json": {"model_type": "gpt2"}, **names("tokenizer.json")},
    "weights of a format that is not known": {
        "config.json": {"architectures": ["X"]},
        **names("weights.rknn"),
    },
    "weights in another folder": {"config.json": {"architectures": ["X"]}, **names("Q4/m.gguf")},
    "a model of Keras as a folder": {
        "metadata.json": {"keras_version": "3.8.0"},
        **names("config.json", "model.weights.h5"),
    },
    "metadata of a data set": {"metadata.json": {"keras_version": "3"}, **names("x.csv")},
    "graphs that share their weights": names("decoder.onnx", "encoder.onnx", "model.onnx_data"),
    "settings of transformers": {"config.json": {"model_type": "bert", "mapping": {"a": 1}}},
    "ranks that wrote no file": {
        ".metadata": b"\x80__2_0.distcp",
        **names("__2_0.distcp"),
    },
    "metadata of another kind": {".metadata": b"author: x"},
    "paths of the machine that trained": {
        "checkpoint": b'model_checkpoint_path: "/home/u/run/m.ckpt-9"\n',
        **names("bert.ckpt.meta", "bert.ckpt.index", "bert.ckpt.data-00000-of-00001"),
    },
    "an absolute path to what is there": {
        "checkpoint": b'model_checkpoint_path: "/home/u/run/m.ckpt"\n',
        **names("m.ckpt.meta", "m.ckpt.index", "m.ckpt.data-00000-of-00001"),
    },
    "a checkpoint of the first version": {
        "checkpoint": b'model_checkpoint_path: "m.ckpt"\n',
        **names("m.ckpt", "m.ckpt.meta"),
    },
    "an exported graph that the list does not name": {"checkpoint": KEPT, **names("x.meta")},
    "the state of a training that was taken out": {
        "latest": b"global_step500",
        **names("model.safetensors"),
    },
    "a newest step": {"latest_checkpointed_iteration.txt": b"500\n", **names("iter_0000500/a.pt")},
    "a word": {"latest": b"stable\n"},
    "Llama": names("consolidated.00.pth", "consolidated.01.pth", "params.json"),
    "MLX": names("weights.00.safetensors", "weights.01.safetensors", "config.json"),
    "the best epochs": names("weights.05.safetensors", "weights.12.safetensors"),
    "LoRA of some ranks": names("rank32.safetensors", "x_lora_rank64.safetensors", "rerank2.pt"),
    "layers that hold nothing": names("layer_00-model_00-x.pt", "layer_02-model_00-x.pt"),
    "sharded state": names(
        *(f"model-rank-{rank}-part-{part}.safetensors" for rank in (0, 1) for part in (0, 1))
    ),
    "Megatron": names("mp_rank_00_000/m.pt", "mp_rank_00_001/m.pt", "mp_rank_01_000/m.pt"),
    "a compiled model of Core ML": {
        "a.mlmodelc/model.mil": b'BLOBFILE(path = string("@model_path/weights/weight.bin"), 64)',
        **names("a.mlmodelc/weights/weight.bin", "a.mlmodelc/coremldata.bin"),
    },
    "MXNet": names("net-symbol.json", "net-0000.params"),
    "MLflow": {
        "MLmodel": b"flavors:\n  python_function:\n    data: null\n    env: {conda: conda.yaml}\n"
        b"  pytorch:\n    model_data: data\n  paddle:\n    pickled_model: model\n",
        **names("data/model.pth"),
    },
    "copies that a download numbered": names("model.safetensors", "model.safetensors.1"),
    "versions of each step": names("m.ckpt.5", "m.ckpt.10", "m.pt.0005", "m.pt.0010", "m.ckpt.1"),
    "endings behind an ending": names(
        *("m.bin.md5", "m.bin.gz", "m.onnx.md", "m.pt.py", "m.bin.age", "m.bin.partial.txt"),
        *(
            "tokenizer.model.v3",
            "sp.model.am",
            "sp.model.ar",
            "m.safetensors.index.json",
            "m.gguf.parts",
            "m.zip.asc",
        ),
    ),
    "a run of verl": {
        "latest_checkpointed_iteration.txt": b"100",
        **names("global_step_100/actor/model_world_size_2_rank_0.pt"),
    },
    "checkpoints by padded steps": names(
        *(f"ckpt.pt.{n:04}" for n in (0, 10, 20)), *(f"net.pth.{n:03}" for n in (0, 50, 100))
    ),
    "epochs": names(*(f"weights.{n:02}.safetensors" for n in (0, 5, 10))),
    "epochs beside settings": {"config.json": {}, **names("weights.03.npz", "weights.07.npz")},
    "an engine of an adapter": names("unet_lora_rank64.engine"),
    "an adapter of ONNX": {
        "adapter_config.json": {"peft_type": "LORA"},
        **names("adapter_weights.onnx_adapter"),
    },
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_passes(name: str) -> None:
    look(WHOLE[name])


LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
INCOMPLETE: list[tuple[Model, str]] = [
    (
        {
            "config.json": LLAMA,
            **names("tokenizer.model", "tokenizer.json", "README.md", "LICENSE", ".gitattributes"),
        },
        "is of a model (LlamaForCausalLM), and no weights lie in the folder",
    ),
    (
        {"metadata.json": {"keras_version": "3.8.0"}, "config.json": {"class_name": "Functional"}},
        "'model.weights.h5' is not there",
    ),
    (names("onnx/model.onnx_data", "onnx/model.onnx_data_1", "a.onnx"), "'onnx/model.onnx' is not"),
    (names("model.onnx.data"), "'model.onnx' is not there"),
    (names("openvino_model.bin"), "'openvino_model.xml' is not there"),
    (
        {"genai_config.json": {"model": {"speech": {"config_filename": "audio.json"}}}},
        "names 'audio.json', which is not there",
    ),
    ({"adapter_config.json": ADAPTER}, "'adapter_model.safetensors' is not there"),
    (
        {
            "x/adapter_config.json": ADAPTER,
            **names("x/tokenizer.model", "x/optimizer.pt", "x/training_args.bin", "model.bin"),
        },
        "'x/adapter_model.safetensors' is not there",
    ),
    (
        {"router_config.json": {"types": {"query_0_Transformer": f"{ST}.Transformer"}}},
        "no folder 'query_0_Transformer'",
    ),
    (names("consolidated.00.pth", "consolidated.02.pth"), "'consolidated.01.pth'"),
    (names("original/consolidated.01.pth"), "'original/consolidated.00.pth'"),
    (names("weights.00.safetensors", "weights.02.safetensors"), "'weights.01.safetensors'"),
    (names("config.json", "weights.01.safetensors"), "'weights.00.safetensors'"),
    (
        names("model-rank-0-part-0.safetensors", "model-rank-2-part-0.safetensors"),
        "'model-rank-1-part-0.safetensors'",
    ),
    (
        names("model-rank-0-part-0.safetensors", "model-rank-0-part-2.safetensors"),
        "'model-rank-0-part-1.safetensors'",
    ),
    (names("llama_float16_tp2_rank1.engine"), "'llama_float16_tp2_rank0.engine'"),
    (names("i/mp_rank_00/m.pt", "i/mp_rank_02/m.pt"), "'i/mp_rank_01/m.pt'"),
    (names("mp_rank_01_model_states.pt"), "'mp_rank_00_model_states.pt'"),
    (names("mp_rank_00_001/m.pt"), "'mp_rank_00_000/m.pt'"),
    (
        names(*(f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in (0, 3))),
        "'zero_pp_rank_1_mp_rank_00_optim_states.pt'",
    ),
    (names("reshard-model_part-1.pt"), "'reshard-model_part-0.pt'"),
    (names("a.mlpackage/Data/com.apple.CoreML/weights/weight.bin"), "'a.mlpackage/Manifest.json'"),
    (names("a.mlmodelc/model.mil", "a.mlmodelc/weights/weight.bin"), "'a.mlmodelc/coremldata.bin'"),
    (
        {
            "a.mlmodelc/model.mil": b'path = string("@model_path/weights/weight.bin")',
            **names("a.mlmodelc/coremldata.bin"),
        },
        "'a.mlmodelc/weights/weight.bin'",
    ),
    (names("net-symbol.json"), "'net-0000.params' is not there"),
    ({"MLmodel": b"flavors:\n  onnx:\n    data: model.onnx\n"}, "'model.onnx'"),
    (
        {
            "meta.yaml": b"files:\n  model_file: exp/asr/ave.pth\nyaml_files:\n  c: exp/c.yaml\n",
            **names("exp/c.yaml"),
        },
        "'exp/asr/ave.pth'",
    ),
    ({"latest": b"global_step500\n", **names("global_step400/x.pt")}, "'global_step500'"),
    ({"latest_checkpointed_iteration.txt": b"500\n"}, "'iter_0000500'"),
    (names("x/m.data-00000-of-00001"), "'x/m.index' is not there"),
]


@pytest.mark.parametrize(("model", "said"), INCOMPLETE)
def test_rule_38_an_incomplete_model_is_refused(model: Model, said: str) -> None:
    assert said in refused(model).what


def test_rule_38_a_file_that_is_short_is_not_whole() -> None:
    said = refused({**MLC, "params_shard_1.bin": bytes(7)}).what
    assert "'params_shard_1.bin', which is shorter than 8 bytes" in said


def test_the_way_out_of_a_component_that_nobody_needs_is_tried() -> None:
    left = {name: content for name, content in DIFFUSERS.items() if "safety" not in name}
    assert "set 'safety_checker' to [null, null]" in str(refused(left).fix)
    look({**left, "model_index.json": {**PIPELINE, "safety_checker": [None, None]}})


def test_an_index_of_which_nothing_is_there_is_named_beside_other_weights(tmp_path: Path) -> None:
    safetensors(tmp_path / "model.safetensors", ["a"])
    (tmp_path / "ndarray-cache.json").write_text(json.dumps(MLC["ndarray-cache.json"]))
    found = stage.inspect(tmp_path, "directory", ["model.safetensors", "ndarray-cache.json"])
    assert list(found.strays) == ["ndarray-cache.json"]


# --- hostile settings -----------------------------------------------------------------------------
HOSTILE = [
    "../x",
    "/etc/passwd",
    "a/../../x",
    "x\0y",
    "",
    ".",
    "..",
    "\ud800",
    "a//b",
    "https://x/y",
]
READ = [
    *("model_index.json", "modules.json", "router_config.json", "adapter_config.json"),
    *("ndarray-cache.json", "mlc-chat-config.json", "genai_config.json", "config.json"),
    *("checkpoint", ".metadata", "latest", "a-symbol.json", "MLmodel", "meta.yaml", "m.mil"),
    *("Manifest.json", "model.json", "latest_checkpointed_iteration.txt", "metadata.json"),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_leads_elsewhere_is_nothing_that_a_copy_lacks(path: str) -> None:
    look(
        {
            "modules.json": modules((path, "x.Dense")) if path not in ("", ".") else [],
            "genai_config.json": {"model": {"decoder": {"filename": path}}},
            "ndarray-cache.json": {"records": [{"dataPath": path, "nbytes": 10**30}]},
            "checkpoint": f'model_checkpoint_path: "{path}"'.encode("utf-8", "replace"),
            "model_index.json": {"_class_name": "P", path: ["diffusers", "UNet2DModel"]},
            "MLmodel": b"flavors: {onnx: {data: ../x}}",
        }
    )


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not JSON",
        b"[]",
        b"{}",
        b"7",
        b"null",
        b'["x", {"idx": 0, "path": 7, "type": []}]',
        b'{"records": {"a": 1}, "model": [[]], "mapping": {"world_size": "2"}, "flavors": 3}',
        b'{"mapping": {"world_size": -1}, "_class_name": 7, "types": [], "tokenizer_files": {}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
        b"&a [*a, *a]",
    ],
)
def test_settings_that_cannot_be_read_promise_nothing(name: str, data: bytes) -> None:
    read = beside.reader(f"x/{name}")
    assert read is not None
    found = beside.read(f"x/{name}", data, read, Folders(["x/model.bin", f"x/{name}"]))
    assert found == Promised()


def test_many_settings_and_many_names_in_them_cost_little() -> None:
    many = modules(*((f"{number}_Dense", "x.Dense") for number in range(500)))
    model: dict[str, Any] = {f"{number}/modules.json": many for number in range(3)}
    model |= names(*(f"{n}/{m}_Dense/{f}" for n in range(3) for m in range(500) for f in "a"))
    model |= {f"{number}/x/adapter_config.json": b"{}" for number in range(300)}
    with effort(most=3_000_000):
        refused(model)
    with effort(most=3_000_000):
        huge = {"config.json": {"mapping": {"world_size": 2**40}}}
        assert "'rank0.safetensors'" in refused(huge).what


# --- pieces ---------------------------------------------------------------------------------------
PIECES = [
    (["m.safetensors.aa", "m.safetensors.ab"], "m.safetensors"),
    (["m.gguf.part1of2", "m.gguf.part2of2"], "m.gguf"),
    (["m.Q6_K.gguf-part-a", "m.Q6_K.gguf-part-b"], "m.Q6_K.gguf"),
    (["a b.gguf-split-a", "a b.gguf-split-b"], "a b.gguf"),
    (["m.bin.00", "m.bin.01"], "m.bin"),
    (["m.zip.001", "m.zip.002"], "m.zip"),
    (["m.tar.gz.part-aa", "m.tar.gz.part-ab"], "m.tar.gz"),
    (["m.pt.partaa", "m.pt.partab"], "m.pt"),
    (["m.safetensors.1", "m.safetensors.2"], "m.safetensors"),
    (["m.onnx_part_0", "m.onnx_part_1"], "m.onnx"),
    (["M.H5.AA", "M.H5.AB"], "M.H5"),
    ([f"m.gguf.part{number}of12" for number in range(1, 13)], "m.gguf"),
    (["m.safetensors.aa", "m.safetensors.ab", "m.safetensors.index.json"], "m.safetensors"),
]


@pytest.mark.parametrize(("cut", "whole"), PIECES)
def test_rule_38_pieces_are_joined_by_the_command_that_the_message_names(
    tmp_path: Path, cut: list[str], whole: str
) -> None:
    said = refused(names(*(f"x/{name}" for name in cut)), "stand-in")
    assert repr(f"x/{cut[0]}") in said.what
    own = [name for name in cut if not name.endswith(".json")]
    for place, name in enumerate(cut):
        (tmp_path / name).write_bytes(b"%d," % place)
    command = str(said.fix).rpartition(": ")[2]
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / whole).read_bytes() == b"".join(b"%d," % n for n in range(len(own)))


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (["m.gguf.ab"], "m.gguf.aa"),
        (["m.gguf.aa", "m.gguf.ac"], "m.gguf.ab"),
        (["m.bin.00", "m.bin.02"], "m.bin.01"),
        (["m.gguf.part1of3", "m.gguf.part2of3"], "m.gguf.part3of3"),
        (["m.zip.002", "m.zip.001", "m.zip.004"], "m.zip.003"),
    ],
)
def test_a_piece_that_is_missing_is_named_first(there: list[str], missing: str) -> None:
    assert f"get '{missing}' too" in str(refused(names(*there), "stand-in").fix)


def test_rule_38_two_pieces_far_from_one_another_are_no_steps() -> None:
    refused(names("w.pt.000", "w.pt.007"), "stand-in")


def test_pieces_beside_the_whole_file_are_to_be_removed() -> None:
    said = refused(names("m.gguf", "m.gguf.aa", "m.gguf.ab"), "stand-in")
    assert "remove the pieces" in str(said.fix)
    look(names("m.gguf"))


# --- unfinished -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "x.orbax-checkpoint-tmp-1700000000/d/a",
        "100/default.orbax-checkpoint-tmp/_METADATA",
        "checkpoint_500.tmp-1655000000/target",
        "tmp-checkpoint-500/model.safetensors",
        f"m.ckpt_temp_{'0a' * 16}/part-00000-of-00001.index",
        "variables/variables_temp/part-00000-of-00001.data-00000-of-00001",
        "m.ckpt.index.tempstate1234567890123",
        "step-9/.metadata.tmp",
        "step-9-unfinished",
        "data.incomplete/x.bin",
        ".~tmp~/m.bin",
        "m.safetensors_.gstmp",
        f".azDownload-{'0' * 8}-0000-0000-0000-{'0' * 12}-m.bin",
        f"sha256-{'ab' * 32}-partial-0",
        ".m.safetensors.Xk3a9Q",
        "m.safetensors.6eF5b5dA",
        "m.pth0a1b2c3d.part",
    ],
)
def test_rule_38_what_a_tool_did_not_finish_is_refused(name: str) -> None:
    assert unfinished.is_unfinished(name)


@pytest.mark.parametrize(
    "name",
    [
        "orbax-checkpoint-tmp.py",
        "x.orbax-checkpoint/d/a",
        "tmp/m.bin",
        "m.tmp-file/x",
        "m.pt.20240131",
        "m.pt.deadbeef",
        ".m.bin.sha256",
        ".m.bin.backup",
        "model_temp_0.7/m.bin",
        "unfinished/m.bin",
        "metadata.tmp",
        "sha256-partial",
    ],
)
def test_names_that_look_alike_are_finished(name: str) -> None:
    assert not unfinished.is_unfinished(name)


# --- before anything is signed --------------------------------------------------------------------
@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Crossing:
    return make_crossing(tmp_path_factory.mktemp("incomplete") / "project")


@pytest.mark.parametrize(
    ("model", "reason", "told", "helps"),
    [
        ({"adapter_config.json": ADAPTER}, "missing-shard", "adapter_model", "save_pretrained"),
        ({"model_index.json": PIPELINE}, "missing-shard", "feature_extractor", "hf download"),
        ({"__0_0.distcp": b"x"}, "missing-shard", "'.metadata'", "cp -r FOLDER MODEL"),
        ({"w.gguf.ab": b"x", "w.gguf.aa": b"GGUF\3\0\0\0"}, "stand-in", "w.gguf.aa", "cat w.gguf"),
        ({"a.orbax-checkpoint-tmp-1/x": b"x"}, "unfinished-download", "orbax", "save the model"),
        ({"consolidated.01.pth": b"x"}, "missing-shard", "consolidated.00.pth", "other names"),
    ],
)
def test_rule_38_it_is_refused_before_it_is_signed(
    crossing: Crossing, model: Model, reason: str, told: str, helps: str, tmp_path: Path
) -> None:
    for name, content in model.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    place = str(tmp_path / "model")
    said = crossing.json("sign", place, "--key", "keys/home.pem", code=11)["error"]
    assert said["reason"] == reason
    assert told in said["what"]
    assert helps in said["fix"]
    assert not attest.evidence_dir(tmp_path / "model").exists()
