"""What `doctor` found, line by line: an error that a check raises becomes a line. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sovgate.errors import SovgateError

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
        return True
