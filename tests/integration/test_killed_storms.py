"""Pushes and pulls that a network fails, and that are killed too, each run from a seed of its own.

Between the command and a real service stands a proxy; the seed says at which request the process
gets SIGKILL. Of a folder, which nobody asks by a network, it says before which step on the disk,
or at which the disk is full. Whatever happened: no wrong byte was accepted, no half release is
visible, no plaintext is left anywhere, nothing of it went over the wire, and a clean run finishes.

`make test` takes a few seeds, `make test-all` more; STORMS=FIRST:AFTER names others.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sovgate.formats import chunk, plan
from sovgate.formats.transfer import chunk_name, object_name
from sovgate.pipeline.move.pull import pull
from sovgate.pipeline.move.push import push
from sovgate.pipeline.project import open_project
from sovgate.records import Options
from sovgate.stages.transfer import chunks_of, fetch_documents, read_record
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from tests import components, servers
from tests.crossing import Crossing, make_crossing, tree
from tests.faultproxy import FaultProxy, What, between
from tests.kill import Done, Killer
from tests.storms import Storm, seeds

pytestmark = pytest.mark.component
#: Begins as no pickle does, so that no process is started that looks for one.
MARK = b"Yes, only this model holds this."
SIZE = 2048
FILES = {
    "card.txt": b"- small",
    "a/w.dat": MARK * 200,
    "b/w.dat": MARK * 130 + b"b",
    "b/twin.dat": MARK * 130 + b"b",
    "small.dat": MARK * 5,
    "empty": b"",
}
#: Small chunks, and parts that are closed on the way.
PATCH = {"sovgate.formats.chunk.SIZE": SIZE, "sovgate.formats.plan.PART_SIZE": 4 * SIZE}
PUSH = ("push", "model", "--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
#: A push has about forty requests or steps, a pull thirty.
REACH = 60
#: And twenty to thirty writes.
WRITES = 30


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of store. `uri`: below which it lies, with {url} in it, where the service is asked.
    `without`: what this server takes unseen, and the real service refuses.
    """

    server: Callable[[], str]
    uri: Callable[[str], str]
    region: str
    without: tuple[What, ...] = ()


KINDS = {
    "s3": Kind(
        server=servers.seaweedfs,
        uri=lambda url: f"s3://{servers.bucket(url)}/{{name}}?endpoint={{url}}",
        region="aws:eu-central-1",
    ),
    "gs": Kind(
        server=servers.fake_gcs,
        uri=lambda url: f"gs://{servers.gcs_bucket(url)}/{{name}}?endpoint={{url}}",
        region="gcp:europe-west3",
        without=(What.FLIP_REQUEST,),  # it compares no CRC32C
    ),
    "az": Kind(
        server=servers.azurite,
        uri=lambda url: (
            f"az://{servers.AZURE_ACCOUNT}/{servers.azure_container(url)}/{{name}}?endpoint={{url}}"
        ),
        region="azure:germanywestcentral",
    ),
    "oci": Kind(
        server=servers.registry,
        uri=lambda _: "oci://{host}/{name}",
        region="aws:eu-central-1",
    ),
}
ORDER = ("s3", "gs", "az", "oci", "file")


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    imports = [
        *("sovgate.cli.move.push", "sovgate.cli.move.pull", "sovgate.cli._emit"),
        *("sovgate.pipeline.move.push", "sovgate.pipeline.move.pull", "sovgate.engines.regorus"),
        *("sovgate.pipeline.decide.check", "sovgate.stages.encrypt", "sovgate.stages.encrypt.kept"),
        *("sovgate.stores.s3", "sovgate.stores.gs", "sovgate.stores.az", "sovgate.stores.oci"),
        *("sovgate.stores.file", "sovgate.keys.file", "sovgate.transport.client", "boto3"),
    ]
    with Killer(imports=imports) as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_crossing(tmp_path_factory.mktemp("made") / "project", FILES).base


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A seed's own project, and its store without the proxy before it."""

    crossing: Crossing
    storm: Storm
    killer: Killer
    env: dict[str, str]
    options: Options
    quiet: Callable[[], Store]
    proxy: FaultProxy | None

    @property
    def pinned(self) -> str:
        return str(self.crossing.release.pinned(self.crossing.manifest))

    def stormy(self, *words: str) -> Done:
        """Through the storm; killed somewhere, or one of its writes fails, or both."""
        storm, luck = self.storm, self.storm.random
        kill = luck.choice([0, luck.randrange(1, REACH), luck.randrange(1, REACH)])
        doom = luck.choice([0, luck.randrange(1, WRITES)]) if kill else luck.randrange(1, WRITES)
        calm, full = luck.random() < 0.4, luck.random() < 0.3
        storm.over = False
        folder = self.proxy is None
        storm.begins(kill=0 if folder else kill, doom=doom, calm=calm)
        process = self.killer.start(
            words,
            cwd=self.crossing.base,
            env=self.env,
            patch=PATCH,
            before=kill if folder else 0,
            fault=errno.ENOSPC if folder and full else None,
        )
        storm.victim(process)
        done = self.killer.finish()
        if self.proxy is not None:
            self.proxy.rest()
            assert self.proxy.leaks == []
        storm.over = True
        assert "Traceback" not in done.err, done.err
        return done

    def plaintext(self, *where: str) -> list[Path]:
        """Files with words of the model, but for the model and what is named."""
        allowed = [self.crossing.model, *(self.crossing.base / name for name in where)]
        return [
            path
            for path in self.crossing.base.parent.rglob("*")
            if not any(path.is_relative_to(one) for one in allowed)
            and path.is_file()
            and MARK in path.read_bytes()
        ]

    def whole_or_absent(self) -> bool:
        """A release is there with all that it names, each with the bytes that its name says."""
        store, trusted = self.quiet(), open_project(self.crossing.base).trusted()
        found = read_record(store, self.crossing.release, trusted)
        if found is None:
            return False
        fetch_documents(store, found.transfer)
        for part in found.transfer.parts:
            assert store.stat(object_name(part.keytable.sha256)) is not None
        for one in chunks_of(store, found.transfer):
            into = memoryview(bytearray(one.size))
            assert store.get_into(chunk_name(one.sha256), into) == one.size
            assert hashlib.sha256(into).hexdigest() == one.sha256
        return True

    def pull(self, name: str) -> None:
        """Without a storm."""
        out = self.crossing.base / name
        release = replace(self.crossing.release, pin=self.crossing.manifest)
        pull(release, zone="eu", output=out, options=self.options)
        assert tree(out) == FILES


@pytest.fixture
def scene(
    seed: int, made: Path, killer: Killer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    monkeypatch.setattr(chunk, "SIZE", SIZE)
    monkeypatch.setattr(plan, "PART_SIZE", PATCH["sovgate.formats.plan.PART_SIZE"])
    (tmp_path / "tmp").mkdir()
    env = {
        **os.environ,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TMPDIR": str(tmp_path / "tmp"),
        "AZURE_STORAGE_KEY": servers.AZURE_KEY,
    }
    monkeypatch.setenv("XDG_STATE_HOME", env["XDG_STATE_HOME"])
    monkeypatch.setenv("AZURE_STORAGE_KEY", servers.AZURE_KEY)
    base = shutil.copytree(made, tmp_path / "project")
    crossing = Crossing(base=base, model=base / "model")
    name = ORDER[seed % len(ORDER)]
    rest = {
        "crossing": crossing,
        "storm": Storm(seed, KINDS[name].without if name in KINDS else ()),
        "killer": killer,
        "env": env,
        "options": Options(project=base),
    }
    if name == "file":
        yield Scene(**rest, quiet=lambda: open_store("eu-store", base), proxy=None)
        return
    kind = KINDS[name]
    url, own = components.found(kind.server), secrets.token_hex(8)
    with between(url) as proxy:
        proxy.secret = MARK

        def at(where: str) -> str:
            host = where.removeprefix("http://")
            return kind.uri(url).format(url=where, host=host, name=own)

        crossing.edit("store: eu-store", f'store: "{at(proxy.url)}"')
        crossing.edit("aws-eusc:eusc-de-east-1", kind.region)
        made_scene = Scene(
            **rest, quiet=lambda: open_store(at(url), base, kind.region), proxy=proxy
        )
        proxy.chooses = made_scene.storm
        yield made_scene


@pytest.mark.parametrize("seed", seeds(75))
def test_whatever_fails_and_whenever_it_is_killed_a_clean_run_finishes(
    seed: int, scene: Scene
) -> None:
    crossing = scene.crossing
    for attempt in range(3):
        done = scene.stormy(*PUSH)
        assert scene.plaintext(*(f"seen-{at}" for at in range(attempt))) == []
        if done.code == 0:
            break
        if scene.whole_or_absent():
            scene.pull(f"seen-{attempt}")
    last = push(
        crossing.model, release=crossing.release, zone="home", to="eu", options=scene.options
    )
    assert last.written.already or done.code != 0
    assert scene.whole_or_absent()
    assert not list((crossing.base.parent / "state").rglob("*.key"))
    seen = [f"seen-{at}" for at in range(3)]

    for _ in range(scene.storm.random.choice([1, 2])):
        done = scene.stormy("pull", scene.pinned, "--zone", "eu", "-o", "out")
        left = scene.plaintext("out", *seen)
        private = [path for path in left if _staged(path)]
        assert left == private
        out = crossing.base / "out"
        assert not out.exists() or tree(out) == FILES
        assert done.code != 0 or out.exists()
    scene.pull("out")
    assert scene.plaintext("out", *seen) == []


def _staged(path: Path) -> bool:
    """In a folder that only its maker reads, which the next run removes (RULES 11)."""
    above = [one for one in path.parents if one.name.endswith(".sovgate-staging")]
    return bool(above) and above[0].stat().st_mode & 0o777 == 0o700
