"""Warnings about what is unsafe reach whoever listens, and the one before him again afterwards."""

from __future__ import annotations

import pytest

from sovgate import notices


def test_a_listener_hears_each_text_once_and_only_while_he_listens() -> None:
    heard: list[str] = []
    with notices.listening(heard.append):
        notices.unsafe("a")
        notices.unsafe("a")
        notices.unsafe("b")
    assert heard == ["a", "b"]
    with pytest.warns(notices.UnsafeWarning, match="c"):
        notices.unsafe("c")
    assert heard == ["a", "b"]


def test_a_command_that_fails_leaves_no_listener_behind() -> None:
    with pytest.raises(OSError, match="x"), notices.listening(print):
        raise OSError("x")
    with pytest.warns(notices.UnsafeWarning):
        notices.unsafe("again")
