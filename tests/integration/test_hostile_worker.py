"""The process that holds a PKCS#11 module answers with anything: a module is native code, and has
its descriptors. What it says is an error of ours, or a signature that verifies.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate.errors import SovgateError
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys.pkcs11 import process
from tests import components, tokens
from tests.effort import examples
from tests.tokens import PIN, Token

CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
#: The real worker, whose answer number N is another one, or other bytes.
_LIAR = """
import json, sys
lie = json.load(open({lie!r}))
source = open({real!r}).read().replace('if __name__ == "__main__":', "if True:")
count = 0
def answer(channel, told):
    global count
    count, number = count + 1, count
    with open({told!r}, "a") as log:
        log.write(json.dumps(told) + "\\n")
    if number == lie.get("at"):
        if "bytes" in lie:
            channel.sendall(bytes.fromhex(lie["bytes"]))
            return
        told = lie["told"]
    body = json.dumps(told).encode()
    channel.sendall(len(body).to_bytes(4, "big") + body)
code = compile(source.replace("def _answer(", "def _unused("), "worker", "exec")
exec(code, globals() | {{"_answer": answer}})
"""


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    made = components.found(tokens.softhsm, tmp_path_factory.mktemp("token"))
    made.make({"label": "sign", "kind": "ec-p256", "id": "01"})
    return made


class Liar:
    def __init__(self, folder: Path) -> None:
        self._lie, self._told = folder / "lie", folder / "told"
        real = str(Path(process.__file__).with_name("worker.py"))
        (folder / "worker.py").write_text(
            _LIAR.format(lie=str(self._lie), told=str(self._told), real=real)
        )
        self.lies()

    def lies(self, **lie: Any) -> None:
        self._lie.write_text(json.dumps(lie))
        self._told.unlink(missing_ok=True)

    @property
    def told(self) -> list[Any]:
        return [json.loads(line) for line in self._told.read_text().splitlines()]


@pytest.fixture
def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    monkeypatch.setenv("SOVGATE_PIN", PIN)
    made = Liar(tmp_path)
    monkeypatch.setattr(process, "__file__", str(tmp_path / "process.py"))
    yield made


def _use(token: Token, base: Path) -> None:
    """Signs, and opens what was wrapped."""
    from sovgate.keys.pkcs11 import token as opened

    opened._OPEN.clear()
    opened._WRONG.clear()
    uri = token.uri("sign")
    signer = registry.open_signer(uri, base)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    wrapped = registry.open_recipient(uri, base).wrap(bytes(32), CONTEXT)
    assert registry.open_identity(uri, base).unwrap(wrapped, CONTEXT) == bytes(32)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, (dict, list)):
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(one, (*path, name))


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.deepcopy(value)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    if new is _GONE:
        inner.pop(path[-1])
    else:
        inner[path[-1]] = new
    return changed


_GONE = object()
_VALUES = (
    _GONE,
    None,
    True,
    7,
    -1,
    2**70,
    "",
    "x",
    "0" * 63,
    "ff" * 40_000,
    [],
    [[]],
    {},
    {"a": 1},
)


def test_no_answer_of_the_process_is_a_defect_of_ours(
    token: Token, liar: Liar, tmp_path: Path
) -> None:
    base = tmp_path / "project"
    base.mkdir()
    _use(token, base)
    true = liar.told
    assert len(true) > 6
    every = [
        (at, path, value)
        for at, told in enumerate(true)
        for path in _places(told)
        for value in _VALUES
        if path or value is not _GONE
    ]
    drawn = random.Random(11)
    for at, path, value in drawn.sample(every, min(examples(10), len(every))):
        liar.lies(at=at, told=_with(true[at], path, value))
        try:
            _use(token, base)
        except SovgateError as error:
            assert int(error.exit_code) in (3, 11, 20), (at, path, value)
            assert PIN not in f"{error} {error.why} {error.fix}"


@pytest.mark.parametrize(
    "data",
    [
        "00000000",
        "ffffffff",
        "00000001",
        "00000004" + "6e756c6c",
        "0000000f" + b'{"a":1,"a":[2]}'.hex(),
        (200_000).to_bytes(4, "big").hex() + "5b" * 200_000,
    ],
    ids=lambda data: data[:20],
)
def test_bytes_that_are_no_answer_end_it(
    token: Token, liar: Liar, tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TIMEOUT", 1.0)
    monkeypatch.setattr(process, "_ENDS", 0.1)
    base = tmp_path / "project"
    base.mkdir()
    for at in (0, 5):
        liar.lies(at=at, bytes=data)
        with pytest.raises(SovgateError) as caught:
            _use(token, base)
        assert caught.value.reason in ("no-answer", "timed-out", "bad-answer"), at
        assert int(caught.value.exit_code) == 20
