"""Reads requirements/*.txt, and tells what a lock lacks for pip to need no resolver.

Looks at files, and at the metadata of packages that are installed; starts nothing.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
#: Locks that hold the dependencies of sovgate itself, not those of a group alone.
WITH_OURS = frozenset({"base", "demo", "test"})


def pins(text: str) -> dict[str, list[str]]:
    """Each `name==version; marker` of a lock's text, with the hashes below it."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        word = line.strip().removesuffix("\\").strip()
        if not word or word.startswith("#"):
            continue
        if word.startswith("--hash=sha256:"):
            found[list(found)[-1]].append(word.removeprefix("--hash=sha256:"))
        else:
            found[word] = []
    return found


def asked(lock: str) -> list[Requirement]:
    """What pyproject.toml asks of a lock, by the lock's name."""
    wanted = [] if lock == "base" else _group(lock)
    if lock in WITH_OURS:
        wanted += [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    return wanted


def _group(name: str) -> list[Requirement]:
    found: list[Requirement] = []
    for entry in PROJECT["dependency-groups"][name]:
        if isinstance(entry, dict):
            found += _group(entry["include-group"])
        else:
            found.append(Requirement(entry))
    return found


#: A machine, as markers ask for it.
Machine = Mapping[str, str]


def machines(least: tuple[int, int] = (3, 11)) -> Iterator[Machine]:
    """This machine, and its like with each Python that we run on, and a Mac."""
    here = _here()
    yield here
    for minor in range(least[1], 15):
        version = f"{least[0]}.{minor}"
        python = {"python_version": version, "python_full_version": f"{version}.0"}
        yield here | python
        yield (
            here
            | python
            | {
                "sys_platform": "darwin",
                "platform_system": "Darwin",
                "platform_machine": "arm64",
            }
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Package:
    """What an installed package says of itself, read once."""

    version: str
    requires: tuple[Requirement, ...]

    @classmethod
    def of(cls, found: Distribution) -> Package:
        said = found.metadata
        texts = said.get_all("Requires-Dist") or []
        return cls(version=said["Version"], requires=tuple(map(Requirement, texts)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Installed:
    """An environment that was made from a lock: the packages in its folders."""

    packages: Mapping[str, Package]

    @classmethod
    def at(cls, folders: Sequence[str | Path]) -> Installed:
        found = distributions(path=[str(folder) for folder in folders])
        return cls(packages={canonicalize_name(one.name): Package.of(one) for one in found})


def lacks(
    lock: Sequence[str], wanted: Sequence[Requirement], installed: Installed, machine: Machine
) -> list[str]:
    """What is not in the lock and is required on that machine, by us or by a package in the lock.

    Requirements are followed with their extras, by what the installed packages say of themselves.
    A package that only other machines want is not installed here, so its own are not known.
    """
    held = {}
    for pin in map(Requirement, lock):
        if pin.marker is None or pin.marker.evaluate(dict(machine)):
            held[canonicalize_name(pin.name)] = pin
    missing = []
    open_ = [("pyproject.toml", requirement) for requirement in wanted]
    done: set[tuple[str, str]] = set()
    while open_:
        by, requirement = open_.pop()
        name = canonicalize_name(requirement.name)
        pin = held.get(name)
        version = str(pin.specifier).removeprefix("==") if pin else ""
        if pin is None or not requirement.specifier.contains(version, prereleases=True):
            missing.append(f"{by} requires {requirement}, the lock has {pin or 'none'}")
            continue
        found = installed.packages.get(name)
        if found is None or found.version != version:
            if machine == _here():
                version = found.version if found else "none"
                missing.append(f"{pin} is locked, and installed is {version}")
            continue
        for extra in ("", *requirement.extras):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            open_ += [(pin.name, one) for one in _requires(found, extra, machine)]
    return sorted(set(missing))


def _here() -> dict[str, str]:
    return {name: str(value) for name, value in default_environment().items()}


def _requires(package: Package, extra: str, machine: Machine) -> Iterator[Requirement]:
    for requirement in package.requires:
        environment: dict[str, Any] = {**machine, "extra": extra}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement
