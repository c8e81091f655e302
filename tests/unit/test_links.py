"""Links that are followed, and those that are not (RULES 40)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate import links
from sovgate.errors import VerificationFailed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As Kubernetes mounts a Secret."""
    made = tmp_path / "mounted"
    (made / "..day").mkdir(parents=True)
    (made / "..day" / "key.pem").write_bytes(b"key")
    (made / "..data").symlink_to("..day")
    (made / "key.pem").symlink_to("..data/key.pem")
    return made


@pytest.fixture
def handle(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def content(handle: int, name: str) -> bytes:
    descriptor = links.open_beneath(handle, name)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def test_rule_40_links_beneath_a_folder_are_followed(handle: int) -> None:
    assert content(handle, "key.pem") == b"key"


@pytest.mark.parametrize(
    "target", ["../secret", "..day/../../secret", "{base}/secret", "a", "..day"]
)
def test_rule_40_links_that_lead_elsewhere_are_not(handle: int, folder: Path, target: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / "a").symlink_to("a")
    (folder / "out").symlink_to(target.format(base=folder.parent))
    with pytest.raises(VerificationFailed) as raised:
        content(handle, "out")
    assert raised.value.reason == "unsafe-link"


@pytest.mark.parametrize("path", [".", "..day"])
def test_rule_40_a_folder_on_the_way_that_others_can_write_to(
    handle: int, folder: Path, path: str
) -> None:
    (folder / path).chmod(0o777)
    with pytest.raises(VerificationFailed, match="not followed"):
        content(handle, "key.pem")
    (folder / path).chmod(0o1777)  # as the root of a tmpfs: only owners rename
    assert content(handle, "key.pem") == b"key"


@pytest.mark.parametrize("strange", ["..data", "key.pem", "..day", "..day/key.pem", "."])
def test_rule_40_what_belongs_to_another_user_is_not_followed(
    handle: int, folder: Path, monkeypatch: pytest.MonkeyPatch, strange: str
) -> None:
    inode = os.lstat(folder / strange).st_ino
    monkeypatch.setattr(links, "is_ours", lambda state, *_: state.st_ino != inode)
    with pytest.raises(VerificationFailed) as raised:
        content(handle, "key.pem")
    assert raised.value.reason == "unsafe-link"


def test_what_is_no_link_is_opened_whoever_owns_it(
    handle: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "plain").write_bytes(b"plain")
    monkeypatch.setattr(links, "is_ours", lambda *_: False)
    assert content(handle, "plain") == b"plain"
