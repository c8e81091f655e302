"""Endings of the files that hold weights. No I/O."""

from __future__ import annotations

#: Endings of files that hold weights: text in one of them, or a link, is in their place.
WEIGHTS = frozenset(
    {
        "safetensors",
        "gguf",
        "ggml",
        "onnx",
        "pt",
        "pth",
        "ckpt",
        "bin",
        "h5",
        "hdf5",
        "keras",
        "tflite",
        "mlmodel",
        "npz",
        "npy",
        "pb",
        "msgpack",
        "joblib",
        "pkl",
        "pickle",
        "model",
        "spm",
        "ot",
        "params",
        "pdparams",
        "pdiparams",
        "engine",
        "plan",
        "tar",
        "gz",
        "zip",
        "zst",
        "parquet",
        "arrow",
    }
)
