"""What `doctor` found, line by line: an error that a check raises becomes a line. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sovgate.errors import SovgateError, disk_error

OK, WARN, MISSING, SKIPPED = "ok", "warn", "missing", "skipped"


@dataclass(frozen=True, kw_only=True)
class Check:
    """`status` is ok, warn, missing or skipped; `fix` is there for warn and missing."""

    name: str
    status: str
    detail: str
    fix: str | None = None


class Diagnosis:
    def __init__(self, zone: str | None, offline: bool) -> None:
        self.zone, self.offline = zone, offline
        self.checks: list[Check] = []

    def say(self, name: str, status: str, detail: str, fix: str | None = None) -> None:
        self.checks.append(Check(name=name, status=status, detail=detail, fix=fix))

    def run(self, name: str, work: Callable[[], str | None], *, worst: str = MISSING) -> bool:
        """One line: what `work` found, or the error that it raised with that error's own fix."""
        try:
            found = work()
            if found is not None:
                self.say(name, OK, found)
        except SovgateError as error:
            detail = error.what if error.why is None else f"{error.what} ({error.why})"
            where = f"{error.where}: " if error.where else ""
            self.say(name, worst, where + detail, error.fix or "see docs, and run it again")
            return False
        except ImportError as error:
            self.say(
                name,
                worst,
                f"{error.name or error} cannot be imported",
                "install sovgate again, with the extra that it needs",
            )
            return False
        except Exception as error:  # noqa: BLE001 - what follows is looked at too
            self.say(name, worst, *unforeseen(error))
            return False
        return True

    @contextlib.contextmanager
    def going_on(self, name: str) -> Iterator[None]:
        """Whatever one part throws becomes a line, and the parts after it are looked at too."""
        try:
            yield
        except SovgateError as error:
            self.say(name, MISSING, error.what, error.fix or "see docs, and run it again")
        except Exception as error:  # noqa: BLE001 - as above
            self.say(name, MISSING, *unforeseen(error))


def unforeseen(error: Exception) -> tuple[str, str]:
    """What is said of an error that nobody thought of, and the fix. Its text may hold anything."""
    if isinstance(error, OSError):
        told = disk_error(error, "look at it")
        return (told.what if told.why is None else f"{told.what} ({told.why})"), str(told.fix)
    return (
        f"looking at it failed ({type(error).__name__})",
        "run the command that needs it with -v, and report the traceback as a defect",
    )
