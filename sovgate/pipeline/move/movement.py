"""What push and pull share: places, the clock of steps, and the end of an audited run."""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sovgate import notices, regions
from sovgate.errors import PolicyDenied, SovgateError, VerificationFailed, exit_of
from sovgate.formats.auditentry import PUSH_SHARD, About, Ref
from sovgate.pipeline.places import require_own
from sovgate.pipeline.project import Project

if TYPE_CHECKING:
    from sovgate.config import ZoneConfig
    from sovgate.formats.transfer import Place, Transfer
    from sovgate.pipeline.decide.judge import Judged
    from sovgate.records import Limit, Release
    from sovgate.stages.audit import Run
    from sovgate.stages.transfer import Located

#: Seconds for the last entry of a run that was told to end. A runner kills it after about ten.
PATIENCE = 5.0
#: The step that looks into a model's files for pickles, secrets and code; part of no other step.
LOOK = "look into the files"


#: A test may put another clock in its place.
_seconds = time.monotonic


@dataclass
class Timer:
    """How long each step took, in seconds, in their order; none begins after the deadline."""

    deadline: Limit | None = None
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        if self.deadline is not None:
            self.deadline.begin(name)
        started = _seconds()
        try:
            yield
        finally:
            self.steps.append((name, _seconds() - started))
        if self.deadline is not None:
            self.deadline.end()

    def keep(self) -> None:
        """What the run is for is there: what is left only says so."""
        if self.deadline is not None:
            self.deadline.keep()

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.steps)


def check_call(opened: Project, release: Release, zone: str, to: str) -> None:
    """What can be told from the words alone. Raises ConfigError, UsageError."""
    opened.zone(zone)
    opened.zone(to)
    require_own(opened, release)
    told_moving(release)


def told_moving(release: Release) -> None:
    """A note, where the version is a word that moves elsewhere: before there is such a release."""
    if release.moving is not None:
        notices.note(release.moving)


def place(zone: ZoneConfig, located: Located | None = None) -> Place:
    """A zone for the transfer statement; without `located` it is where it was declared to be."""
    from sovgate.formats.transfer import Place
    from sovgate.records import GRADE

    region = zone.place
    return Place(
        zone=zone.name,
        provider_region=zone.region,
        country=region.country,
        operator=region.operator,
        grade=GRADE["declared"] if located is None else located.grade,
    )


def check_declared(opened: Project, transfer: Transfer) -> None:
    """Of a region of a project's own the record says what this zone's file says, name or no name.

    The catalogue gives country and operator of all others. Raises VerificationFailed.
    """
    for told in (transfer.source, transfer.destination):
        known = opened.zone(told.zone).place
        if known.provider != regions.DECLARED:
            continue
        here, there = (known.country, known.operator), (told.country, told.operator)
        if here != there:
            raise VerificationFailed(
                f"the record of {transfer.release} knows another {known.id}",
                why=f"it is in {there[0]}, run by {there[1]}, says the record; here it is declared "
                f"in {here[0]}, run by {here[1]}",
                fix=f"correct regions.{known.region} in one of the two project files, and push the "
                "model again under a new version",
                reason="wrong-region",
            )


def note(
    run: Run,
    kind: str,
    about: About,
    *,
    exit_code: int | None = None,
    refs: Iterable[tuple[str, str]] = (),
) -> str:
    """Write an audit entry about `about`; `refs` are (role, SHA-256). Returns the head."""
    head = run.write(
        kind,  # type: ignore[arg-type]
        about,
        exit_code=exit_code,
        refs=[Ref(role=role, sha256=sha256) for role, sha256 in refs],
    )
    if kind != "intent":
        # A push stands in its source's log, and what arrives or is rolled out in its own zone's.
        zone = about.source if about.action in ("push", PUSH_SHARD) else about.destination
        notices.run_ended(head, str(zone))
    return head


def refuse(judged: Judged, run: Run, about: About, refs: Iterable[tuple[str, str]]) -> None:
    """Where policy said no: write it down, and raise what it is. Nothing where it is allowed.

    The signed decision goes beside the log, so that why it was can be read later.
    """
    denial = judged.denial
    if denial is None:
        return
    keep_decisions(run, denial)
    head = note(run, "denied", about, exit_code=int(denial.exit_code), refs=refs)
    denial.data = {**denial.data, "audit-head": head}
    raise denial


def keep_decisions(run: Run, denial: SovgateError) -> tuple[tuple[str, str], ...]:
    """The decisions that a denial rests on, beside the log. Returns (role, SHA-256) of each."""
    found = [(hashlib.sha256(data).hexdigest(), data) for data in denial.signed]
    for sha256, data in found:
        keep(run, data, sha256)
    return tuple(("decision", sha256) for sha256, _ in found)


def keep(run: Run, data: bytes, sha256: str) -> None:
    """A document that entries of the run name, where the run's log lies: the zone's own store."""
    from sovgate.formats.transfer import object_name
    from sovgate.stages.transfer import put_document

    put_document(run.store, object_name(sha256), data)


def everything(_error: Exception) -> bool:
    return True


@contextlib.contextmanager
def announced(
    run: Run,
    about: About,
    refs: Iterable[tuple[str, str]],
    *,
    mine: Callable[[Exception], bool] = everything,
    patience: float = PATIENCE,
) -> Iterator[str]:
    """Write the intent, and hand out its head; write down how the run ended if it fails, by a
    defect too, or if a signal ends it. What ended it is what the user hears. Where policy said no
    at the end, its decision is kept as `refuse` keeps the first one. `mine`: whether a denial is
    one of this run, and not of another beside it; `patience`: seconds, for its last entry.

    If even that cannot be written, the log shows an intent without an outcome, as after a kill.
    """
    try:
        yield note(run, "intent", about, refs=refs)
    except Exception as error:
        with contextlib.suppress(Exception):
            # A defect may lie anywhere, after the outcome as well.
            told = run.head is not None or not isinstance(error, SovgateError)
            if told and run.is_open():  # else nothing was announced, or all is said
                _note_end(run, about, error, mine(error))
        raise
    except KeyboardInterrupt as told:
        _last_words(run, about, exit_of(told), patience)
        raise


def _note_end(run: Run, about: About, error: Exception, mine: bool) -> None:
    refs: tuple[tuple[str, str], ...] = ()
    denied = mine and isinstance(error, PolicyDenied)
    if mine and isinstance(error, SovgateError) and error.signed:
        denied = True  # also where a rule gave no answer
        with contextlib.suppress(SovgateError):  # the entry matters more
            refs = keep_decisions(run, error)
    head = note(run, "denied" if denied else "outcome", about, exit_code=exit_of(error), refs=refs)
    if isinstance(error, SovgateError) and denied:
        error.data = {**error.data, "audit-head": head}


def _last_words(run: Run, about: About, code: int, patience: float) -> None:
    """The outcome of a run that a signal ended, if the store takes it soon.

    In a thread: a store that does not answer can then be left behind, and a second signal ends the
    wait. What the thread was writing is then there whole, or not at all.
    """

    def write() -> None:
        with contextlib.suppress(Exception):
            if run.is_open():
                note(run, "outcome", about, exit_code=code)
        done.set()

    done = threading.Event()
    inside = contextvars.copy_context()  # that of --heads
    with contextlib.suppress(KeyboardInterrupt):  # told a second time
        threading.Thread(target=inside.run, args=(write,), daemon=True).start()
        notices.wait_for(done, patience)
