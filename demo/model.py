"""The model of the demo: logistic regression, trained, tuned, saved as safetensors, and asked.

scikit-learn ships no KYC data, so its Wisconsin breast cancer data stands for it: 569 real records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load_data() -> Any:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    half = len(data.target) // 2
    return (data.data[: half + 1], data.target[: half + 1]), (
        data.data[half + 1 :],
        data.target[half + 1 :],
    )


def fit(folder: Path, features: Any, target: Any) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    model = LogisticRegression(max_iter=500).fit(scaler.transform(features), target)
    save(
        folder,
        {
            "mean": scaler.mean_,
            "scale": scaler.scale_,
            "weight": model.coef_[0],
            "bias": model.intercept_,
        },
    )


def tune(base: Path, folder: Path, features: Any, target: Any, steps: int) -> None:
    """Gradient descent from the base model's weights, in the base model's scaling."""
    import numpy
    from safetensors.numpy import load_file

    tensors = load_file(base / "model.safetensors")
    scaled = (features - tensors["mean"]) / tensors["scale"]
    weight, bias = tensors["weight"].copy(), tensors["bias"].copy()
    for _ in range(steps):
        error = 1 / (1 + numpy.exp(-(scaled @ weight + bias))) - target
        weight -= 0.05 * (scaled.T @ error / len(target) + 1e-3 * weight)
        bias -= 0.05 * error.mean()
    save(folder, {**tensors, "weight": weight, "bias": bias})


def save(folder: Path, tensors: dict[str, Any]) -> None:
    import numpy
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    save_file(
        {name: numpy.ascontiguousarray(value, dtype="float64") for name, value in tensors.items()},
        folder / "model.safetensors",
    )
    config = {"architecture": "logistic-regression", "features": len(tensors["weight"])}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def predict(folder: Path, features: Any) -> Any:
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    scaled = (features - tensors["mean"]) / tensors["scale"]
    return scaled @ tensors["weight"] + tensors["bias"]


def accuracy(folder: Path, features: Any, target: Any) -> float:
    return float(((predict(folder, features) > 0) == target).mean())
