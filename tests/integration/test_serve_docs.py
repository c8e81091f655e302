"""docs/serve.md: its files build, are promoted to, and its init container fetches the model."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats.yaml12 import load
from tests.crossing import FILES, make_crossing, tree
from tests.repositories import Repository

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
#: The page's own files, by their place in the repository.
PAGES_FILES: dict[str, str] = dict(
    re.findall(r"^`([\w./-]+)`[^\n]*:\n\n```yaml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
)


def objects(repository: Repository, kubectl: Path) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [str(kubectl), "kustomize", str(repository.work / "overlays" / "eu")],
        capture_output=True,
        check=True,
    )
    found = [
        load(part.encode(), "r").value
        for part in re.split(r"^---$", done.stdout.decode(), flags=re.MULTILINE)
    ]
    return {item["kind"]: item for item in found}


def mounted(volume: dict[str, Any], maps: dict[str, dict[str, bytes]], folder: Path) -> None:
    """A projected volume as Kubernetes mounts it: links to a folder whose name begins with dots."""
    data = folder / "..2026_11_01"
    for source in volume["projected"]["sources"]:
        (kind,) = source
        for item in source[kind]["items"]:
            path = data / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(maps[kind][item["key"]])
            path.chmod(0o440)
    (folder / "..data").symlink_to(data.name)
    for entry in data.iterdir():
        (folder / entry.name).symlink_to(f"..data/{entry.name}")


def test_the_page_serves_what_is_promoted(
    tmp_path: Path, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(PAGES_FILES) == [
        "base/deployment.yaml",
        "base/kustomization.yaml",
        "overlays/eu/kustomization.yaml",
        "overlays/eu/sovgate.yaml",
    ]
    (tmp_path / "project").mkdir()
    crossing = make_crossing(tmp_path / "project")
    keys = crossing.base / "keys"
    repository = Repository(tmp_path)
    public = (keys / "home.pub.pem").read_bytes()
    store = str(crossing.base / "eu-store")
    files: dict[str, str | bytes] = {
        name: text.replace("s3://churn-eu", f"file:{store}") for name, text in PAGES_FILES.items()
    }
    repository.person_pushes({**files, "overlays/eu/home.pub.pem": public})
    (line,) = re.findall(r"^    gitops: .*$", PAGE, re.MULTILINE)
    crossing.edit("datasets:\n", line.replace("…", str(repository.path)) + "\ndatasets:\n")
    found = crossing.push()
    crossing.pull()
    release = f"churn/1.0.0@sha256:{found['manifest']}"
    made = crossing.json("promote", release, "--zone", "eu")
    assert made["unchecked"] == []

    built = objects(repository, kubectl)
    pod = built["Deployment"]["spec"]["template"]["spec"]
    (fetch,), (server,) = pod["initContainers"], pod["containers"]
    env = {e["name"]: e["value"] for e in fetch["env"]}
    assert env == {e["name"]: e["value"] for e in server["env"]}
    assert env["MODEL_RELEASE"] == release
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    maps = {
        "configMap": {k: v.encode() for k, v in built["ConfigMap"]["data"].items()},
        "secret": {name: (keys / name).read_bytes() for name in ("eu.pem", "eu-enc.pem")},
    }
    (source, _) = volumes["project"]["projected"]["sources"]
    assert source["configMap"]["name"] == built["ConfigMap"]["metadata"]["name"]

    root = tmp_path / "pod"
    for mount in fetch["volumeMounts"]:
        (root / mount["mountPath"].strip("/")).mkdir(parents=True)
    mounted(volumes["project"], maps, root / "sovgate")
    assert (root / "sovgate" / env["MODEL_KEY_URI"].removeprefix("file:")).is_file()
    words = [re.sub(r"\$\((\w+)\)", lambda m: env[m[1]], word) for word in fetch["command"]]
    words = [f"{root}{word}" if word.startswith("/") else word for word in words]
    assert words.pop(0) == "sovgate"
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    code, text = crossing.run(*words)
    assert code == 0, text
    (_, path) = server["args"]
    assert tree(Path(f"{root}{path}")) == FILES
    shutil.rmtree(root / "model")
