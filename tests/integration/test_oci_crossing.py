"""A model across a border through a registry, by the commands; what copies of it are good for."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.formats import ociimage
from sovgate.pipeline.look.keys import generate
from sovgate.stores.oci.referrers import BUNDLE
from sovgate.stores.registry import open_store
from tests import components, servers
from tests.crossing import FILES, Crossing, make_crossing, tree
from tests.ociregistry import Heard, Registry, Repo, Rule, Said, serving


def through(tmp: Path, host: str, options: str = "", name: str = "") -> tuple[Crossing, str]:
    """A project whose store is a new repository there; that repository's name."""
    crossing = make_crossing(tmp / "project")
    repository = name or f"models/{secrets.token_hex(8)}"
    crossing.edit("store: eu-store", f'store: "oci://{host}/{repository}{options}"')
    return crossing, repository


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving(Registry()) as made:
        yield made


@pytest.fixture(scope="module")
def real() -> str:
    return components.found(servers.registry).removeprefix("http://")


def pinned(pushed: dict[str, Any], release: str = "churn/1.0.0") -> str:
    return f"{release}@sha256:{pushed['manifest']}"


def test_a_model_crosses_through_a_registry(tmp_path: Path, real: str) -> None:
    crossing, _ = through(tmp_path, real)
    pushed = crossing.push()
    pulled = crossing.pull(release=pinned(pushed))
    assert tree(crossing.base / "pulled") == tree(crossing.model) == FILES
    assert pulled["record"] == pushed["record"]
    assert crossing.push()["already"] is True
    code, said = crossing.run("audit", "verify", "--zone", "eu", "--against", pulled["audit-head"])
    assert code == 0, said


def test_where_tags_move_a_pull_needs_its_pin(tmp_path: Path, registry: Registry) -> None:
    crossing, name = through(tmp_path, registry.host)
    pushed = crossing.push()
    said = crossing.pull(code=2)
    assert said["error"]["reason"] == "needs-pin"
    assert not (crossing.base / "pulled").exists()
    assert "sha256:" in said["error"]["fix"]
    # Whoever can write there has the tag name another model, that the source signed as well.
    tags = registry.repos[name].tags
    for moved in ("churn-V1.0.0", "_sequencesXchurnX000000000001.json"):
        del tags[moved]
    (crossing.model / "config.json").write_bytes(b'{"layers": 3}')
    crossing.sign()
    other = crossing.push()
    assert other["manifest"] != pushed["manifest"]
    assert crossing.pull(release=pinned(pushed), code=11)["error"]["reason"] == "wrong-manifest"
    assert crossing.pull(release=pinned(other))["record"] == other["record"]


def test_a_release_that_was_moved_under_the_next_one_is_found(
    tmp_path: Path, registry: Registry
) -> None:
    crossing, name = through(tmp_path, registry.host)
    crossing.push()
    later = crossing.push(release="churn/2.0.0")
    tags = registry.repos[name].tags
    tags["churn-V1.0.0"] = tags["churn-V2.0.0"]
    said = crossing.pull(release=pinned(later, "churn/2.0.0"), code=11)
    assert said["error"]["reason"] == "wrong-release"


def test_where_tags_do_not_move_no_pin_is_needed(tmp_path: Path) -> None:
    with serving(Registry(immutable=True, referrers=True)) as there:
        crossing, _ = through(tmp_path, there.host, "?tags=immutable")
        pushed = crossing.push()
        assert crossing.pull()["record"] == pushed["record"]
        # A second model under the name is refused, and the old bytes stay.
        (crossing.model / "config.json").write_bytes(b'{"layers": 3}')
        crossing.sign()
        assert crossing.push(code=21)["error"]["reason"] == "release-differs"


def test_rule_13_tags_that_are_said_not_to_move_are_tried(
    tmp_path: Path, registry: Registry
) -> None:
    crossing, name = through(tmp_path, registry.host, "?tags=immutable")
    said = crossing.push(code=21)
    assert said["error"]["reason"] == "not-create-only"
    assert set(registry.repos[name].tags) == {"_probe"}


def test_a_name_that_no_tag_can_say_is_refused_before_the_first_byte(
    tmp_path: Path, registry: Registry
) -> None:
    crossing, _ = through(tmp_path, registry.host)
    said = crossing.push(release=f"churn/{'v' * 128}", code=21)
    assert said["error"]["reason"] == "limits"
    assert "128" in said["error"]["why"]
    assert registry.heard == []


@pytest.mark.parametrize("reuse", [False, True], ids=["anew", "reused"])
def test_a_release_is_what_copies_take_along(
    tmp_path: Path, registry: Registry, reuse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index and what it reaches is all that `skopeo copy --all` takes, and that a collection of
    garbage leaves: nothing else is needed to pull, though a release came before it, whose chunks
    it may use again."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    crossing, name = through(tmp_path, registry.host)
    if reuse:
        generate("encrypt", out=crossing.base / "keys/own.pem", algorithm="ec-p256")
        crossing.edit("{sign: keys/home.pem}", "{sign: keys/home.pem, encrypt: keys/own.pem}")
        uri = f'"oci://{registry.host}/{name}"'
        crossing.edit(f"store: {uri}", f"store: {{uri: {uri}, reuse: true}}")
    crossing.push()
    pushed = crossing.push(release="churn/1.1.0")
    assert [one["chunks"] for one in pushed["reused"]] == ([1] if reuse else [])
    from_, to = registry.repos[name], registry.repos.setdefault("mirror/churn", Repo())
    digest = from_.tags["churn-V1.1.0"]
    to.tags["churn-V1.1.0"] = digest
    for reached in (digest, *(one["digest"] for one in manifests(from_, digest))):
        to.manifests[reached] = from_.manifests[reached]
        value = json.loads(from_.manifests[reached][1])
        for blob in [value["config"], *value["layers"]] if "layers" in value else []:
            assert set(blob) == {"mediaType", "digest", "size"}
            to.blobs[blob["digest"]] = from_.blobs[blob["digest"]]
    crossing.edit(f"/{name}", "/mirror/churn")
    pulled = crossing.pull(release=pinned(pushed, "churn/1.1.0"))
    assert pulled["record"] == pushed["record"]
    assert tree(crossing.base / "pulled") == FILES


def test_documents_of_a_release_are_written_at_once(tmp_path: Path, registry: Registry) -> None:
    """Each of the two waits in the registry until the other is there, too."""
    crossing, _ = through(tmp_path, registry.host)
    both, waited = threading.Barrier(2), []

    def meet(heard: Heard) -> None:
        if heard.method == "PUT" and "/manifests/_objectsX" in heard.target and len(waited) < 2:
            waited.append(heard)
            registry._lock.release()
            try:
                both.wait(20)
            finally:
                registry._lock.acquire()

    registry.rules.append(meet)
    crossing.push()
    assert len(waited) == 2


def manifests(repo: Repo, digest: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(repo.manifests[digest][1])["manifests"]
    return rows


def test_no_manifest_calls_ciphertext_weights(tmp_path: Path, registry: Registry) -> None:
    crossing, name = through(tmp_path, registry.host)
    crossing.push()
    repo = registry.repos[name]
    found = [json.loads(data) for _, data in repo.manifests.values()]
    kinds = {one["artifactType"] for one in found if "layers" in one}
    assert kinds == {ociimage.RELEASE, ociimage.CHUNKS, ociimage.DOCUMENT, BUNDLE}
    types = {layer["mediaType"] for one in found for layer in one.get("layers", ())}
    assert types == {ociimage.CHUNK_LAYER, ociimage.OBJECT_LAYER, BUNDLE}


@pytest.mark.parametrize("interface", [False, True])
def test_evidence_is_where_other_tools_look_for_it(
    tmp_path: Path, registry: Registry, interface: bool
) -> None:
    """A row of the list, or of the registry's own, for each statement; a pull needs none."""
    registry.referrers = interface
    crossing, name = through(tmp_path, registry.host)
    crossing.push()
    repo = registry.repos[name]
    release = repo.tags["churn-V1.0.0"]
    about = [json.loads(data) for _, data in repo.manifests.values() if b'"subject"' in data]
    assert {one["subject"]["digest"] for one in about} == {release}
    found = [repo.blobs[one["layers"][0]["digest"]] for one in about]
    types = {json.loads(data)["mediaType"] for data in found}
    assert types == {BUNDLE}
    listed = repo.tags.get(f"sha256-{release.removeprefix('sha256:')}")
    assert (listed is None) is interface
    if listed is not None:
        rows = manifests(repo, listed)
        assert {row["artifactType"] for row in rows} == {BUNDLE}
        assert len(rows) == len(about) >= 2
    assert list(open_store(f"oci://{registry.host}/{name}", tmp_path).list("evidence/")) == []


def test_skopeo_copies_a_release_and_it_verifies(tmp_path: Path, real: str) -> None:
    crossing, name = through(tmp_path, real)
    pushed = crossing.push()
    skopeo = components.found(components.program, "skopeo", get="scripts/peer skopeo")
    folder = components.PEERS / "skopeo"
    libraries = [folder / place / "x86_64-linux-gnu" for place in ("lib", "usr/lib")]
    copied = f"{name}-copy"
    subprocess.run(
        [
            *(skopeo, "--insecure-policy", "copy", "--all", "--quiet"),
            *("--src-tls-verify=false", "--dest-tls-verify=false"),
            f"docker://{real}/{name}:churn-V1.0.0",
            f"docker://{real}/{copied}:churn-V1.0.0",
        ],
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        },
    )
    digests = {_digest(real, each, "churn-V1.0.0") for each in (name, copied)}
    assert len(digests) == 1  # byte for byte, so that what names it is true of the copy
    crossing.edit(f"/{name}", f"/{copied}")
    pulled = crossing.pull(release=pinned(pushed))
    assert pulled["record"] == pushed["record"]
    assert tree(crossing.base / "pulled") == FILES


#: What a person writes who copies with the Python client of oras: its command has no copy.
ORAS = """
import sys
from oras.layout import NewLayoutFromRegistry
from oras.provider import Registry
folder, source, target, tag = sys.argv[1:]
registry = Registry(insecure=True, tls_verify=False)
layout = NewLayoutFromRegistry(folder, registry, f"{source}:{tag}", tag)
layout.push_to_registry(registry, f"{target}:{tag}", tag)
"""


def oras(folder: Path, source: str, target: str, tag: str) -> None:
    python = components.found(components.peer, "oras") / "bin" / "python"
    subprocess.run(
        [python, "-I", "-c", ORAS, folder, source, target, tag],
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder.parent)},
    )


def test_oras_copies_a_release_and_it_verifies(tmp_path: Path, real: str) -> None:
    """The index and what it reaches; and by its tag the list of what is about it, which a registry
    without the referrers interface has."""
    crossing, name = through(tmp_path, real)
    pushed = crossing.push()
    pulled = crossing.pull(release=pinned(pushed))
    copied, tag = f"{name}-oras", "churn-V1.0.0"
    oras(tmp_path / "release", f"{real}/{name}", f"{real}/{copied}", tag)
    digests = {_digest(real, each, tag) for each in (name, copied)}
    assert len(digests) == 1
    store = open_store(f"oci://{real}/{copied}", tmp_path)
    assert list(store.list("receipts/churn/1.0.0/")) == []
    about = digests.pop().replace(":", "-")
    oras(tmp_path / "about", f"{real}/{name}", f"{real}/{copied}", about)
    assert _digest(real, name, about) == _digest(real, copied, about)
    original = open_store(f"oci://{real}/{name}", tmp_path)
    (receipt,) = store.list("receipts/churn/1.0.0/")
    assert store.get(receipt, most=1 << 20) == original.get(receipt, most=1 << 20)
    crossing.edit(f"/{name}", f"/{copied}")
    shutil.rmtree(crossing.base / "pulled")
    again = crossing.pull(release=pinned(pushed))
    assert again["record"] == pulled["record"] == pushed["record"]
    assert tree(crossing.base / "pulled") == FILES


def _digest(host: str, repository: str, tag: str) -> str:
    url = f"http://{host}/v2/{repository}/manifests/{tag}"
    asked = urllib.request.Request(url, headers={"Accept": ociimage.INDEX})
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 (loopback)
        return str(answer.headers["Docker-Content-Digest"])


def test_an_upload_that_is_sent_elsewhere_is_12_and_says_so(
    tmp_path: Path, registry: Registry
) -> None:
    crossing, _ = through(tmp_path, registry.host)
    for rule in (
        _answer("POST", Said(status=202, headers={"Location": "http://other.example/up"})),
        _answer("PUT", Said(status=307, headers={"Location": "http://other.example/up"})),
    ):
        registry.rules[:] = [rule]
        said = crossing.push(code=12)
        assert said["error"]["reason"] == "redirected"


def _answer(method: str, said: Said) -> Rule:
    return lambda heard: said if heard.method == method else None
