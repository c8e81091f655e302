"""sovgate.yaml -> frozen records. Stands beside formats: reads that file, opens none it names.

Facts live here, rules live in Rego. Every record can be traced to its line through
`ProjectConfig.where`.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

from sovgate import key_settings, notices, regions, uri
from sovgate.config._commit import read_commit
from sovgate.config._found import FILE_NAME, MAX_BYTES, at, content, find, may_name, meant, there
from sovgate.config._gates import gate
from sovgate.config._records import (
    AuditConfig,
    BorderRule,
    CertificateTrust,
    CommitStyle,
    DatasetRef,
    GateConfig,
    GitOps,
    KeylessTrust,
    PolicyConfig,
    ProjectConfig,
    ProjectFile,
    SetAside,
    TrustEntry,
    ZoneConfig,
    ZoneKeys,
)
from sovgate.config._regions import EXAMPLE_REGION, declared, declared_in, zone_region
from sovgate.config._trust import key_uri, set_aside_entry, trust_entry
from sovgate.errors import VerificationFailed, Where
from sovgate.formats import kustomize
from sovgate.formats.sections import Section, did_you_mean
from sovgate.formats.yaml12 import load
from sovgate.git.url import check_branch, parse_remote
from sovgate.names import check_name
from sovgate.records import CLASSES, RELEASE_FORM, RELEASE_PART, ROLES, ZONE_NAME

__all__ = [
    "DEFAULT_ROLES",
    "EXAMPLE_REGION",
    "FILE_NAME",
    "MAX_BYTES",
    "OWN_ROLES",
    "AuditConfig",
    "BorderRule",
    "CertificateTrust",
    "CommitStyle",
    "DatasetRef",
    "GateConfig",
    "GitOps",
    "KeylessTrust",
    "PolicyConfig",
    "ProjectConfig",
    "SetAside",
    "TrustEntry",
    "ZoneConfig",
    "ZoneKeys",
    "at",
    "content",
    "declared_in",
    "declared_regions",
    "find",
    "may_name",
    "meant",
    "parse",
    "read",
    "there",
]

#: What a zone's own key may say where the file has no `trust`.
DEFAULT_ROLES = frozenset(ROLES) - {"legal", "waiver"}
#: What it may say of itself in any case: words about its own acts, which give nothing to others.
OWN_ROLES = frozenset({"audit", "decision", "part", "promotion"})

_ARROW = re.compile(r"\s*([\w.-]{1,80}?)\s*->\s*([\w.-]{1,80})\s*")
_CLASS = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_KEEP = re.compile(r"[1-9][0-9]{0,3}[dmy]", re.ASCII)
_TIME = re.compile(
    r"([1-9][0-9]{0,3}) ?(?:(y|m|d)(?:ears?|onths?|ays?|rs?)?)?", re.ASCII | re.IGNORECASE
)


def read(path: Path) -> ProjectConfig:
    """Read and check a project file. Raises ConfigError with the line; DiskError."""
    data = content(path)
    notices.project_read(str(path))
    config = parse(data, path)
    _vouch(config)
    return config


def _vouch(config: ProjectConfig) -> None:
    """For the keys that it names: whom to trust with code is said by such a file alone."""
    named = [text for zone in config.zones.values() for text in astuple(zone.keys)]
    named += [entry.key for entry in config.trust or ()]
    for text in named:
        if text is not None:
            key_settings.vouch(uri.parse(text, what="key"), config.path.parent)


def parse(data: bytes, path: Path) -> ProjectConfig:
    """Bytes of a project file -> records. `path` is only named, never opened."""
    document = load(data, path.name)
    top = Section(document, empty="remove the file, and let `sovgate init` write one")
    version = top.integer("version", example=1)
    if version != 1:
        top.refuse("version", f"version {version} is not known", fix="write version: 1")
    top.raw("zones")
    sites = declared(top)
    zones = {name: _zone(name, section, sites) for name, section in top.sections("zones")}
    if not zones:
        top.refuse("zones", "the file declares no zone", fix="declare at least one")
    classes = (*CLASSES, *(top.texts("classes") if top.has("classes") else ()))
    datasets = {name: _dataset(name, s) for name, s in top.sections("datasets")}
    if top.has("evidence"):
        top.text("evidence")
    config = ProjectConfig(
        model=top.text("model", pattern=RELEASE_PART, form=RELEASE_FORM),
        pattern=top.choice("pattern", ("central", "federated", "hybrid"))
        if top.has("pattern")
        else None,
        zones=zones,
        datasets=datasets,
        border={name: _border(name, s, zones, classes) for name, s in top.sections("border")},
        trust=tuple(trust_entry(s, zones) for s in top.rows("trust")) if top.has("trust") else None,
        gates={name: gate(name, s, datasets) for name, s in top.sections("gates")},
        policy=_policy(top),
        audit=_audit(top.section("audit"), zones) if top.has("audit") else None,
        file=ProjectFile(path=path, sha256=hashlib.sha256(data).hexdigest(), document=document),
    )
    top.done()
    return config


def declared_regions(config: ProjectConfig) -> tuple[regions.Region, ...]:
    """The regions of the file's own, whether a zone lies there or not; sorted by id."""
    return tuple(row for _, row in sorted(declared(Section(config.document)).items()))


def _zone(name: str, section: Section, sites: Mapping[str, regions.Region]) -> ZoneConfig:
    if not ZONE_NAME.fullmatch(name):
        section.refuse(None, f"{name[:80]!r} is not a zone name", fix="a-z, 0-9 and hyphens")
    place = zone_region(section, sites)
    keys = ZoneKeys(sign=None, sign_public=None, encrypt=None, encrypt_public=None)
    if section.has("keys"):
        below = section.section("keys")
        keys = ZoneKeys(
            sign=key_uri(below, "sign", "key"),
            sign_public=key_uri(below, "sign-public", "key"),
            encrypt=key_uri(below, "encrypt", "key"),
            encrypt_public=key_uri(below, "encrypt-public", "key"),
        )
        below.done()
    store, reuse = _store(section)
    zone = ZoneConfig(
        name=name,
        region=place.id,
        place=place,
        store=store,
        reuse=reuse,
        keys=keys,
        require=section.choice("require", ("declared", "api", "attested"), "declared"),
        verify_first=section.flag("verify-first"),
        gitops=_gitops(section.section("gitops")) if section.has("gitops") else None,
    )
    section.done()
    return zone


def _store(section: Section) -> tuple[str | None, bool]:
    """A URI, or `{uri: URI, reuse: true}`."""
    if not section.has("store") or not isinstance(section.value["store"], dict):
        return key_uri(section, "store", "store"), False
    below = section.section("store")
    below.raw("uri")
    made = key_uri(below, "uri", "store"), below.flag("reuse")
    below.done()
    return made


def _gitops(section: Section) -> GitOps:
    def where(key: str) -> Where:
        return section.document.where((*section.path, key))

    repo = section.text("repo")
    parse_remote(repo, Path("/"), where=where("repo"))
    path = _overlay_path(section)
    branch = section.text("branch") if section.has("branch") else "main"
    branch = branch.removeprefix("refs/heads/")
    if branch == "HEAD" or branch.startswith("refs/"):
        section.refuse(
            "branch",
            f"gitops.branch {branch[:80]!r} is no branch",
            fix="write the name of a branch that exists, for example main",
        )
    made = GitOps(
        repo=repo,
        path=path,
        kind=section.choice("kind", ("kustomize",), "kustomize"),
        via=section.choice("via", ("push", "pull-request"), "push"),
        branch=check_branch(branch, where=where("branch")),
        deployment=section.optional_text("deployment"),
        containers=_containers(section),
        accept=section.texts("accept", kustomize.LATE_FIELDS) if section.has("accept") else (),
        key=key_uri(section, "key", "key"),
        commit=read_commit(section.section("commit")) if section.has("commit") else CommitStyle(),
    )
    section.done()
    return made


def _overlay_path(section: Section) -> str:
    """The folder, however it is spelt: `./overlays/eu/` is `overlays/eu`."""
    path = section.text("path")
    inside = not (path.startswith(("/", "-")) or ".." in path.split("/") or "\\" in path)
    path = posixpath.normpath(path)
    if inside and path != ".":
        try:
            check_name(path)
        except VerificationFailed:
            inside = False
        # Git keeps its own there, and lets no folder of a repository be called so.
        inside = inside and not any(part.lower().startswith(".git") for part in path.split("/"))
    if not inside:
        section.refuse(
            "path",
            "gitops.path must be inside the repository",
            fix="name the folder that the cluster builds, from the root, for example overlays/eu",
        )
    return path


def _containers(section: Section) -> tuple[str, ...]:
    """`container: NAME`, or `containers: [NAME, …]`."""
    if not section.has("containers"):
        one = section.optional_text("container")
        return () if one is None else (one,)
    if section.has("container"):
        section.refuse(
            "container", "gitops has container: and containers:", fix="name all in containers:"
        )
    return section.texts("containers")


def _groups(section: Section, key: str) -> tuple[str, ...] | None:
    """A list of countries and groups; null is unknown."""
    if not section.has(key) or section.value[key] is None:
        return None
    names = section.texts(key)
    for name in names:
        regions.group(name, where=section.document.where((*section.path, key)))
    return names


def _dataset(name: str, section: Section) -> DatasetRef:
    if not RELEASE_PART.fullmatch(name):
        section.refuse(None, f"{name[:80]!r} is not a data set name", fix="a-z, 0-9, . _ -")
    made = DatasetRef(
        name=name,
        manifest=section.optional_text("manifest"),
        category=section.optional_text("category"),
        stays_in=_groups(section, "stays-in"),
        lifts=section.texts("lifts") if section.has("lifts") else (),
    )
    section.done()
    return made


def _border(
    name: str, section: Section, zones: Mapping[str, ZoneConfig], classes: tuple[str, ...]
) -> BorderRule:
    if name not in classes or not _CLASS.fullmatch(name):
        section.refuse(
            None, f"{name[:80]!r} is not a class of data", fix=did_you_mean(name, classes)
        )
    allow = []
    for text in section.texts("allow"):
        match = _ARROW.fullmatch(text)
        if match is None:
            named = [word for word in re.findall(r"[\w.-]+", text) if word in zones]
            example = " -> ".join(named if len(named) == 2 else ("from", "to"))
            section.refuse("allow", f"{text[:80]!r} is not a crossing", fix=f"write: {example}")
        for zone in match.groups():
            if zone not in zones:
                section.refuse(
                    "allow", f"there is no zone {zone[:80]!r}", fix=did_you_mean(zone, list(zones))
                )
        allow.append((match.group(1), match.group(2)))
    made = BorderRule(
        allow=tuple(allow), fields=section.texts("fields") if section.has("fields") else ()
    )
    section.done()
    return made


def _policy(top: Section) -> PolicyConfig:
    aside = tuple(set_aside_entry(row) for row in top.rows("set-aside"))
    if len({one.record for one in aside}) != len(aside):
        top.refuse("set-aside", "set-aside names a record twice", fix="leave one of them")
    if not top.has("policy"):
        return PolicyConfig(
            presets=("default",), rules=None, mode="enforce", engine="regorus", set_aside=aside
        )
    section = top.section("policy")
    made = PolicyConfig(
        presets=section.texts("presets") if section.has("presets") else ("default",),
        rules=section.optional_text("rules"),
        mode=section.choice("mode", ("enforce", "warn"), "enforce"),
        engine=section.choice("engine", ("regorus", "opa", "both"), "regorus"),
        pickles=section.choice("pickles", ("refuse", "allow"), "refuse"),
        expect=section.texts("expect") if section.has("expect") else (),
        set_aside=aside,
    )
    if section.has("expect") and made.rules is None:
        section.refuse(
            "expect", "policy.expect names rules, and policy.rules names no folder", fix="add rules"
        )
    section.done()
    return made


def _audit(section: Section, zones: Mapping[str, ZoneConfig]) -> AuditConfig:
    made = AuditConfig(zone=section.choice("zone", list(zones)), keep=_keep(section))
    section.done()
    return made


def _keep(section: Section) -> str | None:
    """How long the log is kept; a bare number, or one with a word, is one of years, days, …"""
    if not section.has("keep"):
        return None
    meant = _TIME.fullmatch(str(section.value["keep"]))
    example = f"{meant[1]}{(meant[2] or 'y').lower()}" if meant else "7y"
    return section.text("keep", pattern=_KEEP, form="a span of time", example=example)
