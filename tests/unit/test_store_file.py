"""The folder store against its own hostile world: links, disks, permissions, killed runs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sovgate.errors import ConfigError, StoreError, VerificationFailed
from sovgate.stores import registry
from sovgate.stores.file import FileStore
from tests.conformance.stores import put

BLOB = "blobs/sha256/" + "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.mark.parametrize("text", ["file:eu", "eu", "file://eu", "./eu"])
def test_relative_stores_start_from_the_project(tmp_path: Path, text: str) -> None:
    assert registry.open_store(text, tmp_path).uri == f"file://{tmp_path}/eu"


def test_absolute_stores_stay_where_they_are(tmp_path: Path) -> None:
    assert registry.open_store("file:///srv/eu", tmp_path).uri == "file:///srv/eu"
    assert registry.open_store("/srv/eu", tmp_path).uri == "file:///srv/eu"


def test_an_unknown_scheme_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.open_store("ftp://eu", tmp_path)
    assert caught.value.reason == "unknown-scheme"
    assert "file:" in (caught.value.why or "")


def test_a_folder_has_nobody_to_ask_where_it_lies(store: FileStore) -> None:
    assert store.location() is None


def test_opening_and_reading_make_nothing(store: FileStore, tmp_path: Path) -> None:
    assert store.stat(BLOB) is None
    assert list(store.list("audit/")) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("planted", ["blobs", "blobs/sha256", BLOB])
def test_rule_4_a_planted_link_is_never_followed(
    store: FileStore, tmp_path: Path, planted: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "sha256").mkdir()
    for folder in (outside, outside / "sha256"):
        (folder / ("a" * 64)).write_bytes(b"secret")
    root = tmp_path / "store"
    link = root / planted
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / "sha256" / ("a" * 64) if planted == BLOB else outside)
    before = sorted(str(path) for path in outside.rglob("*"))
    for attempt in (
        lambda: store.get(BLOB, most=100),
        lambda: store.open(BLOB),
        lambda: store.stat(BLOB),
        lambda: list(store.list("blobs/")),
    ):
        with pytest.raises(VerificationFailed) as caught:
            attempt()
        assert caught.value.reason == "not-regular"
    with pytest.raises((VerificationFailed, StoreError)):
        put(store, BLOB, b"mine")
    assert sorted(str(path) for path in outside.rglob("*")) == before
    assert all(path.read_bytes() == b"secret" for path in outside.rglob("a*") if path.is_file())


@pytest.mark.parametrize("name", [".DS_Store", "a b.json", "Übersicht"])
def test_what_a_file_browser_left_is_named_with_the_fix(
    store: FileStore, tmp_path: Path, name: str
) -> None:
    (tmp_path / "store/audit").mkdir(parents=True)
    (tmp_path / "store/audit" / name).write_bytes(b"")
    with pytest.raises(VerificationFailed) as caught:
        list(store.list("audit/"))
    assert f"audit/{name}" in caught.value.what
    assert "remove it" in str(caught.value.fix)


def test_a_pipe_in_place_of_an_object_does_not_hang(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "store" / "releases").mkdir(parents=True)
    os.mkfifo(tmp_path / "store" / "releases" / "m.json")
    with pytest.raises(VerificationFailed):
        store.get("releases/m.json", most=100)


def test_a_store_path_that_is_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        put(FileStore(tmp_path / "store"), BLOB, b"x")
    assert caught.value.fix


def test_what_killed_runs_left_is_swept_and_live_writes_are_not(
    store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming = tmp_path / "store" / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / ("0" * 32)).write_bytes(b"half a blob")
    put(store, BLOB, b"x")
    assert list(incoming.iterdir()) == []

    real, nested = os.write, list[int]()

    def writing(descriptor: int, data: memoryview) -> int:
        """Writes another object while this one is being written."""
        if not nested:
            nested.append(1)
            put(store, "releases/inner.json", b"inner")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", writing)
    put(store, "releases/outer.json", b"outer")
    assert store.get("releases/outer.json", most=5) == b"outer"
    assert store.get("releases/inner.json", most=5) == b"inner"


def test_rule_13_a_file_system_without_hard_links_is_refused(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_args: object, **_options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert caught.value.reason == "not-create-only"


def test_rule_13_a_file_system_that_overwrites_is_refused(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.link, []

    def overwriting(*args: object, **options: object) -> None:
        calls.append(args)
        if len(calls) == 1:
            real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", overwriting)
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert caught.value.reason == "not-create-only"


def _in_a_process(body: str, *arguments: str) -> str:
    """Runs `body` where limits and users can be changed; prints "<exit code> <reason>"."""
    script = textwrap.dedent("""
        import os, sys, hashlib, resource, signal
        from pathlib import Path
        from sovgate.errors import SovgateError
        from sovgate.stores.file import FileStore
        def put(root, name, data):
            digest = hashlib.sha256(data).hexdigest()
            FileStore(Path(root)).put(name, data, sha256=digest)
        try:
    """) + textwrap.indent(textwrap.dedent(body), "    ")
    script += "\nexcept SovgateError as error:\n    print(int(error.exit_code), error.reason)\n"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _objects(root: Path) -> list[str]:
    return [str(path) for path in root.rglob("*") if path.is_file()]


def test_a_full_disk_is_24_and_leaves_nothing(tmp_path: Path) -> None:
    said = _in_a_process(
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        put(sys.argv[1], "blobs/x", bytes(5000))
        """,
        str(tmp_path / "store"),
    )
    assert said == "24 efbig"
    assert _objects(tmp_path) == []


def test_a_really_full_disk_is_24_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("may not mount a tmpfs here")
    try:
        said = _in_a_process('put(sys.argv[1], "blobs/x", bytes(1000000))', str(disk / "store"))
        assert said == "24 enospc"
        assert _objects(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_store_that_may_not_be_written_is_24(tmp_path: Path) -> None:
    root = tmp_path / "store"
    put(FileStore(root), "blobs/x", b"x")
    for folder in (root, root / "blobs", root / ".incoming"):
        folder.chmod(0o555)
    for above in [tmp_path, *tmp_path.parents][:3]:
        above.chmod(0o755)
    said = _in_a_process(
        """
        if os.getuid() == 0:
            os.setgid(65534); os.setuid(65534)
        put(sys.argv[1], "blobs/y", b"y")
        """,
        str(root),
    )
    for folder in (root, root / "blobs", root / ".incoming"):
        folder.chmod(0o755)
    assert said == "24 eacces"
    assert FileStore(root).stat("blobs/y") is None
