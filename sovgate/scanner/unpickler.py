"""The real unpicklers of this Python, which are refused everything: what would they do?

Runs in the child. Both Python's own and the one in C, since they differ, each as loaders call
them; the worst of all answers counts (docs/rules.md, rule 34). Standard library alone.
"""

from __future__ import annotations

import copyreg
import itertools
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

from sovgate.scanner.streams import Stream, TooMuchError

#: A line is no longer than that; a longer argument is passed over, and given as nothing.
MAX_TAKEN = 64 * 1024 * 1024
#: So many pickles in a row are looked through: torch.save of old writes five.
MAX_PICKLES = 1000
#: So many unknown codes of extensions may one file use.
MAX_CODES = 64
#: Shorter than that, plain data of no marked protocol may be an accident.
CHANCE = 16

#: From bad to worse.
NOTHING, PLAIN, ASKS, CALLS, DOUBT = range(5)


class Outcome:
    """How far it got. `asked` names classes ("os.system") and what else it asked for."""

    def __init__(self) -> None:
        self.rank = NOTHING
        self.asked: list[str] = []
        self.modules: list[str] = []


class _Asked(BaseException):
    """It asked for a class or a persistent id. No BaseException is swallowed on the way up."""


class _Used(BaseException):
    """It did something with what it had asked for."""


class _Meta(type):
    """Whatever is done with a class that was asked for: that is code of the file's author."""

    def _refuse(cls, *_: object, **__: object) -> NoReturn:
        raise _Used

    def __getattribute__(cls, name: str) -> NoReturn:
        # Messages of errors want a function's name. Nothing else does, and those run nothing.
        raise AttributeError(name) if name in ("__qualname__", "__module__") else _Used

    __call__ = __setattr__ = __delattr__ = _refuse
    __hash__ = __eq__ = __iter__ = __len__ = __bool__ = __repr__ = _refuse
    __getitem__ = __setitem__ = __delitem__ = __contains__ = _refuse
    __instancecheck__ = __subclasscheck__ = __index__ = __int__ = __buffer__ = _refuse


class _Stub(metaclass=_Meta):
    """What a refused class is to an unpickler: a class that nothing can be done with."""

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        raise _Used


class _TruncatedError(Exception):
    """The file ends inside an argument: nothing that comes after can be reached."""


class _TooLongError(Exception):
    """An argument is too long for the unpickler in C, which wants it whole: ask the other one."""


class _Reader:
    """A stream as unpicklers read one. It remembers where it stands, and what it gave last."""

    def __init__(self, stream: Stream, at: int, *, whole: bool) -> None:
        self.stream, self.at, self.last, self.whole = stream, at, b"", whole

    def read(self, count: int) -> bytes:
        size = self.stream.size
        if size is not None and count > size - self.at:
            if self.at == size:
                return b""
            raise _TruncatedError
        if count > MAX_TAKEN:
            if self.whole:
                raise _TooLongError
            self.at += count
            return b""
        data = self.stream.read(self.at, count)
        self.at += len(data)
        self.last = data
        return data

    def readline(self) -> bytes:
        parts: list[bytes] = []
        taken, step = 0, 256
        while True:
            data = self.stream.read(self.at, step)
            end = data.find(b"\n") + 1
            part = data[:end] if end else data
            parts.append(part)
            self.at += len(part)
            taken += len(part)
            if end or not data:
                return b"".join(parts)
            if taken > MAX_TAKEN:
                raise TooMuchError
            step = min(step * 4, 1 << 20)

    def excuse(self) -> bool:
        """Whether there was no memory for a reason that decides nothing.

        What was read last is a number: for the unpickler in C, a length or a place in its memo,
        which the other one does without; else a length that reaches beyond the end.
        """
        if len(self.last) not in (4, 8):
            return False
        size = self.stream.size
        number = int.from_bytes(self.last, "little")
        return self.whole or (size is not None and number > size - self.at)


def _refusals(outcome: Outcome, refuse: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def find_class(_self: object, module: str, name: str) -> object:
        if "\0" in module or not module:  # nothing can be called so, and importing it fails
            raise ImportError(module)
        if len(outcome.asked) < MAX_CODES:
            outcome.asked.append(f"{module}.{name}")
            outcome.modules.append(module)
        if refuse:
            raise _Asked
        return _Stub

    def persistent_load(_self: object, pid: object) -> object:
        # A tuple is what torch.save writes. Any other text or number is the beginning of many
        # files, and runs nothing by itself: it counts if what comes for it is used.
        if refuse and type(pid) is tuple and pid:
            outcome.asked.append("a persistent id")
            raise _Asked
        return _Stub

    return find_class, persistent_load


def _load(
    implementation: str, encoding: str, reader: _Reader, outcome: Outcome, refuse: bool
) -> None:
    """One pickle, by one unpickler. Raises what stops it."""
    find_class, persistent_load = _refusals(outcome, refuse)
    body: dict[str, Any] = {"find_class": find_class, "persistent_load": persistent_load}
    base: Any = pickle.Unpickler
    if implementation != "C":
        base = pickle._Unpickler
        lenient = {pickle.PROTO[0]: _any_protocol, pickle.FRAME[0]: _no_frame}
        body["dispatch"] = {**base.dispatch, **lenient}
    made = type("Unpickler", (base,), body)
    # Out-of-band buffers: some loader gives them, so none is missing here.
    made(reader, encoding=encoding, buffers=itertools.repeat(b"")).load()


def _any_protocol(unpickler: Any) -> None:
    """A protocol that this Python does not know: a later one may, so it goes on."""
    unpickler.proto = unpickler.read(1)[0]


def _no_frame(unpickler: Any) -> None:
    """Frames say what to read ahead, and nothing else."""
    unpickler.read(8)


def _run(implementation: str, encoding: str, stream: Stream, refuse: bool) -> Outcome:
    """Pickles one after the other from the beginning, until one is refused."""
    outcome, at = Outcome(), 0
    for _ in range(MAX_PICKLES):
        reader = _Reader(stream, at, whole=implementation == "C")
        try:
            _retried(implementation, encoding, reader, outcome, refuse)
        except _Asked:
            outcome.rank = ASKS
        except _Used:
            outcome.rank = CALLS
        except MemoryError:
            if not reader.excuse():
                outcome.rank = DOUBT
        except (TooMuchError, RecursionError):
            outcome.rank = DOUBT
        except Exception:  # noqa: BLE001 - whatever a refusal looks like
            return outcome
        else:
            marked, at = stream.read(at, 1) == pickle.PROTO, reader.at
            if not refuse and outcome.asked:
                outcome.rank = CALLS  # it gave out an object of a class that the file names
                return outcome
            more = stream.read(at, 1)
            if marked or at >= CHANCE or not more:
                outcome.rank = max(outcome.rank, PLAIN)
            if more:
                continue
        return outcome
    outcome.rank = DOUBT
    return outcome


def _retried(
    implementation: str, encoding: str, reader: _Reader, outcome: Outcome, refuse: bool
) -> None:
    """A code of an extension may be known to whoever loads it: then it is a class here too."""
    start = reader.at
    for _ in range(MAX_CODES):
        reader.at = start
        try:
            return _load(implementation, encoding, reader, outcome, refuse)
        except ValueError as error:
            text = str(error)
            if not text.startswith("unregistered extension code "):
                raise
            copyreg._extension_cache[int(text.rpartition(" ")[2])] = _Stub  # type: ignore[attr-defined]
    raise TooMuchError


#: As loaders call them: text of Python 2 is read as ASCII (a part of Latin-1), Latin-1 or bytes.
_WAYS = [(one, encoding) for one in ("C", "Python") for encoding in ("latin1", "bytes")]


def unpickle(stream: Stream, *, refuse: bool = True) -> Outcome:
    """What the worst of them would do. With `refuse`, nothing goes on once something is asked for.

    Without it, it goes on with what nothing can be done with: rank CALLS where it would be used.
    """
    worst = Outcome()
    for implementation, encoding in _WAYS:
        outcome = _run(implementation, encoding, stream, refuse)
        if outcome.rank > worst.rank:
            outcome.asked = outcome.asked or worst.asked
            worst = outcome
        elif len(outcome.asked) > len(worst.asked):
            worst.asked, worst.modules = outcome.asked, outcome.modules
        if worst.rank >= (ASKS if refuse else CALLS):
            break
    return worst
