"""A key in sovgate.yaml with its settings beside it: one text from here on, errors with a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate import config
from sovgate.errors import ConfigError

_FILE = """\
version: 1
model: m
zones:
  eu:
    region: aws:eu-central-1
    keys:
      sign:
{sign}
"""


def read(*lines: str) -> str | None:
    text = _FILE.format(sign="\n".join(f"        {line}" for line in lines))
    return config.parse(text.encode(), Path("sovgate.yaml")).zones["eu"].keys.sign


def test_a_mapping_is_the_uri_with_options() -> None:
    written = read("account: '111122223333'", "key: awskms:///alias/x", "region: aws:eu-central-1")
    assert written == "awskms:///alias/x?region=aws:eu-central-1&account=111122223333"
    assert read("key: keys/a.pem") == "keys/a.pem"
    both = read("key: awskms:///alias/x?profile=eu", "account: '111122223333'")
    assert both == "awskms:///alias/x?profile=eu&account=111122223333"


@pytest.mark.parametrize(
    ("lines", "line", "told"),
    [
        (["region: aws:eu-central-1"], 7, "lacks the key 'key'"),
        (["key: awskms:///alias/x", "acount: '1'"], 9, "has no key 'acount'"),
        (["key: awskms:///alias/x", "account: '1'"], 9, "twelve digits"),
        (["key: awskms:///alias/x", "account: 111122223333"], 9, "must be text"),
        (["key: keys/a.pem", "account: '111122223333'"], 9, "has no key 'account'"),
        (["key: awskms:///alias/x?account=1", "account: '111122223333'"], 9, "and beside it"),
        (["key: s3://a:b@c", "account: '111122223333'"], 8, "carries credentials"),
        (["key: awskms:///alias/" + "x" * 2000, "profile: " + "y" * 60], 7, "is longer than"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(lines: list[str], line: int, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*lines)
    assert told in caught.value.what
    assert caught.value.where is not None
    assert caught.value.where.line == line
