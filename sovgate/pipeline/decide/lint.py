"""lint: every file that people write, read and judged; no network, no extras, nothing changed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sovgate import config as configuration
from sovgate import uri
from sovgate.config import FILE_NAME, ProjectConfig
from sovgate.errors import ConfigError, SovgateError, UsageError, Where, disk_error
from sovgate.files import read_bounded
from sovgate.formats import dataset
from sovgate.git.ignored import work_tree
from sovgate.lint import datasets, project
from sovgate.lint._api import Finding
from sovgate.lint.not_built import refuse_files
from sovgate.pipeline.decide.declared_gates import misdeclared
from sovgate.pipeline.decide.projects import project_of, projects_in, unique
from sovgate.pipeline.named_keys import doubtful, misused
from sovgate.pipeline.own_roles import told_by_files
from sovgate.pipeline.project import Project

MAX_FILES = 20_000
_SUFFIXES = (".yaml", ".yml", ".rego")
_SKIP = frozenset({".git", ".sovgate", "node_modules", ".venv", "__pycache__"})


def lint(paths: Sequence[Path], folder: Path | None) -> tuple[list[Finding], list[str]]:
    """Findings, and the files that were read, in order.

    Without paths: each project here, above and below, with the manifests and rules that it names,
    or the one in `folder` alone. A file that is named brings the project that it belongs to. Raises
    UsageError where a path is not there or is another system's pipeline, or nothing is there to
    read.
    """
    named = [path for path in paths if not path.is_dir()]
    refuse_files(named)
    run = _Run()
    if folder is not None and not paths:
        run.project(configuration.find(folder))
    elif not paths:
        for project_file in unique([*_here_or_above(), *projects_in(Path.cwd())]):
            run.project(project_file)
        if not run.read:
            run.project(configuration.find(None))  # which says that there is none
    for path in paths:
        run.path(path)
    for owner in unique(one for one in map(project_of, named) if one is not None):
        run.project(owner)
    run.neighbours()
    if not run.read:
        refuse_files([file for path in paths if path.is_dir() for file in _files(path)])
    if not run.read and not (named and all(path.suffix in _SUFFIXES for path in paths)):
        raise UsageError(
            "there is nothing to lint: no sovgate.yaml, data set manifest or policy was found",
            fix="name one of them, or a folder that holds them",
            reason="nothing-to-do",
        )
    run.findings.sort(key=lambda f: (f.where.path, f.where.line or 0, f.where.column or 0, f.rule))
    return run.findings, run.read


def _here_or_above() -> list[Path]:
    owner = project_of(Path.cwd())
    return [] if owner is None else [owner]


def _files(path: Path) -> Iterator[Path]:
    """The file named, or what lies below the folder named; links are not followed."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise disk_error(error, f"read {str(path)!r}") from error
    if not stat.S_ISDIR(mode):
        yield path
        return
    count = 0
    folders = [path]
    while folders:
        folder = folders.pop()
        for item in sorted(folder.iterdir()):
            if item.is_symlink():
                continue
            if item.is_dir():
                if item.name not in _SKIP:
                    folders.append(item)
            elif item.suffix in _SUFFIXES and item.is_file():
                count += 1
                if count > MAX_FILES:
                    raise UsageError(f"more than {MAX_FILES} files", fix="name a smaller folder")
                yield item


class _Run:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.read: list[str] = []
        self.seen: set[str] = set()
        self.folders: set[str] = set()
        self.configs: list[ProjectConfig] = []

    def _first(self, path: Path) -> bool:
        key = os.path.realpath(path)  # Path.resolve raises where links go round
        new = key not in self.seen
        self.seen.add(key)
        return new

    def path(self, path: Path) -> None:
        """A file, or all below a folder; the rules of one folder are judged together."""
        rules: dict[Path, list[Path]] = {}
        projects = 0
        for file in _files(path):
            if file.name == FILE_NAME:
                projects += 1  # its own folder of rules is judged with it; this is not that one
                self.project(file)
            elif file.suffix == ".rego":
                rules.setdefault(file.parent, []).append(file)
            elif _is_manifest(file):
                self.manifest(file, None)
        for some in rules.values():
            self.policies(some)
        if path in rules and not projects:
            self.folder(path)

    def folder(self, path: Path, config: ProjectConfig | None = None) -> None:
        """What shows only where all of a project's rules are read together."""
        from sovgate.pipeline.decide.policies import lint_folder

        key = os.path.realpath(path)
        if key not in self.folders:
            self.folders.add(key)
            told = {(finding.rule, finding.message) for finding in self.findings}
            more = lint_folder(path, config)
            self.findings += [one for one in more if (one.rule, one.message) not in told]

    def project(self, path: Path) -> None:
        if not self._first(path):
            return
        self.read.append(str(path))
        try:
            config = configuration.read(path)
        except SovgateError as error:
            self.findings.append(Finding.of(_at(error, path), str(path)))
            return
        self.configs.append(config)
        for rule in (*project.RULES, _openable):
            self.findings += [_in(path, finding) for finding in rule(config)]
        refusals = (
            *misdeclared(config),
            *_refused_later(config),
            *_shared_stores(config),
            *misused(config),
        )
        self.findings += [Finding.of(_at(refusal, path), str(path)) for refusal in refusals]
        for doubt in doubtful(config):
            finding = Finding.of(_at(doubt, path), str(path))
            self.findings.append(replace(finding, severity="warning"))
        owner = Project(config, above=True)
        for zone in config.zones:
            for stops, told in told_by_files(owner, zone):
                finding = Finding.of(_at(told, path), str(path))
                self.findings.append(finding if stops else replace(finding, severity="warning"))
        for name, manifest in project.manifests(config):
            self.manifest(manifest, (config, name))
        self.presets(config)
        if config.policy.rules is not None:
            rules = path.parent / config.policy.rules
            if os.path.isdir(rules):  # noqa: PTH112 (Path's raises where a name is too long)
                self.policies(sorted(rules.rglob("*.rego")))
                self.folder(rules, config)
            elif os.path.isfile(rules):  # noqa: PTH113 (the same)
                self.policies([rules])
                self.folder(rules, config)

    def neighbours(self) -> None:
        """What shows only where the projects of a repository are read together."""
        known: dict[Path | None, list[ProjectConfig]] = {None: []}
        for config in self.configs:
            if not project.overlays_of(config):
                continue
            root = work_tree(config.path.parent)
            if root not in known:
                known[root] = list(_read_all(projects_in(root) if root is not None else ()))
            for other in known[root]:
                if os.path.realpath(other.path) != os.path.realpath(config.path):
                    found = project.one_overlay_for_two_projects(config, other)
                    self.findings += [_in(config.path, finding) for finding in found]

    def presets(self, config: ProjectConfig) -> None:
        from sovgate.pipeline.decide.policies import check_presets

        try:
            check_presets(config.policy.presets)
        except ConfigError as error:
            error.where = _join(config.path, config.where("policy.presets"))
            self.findings.append(Finding.of(error, str(config.path)))

    def manifest(self, path: Path, declared: tuple[ProjectConfig, str] | None) -> None:
        first = self._first(path)
        try:
            data = read_bounded(path, most=dataset.MAX_BYTES, what="dataset manifest")
        except SovgateError as error:
            if declared is not None:
                config, name = declared
                place = _join(config.path, config.where(f"datasets.{name}.manifest"))
                error = ConfigError(
                    error.what,
                    fix="check the path; it starts at the folder of sovgate.yaml",
                    where=place,
                    reason="missing-file",
                )
            self.findings.append(Finding.of(error, str(path)))
            return
        if not first:
            return
        self.read.append(str(path))
        try:
            read = dataset.parse(data, str(path))
        except SovgateError as error:
            self.findings.append(Finding.of(error, str(path)))
            return
        ref = declared[0].datasets[declared[1]] if declared else None
        self.findings += datasets.check(read, Where(path=str(path), line=1), ref)

    def policies(self, paths: Sequence[Path]) -> None:
        from sovgate.pipeline.decide.policies import lint_rules

        new = [path for path in paths if self._first(path)]
        self.read += [str(path) for path in new]
        self.findings += lint_rules(new)


def _read_all(paths: Iterable[Path]) -> Iterator[ProjectConfig]:
    """The projects that read. What is wrong with the others is said where they are linted."""
    for path in paths:
        with contextlib.suppress(SovgateError):
            yield configuration.parse(configuration.content(path), path)


def _openable(config: ProjectConfig) -> Iterator[Finding]:
    """A key or store that no adapter of this version opens, whatever its scheme is called."""
    from sovgate.keys.registry import SCHEMES as KEYS
    from sovgate.stores.registry import SCHEMES as STORES

    return project.scheme_without_adapter(config, {"key": KEYS, "store": STORES})


def _refused_later(config: ProjectConfig) -> Iterator[SovgateError]:
    """What the adapters say of the project's URIs, without a network and without an SDK."""
    from sovgate.keys.registry import check
    from sovgate.stores.registry import SCHEMES, open_store

    named: list[tuple[str, str | None, str | None]] = []
    for name, zone in config.zones.items():
        at, keys, region = f"zones.{name}", zone.keys, zone.region
        named += [
            (f"{at}.keys.sign", keys.sign, region),
            (f"{at}.keys.sign-public", keys.sign_public, region),
            (f"{at}.keys.encrypt", keys.encrypt, region),
            (f"{at}.keys.encrypt-public", keys.encrypt_public, region),
            (f"{at}.store", zone.store, region),
        ]
    for index, entry in enumerate(config.trust or ()):
        place = config.zones[entry.zone].region if entry.zone is not None else None
        named.append((f"trust.{index}.key", entry.key, place))
    for dotted, text, where in named:
        if text is None or uri.is_placeholder(text):  # `lint.project` warns of it
            continue
        try:
            if not dotted.endswith(".store"):
                check(text, config.path.parent, where)
            elif uri.parse(text, what="store").scheme in SCHEMES:
                open_store(text, config.path.parent, where)
        except SovgateError as refusal:
            refusal.where = config.where(dotted)
            yield refusal


def _shared_stores(config: ProjectConfig) -> Iterator[SovgateError]:
    """Two zones that models go to, and one store: a release has one record there (RULES 8)."""
    from sovgate.stores.registry import open_store, place_of

    found: dict[tuple[str, str], str] = {}
    for name in project.receivers(config):
        zone = config.zones[name]
        if zone.store is None:
            continue
        try:
            store = open_store(zone.store, config.path.parent, zone.region)
        except SovgateError:  # said by others
            continue
        other = found.setdefault(place_of(store.uri, zone.region), name)
        if other != name:
            yield ConfigError(
                f"zones {other} and {name} have the same store, {store.uri}",
                why="a release has one record in a store, and it is for one zone",
                fix=f"name another bucket or folder in zones.{name}.store; a prefix of its own "
                "will do",
                where=config.where(f"zones.{name}.store"),
                reason="shared-store",
            )


def _is_manifest(path: Path) -> bool:
    """A dataset manifest is known by its own words; other YAML is not ours to judge."""
    try:
        data = read_bounded(path, most=dataset.MAX_BYTES, what="file")
    except SovgateError:
        return False
    lines = data.splitlines()
    return any(line.startswith(b"pointer:") for line in lines) and any(
        line.startswith(b"stays-in:") for line in lines
    )


def _join(config_path: Path, where: Where) -> Where:
    """The project file's own places name the file alone; a linter's reader wants its path."""
    return Where(path=str(config_path), line=where.line, column=where.column)


def _at(error: SovgateError, path: Path) -> SovgateError:
    if error.where is not None and error.where.path == path.name:
        error.where = _join(path, error.where)
    return error


def _in(path: Path, finding: Finding) -> Finding:
    if finding.where.path != path.name:
        return finding
    return Finding(
        rule=finding.rule,
        severity=finding.severity,
        where=_join(path, finding.where),
        message=finding.message,
        fix=finding.fix,
    )
