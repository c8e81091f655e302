"""Commitments: any change shows, nothing else does, and no two data sets share one."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import ConfigError, SovgateError, UsageError
from sovgate.formats import commitment
from sovgate.stages.commit import commit

KEY = bytes(range(32))


def tree_by_the_book(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    left, right = tree_by_the_book(leaves[:k]), tree_by_the_book(leaves[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70))
def test_the_tree_has_the_shape_of_rfc_6962(leaves: list[bytes]) -> None:
    assert commitment.root(leaves) == tree_by_the_book(leaves)


def test_the_vector(tmp_path: Path) -> None:
    """Made by hand from the words of docs/formats.md, with hmac and hashlib alone."""
    (tmp_path / "b").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")

    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, "sha256").digest()

    r = mac(KEY, (6).to_bytes(8, "big") + b"kyc-eu" + (7).to_bytes(8, "big") + b"2026-10")
    leaves = [
        hashlib.sha256(
            b"\x00"
            + mac(r, b"leaf" + n.to_bytes(8, "big") + (1).to_bytes(8, "big") + path)
            + mac(r, data)
        ).digest()
        for n, (path, data) in enumerate([(b"a", b"one"), (b"b", b"two")])
    ]
    expected = mac(r, hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()).hex()
    made = commit(tmp_path, key=KEY, dataset="kyc-eu", epoch="2026-10")
    assert made.value == expected
    assert (made.files, made.bytes) == (2, 6)


def data(folder: Path) -> Path:
    root = folder / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a.csv").write_bytes(b"1,2\n")
    (root / "sub" / "é.csv").write_bytes(b"3,4\n")
    return root


@pytest.mark.parametrize("change", ["byte", "name", "added", "removed", "moved", "swapped"])
def test_any_change_shows(tmp_path: Path, change: str) -> None:
    root = data(tmp_path)
    before = commit(root, key=KEY, dataset="d", epoch="1").value
    if change == "byte":
        (root / "a.csv").write_bytes(b"1,3\n")
    elif change == "name":
        (root / "a.csv").rename(root / "b.csv")
    elif change == "added":
        (root / "empty").write_bytes(b"")
    elif change == "removed":
        (root / "a.csv").unlink()
    elif change == "moved":
        (root / "a.csv").rename(root / "sub" / "a.csv")
    else:
        (root / "a.csv").write_bytes(b"3,4\n")
        (root / "sub" / "é.csv").write_bytes(b"1,2\n")
    assert commit(root, key=KEY, dataset="d", epoch="1").value != before


def test_times_and_modes_do_not_show(tmp_path: Path) -> None:
    root = data(tmp_path)
    before = commit(root, key=KEY, dataset="d", epoch="1").value
    os.utime(root / "a.csv", (0, 0))
    (root / "a.csv").chmod(0o600)
    assert commit(root, key=KEY, dataset="d", epoch="1").value == before


def test_the_same_data_elsewhere_cannot_be_told(tmp_path: Path) -> None:
    """Another key, data set or epoch gives another value, so outsiders cannot compare."""
    root = data(tmp_path)
    values = {
        commit(root, key=key, dataset=name, epoch=epoch).value
        for key in (KEY, bytes(32))
        for name, epoch in (("d", "1"), ("d1", ""), ("", "d1"), ("e", "1"), ("d", "2"))
    }
    assert len(values) == 10


def test_bad_keys_and_empty_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        commitment.salt(b"short", "d", "1")
    with pytest.raises(UsageError):
        commit(tmp_path, key=KEY, dataset="d", epoch="1")
    with pytest.raises(UsageError):
        commit(tmp_path / "none", key=KEY, dataset="d", epoch="1")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(SovgateError):
        commit(tmp_path, key=KEY, dataset="d", epoch="1")
