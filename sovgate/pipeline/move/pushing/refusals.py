"""Which zone of a push said no, and what is said of it: nothing is sent to any while one refuses.

Of one zone alone an error is raised as it is. Touches nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from sovgate.errors import SovgateError, UsageError

A = TypeVar("A")


class Refusals:
    """The zones of one push, in the order of its words, and the first error that each gave."""

    def __init__(self, zones: Sequence[str]) -> None:
        """Raises UsageError, reasons "no-zone", "zone-twice"."""
        self.zones = tuple(zones)
        if not self.zones:
            raise UsageError("no zone to push to", fix="name one with --to", reason="no-zone")
        if len(set(self.zones)) != len(self.zones):
            raise UsageError("a zone is named twice", fix="name each once", reason="zone-twice")
        self._said: dict[str, SovgateError] = {}
        self._lock = threading.Lock()
        #: Zones that have the release: what comes later takes back none of them.
        self._there: set[str] = set()

    @property
    def several(self) -> bool:
        return len(self.zones) > 1

    @contextlib.contextmanager
    def by(self, zone: str) -> Iterator[None]:
        """What is raised within is that zone's word, and not that of the others."""
        try:
            yield
        except SovgateError as error:
            with self._lock:
                self._said.setdefault(zone, error)
            raise

    def ask(self, questions: Mapping[str, Callable[[], A]]) -> dict[str, A]:
        """Ask of each zone, and hand back the answers of those that did not refuse.

        Raises what was refused, where nobody is left to ask more.
        """
        found: dict[str, A] = {}
        for zone, question in questions.items():
            with contextlib.suppress(SovgateError), self.by(zone):
                found[zone] = question()
        if not found:
            self.require_none()
        return found

    def require_none(self) -> None:
        """Raise what was refused: the first of the zones in their order, with what the others said.

        Its exit code is that of the push.
        """
        said = [(zone, self._said[zone]) for zone in self.zones if zone in self._said]
        if not said:
            return
        (first, error), *others = said
        if self.several:
            error.details = (
                *error.details,
                *(line for zone, other in others for line in _told(zone, other)),
                f"nothing was sent to {_listed('zone', self.zones)}, "
                f"since {_listed('zone', [zone for zone, _ in said])} refused",
            )
            refused = [_data(zone, one) for zone, one in said]
            error.data = {**error.data, "zone": first, "refused": refused}
        raise error

    def words(self, zone: str, error: BaseException) -> tuple[BaseException, ...]:
        """What of an error that ended the push concerns a zone: its own word, and nobody's."""
        own = self._said.get(zone)
        nobodys = all(error is not one for one in self._said.values())
        return (*((own,) if own is not None else ()), *((error,) if nobodys else ()))

    def is_word(self, zone: str, error: BaseException) -> bool:
        """Whether that zone said it, and not what all have in common."""
        return self._said.get(zone) is error

    def concerns(self, zone: str, error: BaseException) -> bool:
        return any(error is one for one in self.words(zone, error))

    def arrived(self, zone: str) -> bool:
        """The zone has the release. Whether all have it now."""
        self._there.add(zone)
        return self._there == set(self.zones)

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Of an end after the intents: which zone said so, and which zones have the release."""
        try:
            yield
        except SovgateError as error:
            if self.several:
                whose = [zone for zone in self.zones if self._said.get(zone) is error]
                told = f"this is about zone {whose[0]}; " if whose else ""
                error.details = (*error.details, f"{told}{self._where()}")
                there = [zone for zone in self.zones if zone in self._there]
                error.data = {"zone": next(iter(whose), None), **error.data, "there": there}
            raise
        except KeyboardInterrupt as told:
            if self.several:
                told.add_note(self._where())
            raise

    def _where(self) -> str:
        there = [zone for zone in self.zones if zone in self._there]
        left = [zone for zone in self.zones if zone not in self._there]
        if not there:
            return "no zone has the release yet"
        said = f"{_listed('zone', there)} {'has' if len(there) == 1 else 'have'} the release"
        return f"{said}; a further run brings it to {_listed('zone', left)}" if left else said


def _told(zone: str, error: SovgateError) -> Iterator[str]:
    yield f"zone {zone}: {error.what}"
    for word, text in (("why", error.why), ("fix", error.fix)):
        if text:
            yield f"  {word}  {text}"
    yield from (f"  {line}" for line in error.details)


def _data(zone: str, error: SovgateError) -> dict[str, object]:
    told = {
        "zone": zone,
        "exit": int(error.exit_code),
        "reason": error.reason,
        "what": error.what,
        "why": error.why,
        "fix": error.fix,
    }
    return told | dict(error.data)


def _listed(what: str, names: Sequence[str]) -> str:
    """ "zone eu", "zones eu and ch", "zones eu, ch and us"."""
    if len(names) == 1:
        return f"{what} {names[0]}"
    return f"{what}s {', '.join(names[:-1])} and {names[-1]}"
