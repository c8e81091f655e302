"""Reads a JUnit XML report: how many tests ran, failed, were skipped. Hostile input.

Opens that file alone. Expat with own handlers: no document type, so no entities, local or remote;
bounded in size, depth and number of elements, none of which is kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from sovgate.errors import Malformed
from sovgate.files import read_bounded
from sovgate.formats.testresult import MAX_NAMED, MAX_TEST_NAME
from sovgate.gates._api import Tests

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32
MAX_ELEMENTS = 2_000_000
#: Before the sorted digests of the names of all tests that ran.
_TESTS = b"sovgate.tests/v0\n"

_ROOTS = ("testsuites", "testsuite")
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def read(path: Path) -> Tests:
    """Raises UsageError (missing), DiskError, VerificationFailed "limits", Malformed."""
    return parse(read_bounded(path, most=MAX_BYTES, what="test report"))


def parse(data: bytes) -> Tests:
    from xml.parsers import expat

    counter = _Counter()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = counter.doctype
    parser.EntityDeclHandler = counter.doctype
    parser.ExternalEntityRefHandler = counter.doctype
    parser.StartElementHandler = counter.start
    parser.EndElementHandler = counter.end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        _refuse(f"not XML: {expat.ErrorString(error.code)}, line {error.lineno}")
    except (LookupError, ValueError) as error:  # an encoding that nobody knows
        _refuse(f"not XML: {str(error)[:80]}")
    return counter.finish(hashlib.sha256(data).hexdigest())


def _refuse(why: str) -> NoReturn:
    raise Malformed(
        "the test report cannot be used",
        why=why,
        fix="let the test runner write JUnit XML, e.g. pytest --junit-xml=report.xml",
        reason="bad-report",
    )


class _Counter:
    """Counts test cases. What fails outside of one (a suite that did not load) fails too."""

    def __init__(self) -> None:
        self.depth = self.elements = self.cases = self.failures = self.skips = self.loose = 0
        self.said = 0
        self.case: str | None = None
        self.case_depth = 0
        self.state = ""
        self.failed: list[str] = []
        self.names: list[bytes] = []

    def doctype(self, *_: object) -> NoReturn:
        _refuse("it declares a document type or entities, which reports do not need")

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self.depth:  # a failure is one in whatever namespace
            name = name.rpartition(" ")[2]
        self.depth += 1
        self.elements += 1
        if self.depth > MAX_DEPTH or self.elements > MAX_ELEMENTS:
            _refuse(f"nested deeper than {MAX_DEPTH}, or more than {MAX_ELEMENTS} elements")
        if self.depth == 1 and name not in _ROOTS:
            _refuse(f"its root is {name[:40]!r}, not testsuites")
        if name in _ROOTS:
            for key in ("failures", "errors"):
                value = attributes.get(key, "0").strip() or "0"
                if not _COUNT.fullmatch(value):
                    _refuse(f"{key} is {value[:20]!r}")
                self.said = max(self.said, int(value))
        elif name == "testcase":
            if self.case is not None:
                _refuse("a test case is inside another")
            parts = (attributes.get("classname", ""), attributes.get("name", ""))
            self.case = "::".join(part for part in parts if part) or "?"
            self.case_depth, self.state = self.depth, ""
            self.cases += 1
        elif name in ("failure", "error"):
            if self.case is None:
                self.loose += 1
            else:
                self.state = "failed"
        elif name == "skipped" and not self.state:
            self.state = "skipped"

    def end(self, _: str) -> None:
        if self.case is not None and self.depth == self.case_depth:
            if self.state == "failed":
                self.failures += 1
                if len(self.failed) < MAX_NAMED:
                    self.failed.append(_UNSEEN.sub("?", self.case)[:MAX_TEST_NAME])
            elif self.state == "skipped":
                self.skips += 1
            if self.state != "skipped":  # a test that was skipped is none that was run
                self.names.append(hashlib.sha256(self.case.encode("utf-8", "replace")).digest())
            self.case = None
        self.depth -= 1

    def finish(self, sha256: str) -> Tests:
        failures = self.failures + self.loose
        if not failures and self.said:
            _refuse(f"a suite counts {self.said} failures, and no test case shows one")
        return Tests(
            ran=self.cases - self.skips,
            failures=failures,
            skips=self.skips,
            failed=tuple(self.failed),
            names=hashlib.sha256(_TESTS + b"".join(sorted(self.names))).hexdigest(),
            sha256=sha256,
        )
