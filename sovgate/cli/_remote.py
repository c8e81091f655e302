"""A model that is named by a URI: sovgate reads folders and files, so the message names the command
that downloads it. Pure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from sovgate.errors import DOCS, UsageError

_URI = re.compile(r"([a-z][a-z0-9+.-]{0,20}):(?://)?(.+)", re.IGNORECASE | re.DOTALL)

#: Scheme -> where such a URI leads, and the command that downloads; `{uri}`, `{rest}`, `{to}`.
_DOWNLOADS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("models", "mlflow", "mlflow-artifacts", "runs"),
        ("MLflow", "mlflow artifacts download --artifact-uri {uri} --dst-path {to}"),
    ),
    **dict.fromkeys(
        ("hf", "huggingface"),
        ("the Hugging Face hub", "hf download {rest} --local-dir {to}"),
    ),
    "s3": ("a bucket", "aws s3 cp --recursive {uri} {to}"),
    "gs": ("a bucket", "gcloud storage cp --recursive {uri} {to}"),
    **dict.fromkeys(
        ("az", "abfs", "abfss", "wasbs"), ("Azure storage", "azcopy copy URL {to} --recursive")
    ),
    "oci": ("an OCI registry", "oras pull {rest} --output {to}"),
    "docker": ("an OCI registry", "oras pull {rest} --output {to}"),
    **dict.fromkeys(
        ("wandb", "wandb-artifact"), ("Weights & Biases", "wandb artifact get {rest} --root {to}")
    ),
    "dvc": ("DVC", "dvc get URL {rest} --out {to}"),
    "git": ("a Git repository", "git clone {uri} {to}"),
    "git+https": ("a Git repository", "git clone {uri} {to}"),
    **dict.fromkeys(
        ("http", "https"),
        ("a web server", "curl --fail --location --create-dirs {uri} --output {to}"),
    ),
    "pvc": ("a Kubernetes volume", ""),
}


def refuse_remote(text: str) -> None:
    """Raises UsageError, reason "remote-model", where `text` is a URI and nothing of that name lies
    here."""
    match = _URI.fullmatch(text)
    if match is None or match[1].lower() not in _DOWNLOADS:
        return
    try:
        if Path(text).exists():
            return
    except (OSError, ValueError):
        pass
    place, command = _DOWNLOADS[match[1].lower()]
    rest = match[2].lstrip("/")
    first = match[1].lower() in ("models", "runs")  # models:/NAME/VERSION
    name = rest.rstrip("/").split("/")[0 if first else -1]
    to = "build/" + (re.sub(r"[^A-Za-z0-9._-]", "-", name)[:60] or "model")
    text = re.sub(r"(?<=://)[^/@\s]*@", "", text)  # a password is not repeated
    rest = re.sub(r"^[^/@\s]*@", "", rest)
    line = command.format(uri=shlex.quote(text[:300]), rest=shlex.quote(rest[:300]), to=to)
    raise UsageError(
        f"{text[:160]!r} is no folder or file of this machine",
        why=f"it leads to {place}, and sovgate reads models from the disk alone",
        fix=f"download it first: {line}; then name {to}"
        if line
        else f"mount it, and name its folder ({DOCS}/downloaded.md)",
        reason="remote-model",
    )
