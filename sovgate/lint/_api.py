"""What a linter rule reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sovgate.errors import MAX_COPIED, SovgateError, Where, bounded

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`rule` is a stable word, kebab-case: an error's `reason`, or a linter rule's own."""

    rule: str
    severity: Severity
    where: Where
    message: str
    fix: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", bounded(self.message))
        object.__setattr__(self, "fix", self.fix and bounded(self.fix, MAX_COPIED))

    @classmethod
    def of(cls, error: SovgateError, fallback: str) -> Finding:
        """An error of a reader as a finding; `fallback` is the file where it names none."""
        message = error.what if error.why is None else f"{error.what} ({error.why})"
        where = error.where or Where(path=fallback)
        return cls(
            rule=error.reason,
            severity="error",
            where=where,
            message=message.removeprefix(f"{where.path}: "),  # which stands before it already
            fix=error.fix,
        )
