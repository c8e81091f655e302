"""Rules over a project file that already reads: what is declared, but cannot work.

Touches only whether files that it names are there. Each rule is a function in RULES.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from sovgate import uri
from sovgate.config import ProjectConfig
from sovgate.git.url import same_repository
from sovgate.lint._api import Finding
from sovgate.regions import DECLARED

Rule = Callable[[ProjectConfig], Iterator[Finding]]


def missing_file(config: ProjectConfig) -> Iterator[Finding]:
    """A key or folder that a `file:` URI or path names is not there.

    Secret keys are looked for only where they are the sole word of their kind: a checkout of one
    zone does not hold the keys of another.
    """
    base = config.path.parent
    named: list[tuple[str, str]] = []
    for name, zone in config.zones.items():
        for key, value in (
            ("sign-public", zone.keys.sign_public),
            ("encrypt-public", zone.keys.encrypt_public),
        ):
            if value is not None:
                named.append((f"zones.{name}.keys.{key}", value))
    for index, entry in enumerate(config.trust or ()):
        if entry.key is not None:
            named.append((f"trust.{index}.key", entry.key))
        if entry.certificate is not None:
            named.append((f"trust.{index}.certificate.root", entry.certificate.root))
        if entry.keyless is not None:
            named.append((f"trust.{index}.keyless.trusted-root", entry.keyless.trusted_root))
    if config.policy.rules is not None:
        named.append(("policy.rules", config.policy.rules))
    for dotted, value in named:
        parsed = uri.parse(value, what="file")
        if parsed.scheme != "file":
            continue
        if not os.path.exists(base / parsed.rest):  # noqa: PTH110 (Path's raises if it is too long)
            yield Finding(
                rule="missing-file",
                severity="error",
                where=config.where(dotted),
                message=f"{dotted} names {parsed.rest!r}, which is not there",
                fix="check the path; it starts at the folder of sovgate.yaml",
            )


def scheme_without_adapter(
    config: ProjectConfig, served: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    """A key or store of a kind that this version cannot open.

    `served` has the schemes that adapters serve, under "key" and under "store".
    """
    named: list[tuple[str, str, str | None]] = []
    for name, zone in config.zones.items():
        keys = {
            "sign": zone.keys.sign,
            "sign-public": zone.keys.sign_public,
            "encrypt": zone.keys.encrypt,
            "encrypt-public": zone.keys.encrypt_public,
        }
        named += [("key", f"zones.{name}.keys.{key}", text) for key, text in keys.items()]
        named.append(("store", f"zones.{name}.store", zone.store))
    for index, entry in enumerate(config.trust or ()):
        named.append(("key", f"trust.{index}.key", entry.key))
    for what, dotted, text in named:
        scheme = uri.parse(text, what=what).scheme if text is not None else "file"
        if scheme not in served[what]:
            known = ", ".join(f"{name}:" for name in sorted(served[what]))
            refusal = uri.unserved(scheme, what=what, known=served[what], fix="")
            yield Finding(
                rule="scheme-without-adapter",
                severity="error",
                where=config.where(dotted),
                message=f"{dotted}: {refusal.what}",
                fix=f"name a {what} of one of these: {known}",
            )


def placeholder_key(config: ProjectConfig) -> Iterator[Finding]:
    """A key's URI that `init` wrote, with account and id still to be filled in."""
    for dotted, text in _key_uris(config):
        if uri.is_placeholder(text):
            refusal = uri.placeholder_refusal(text)
            yield Finding(
                rule="placeholder-key",
                severity="warning",
                where=config.where(dotted),
                message=f"{dotted}: {refusal.what}",
                fix=refusal.fix,
            )


def _key_uris(config: ProjectConfig) -> Iterator[tuple[str, str]]:
    """(dotted place, URI) of each key that is named."""
    for name, zone in config.zones.items():
        keys = zone.keys
        for key, text in (
            ("sign", keys.sign),
            ("sign-public", keys.sign_public),
            ("encrypt", keys.encrypt),
            ("encrypt-public", keys.encrypt_public),
        ):
            if text is not None:
                yield f"zones.{name}.keys.{key}", text
    for index, entry in enumerate(config.trust or ()):
        if entry.key is not None:
            yield f"trust.{index}.key", entry.key


#: Classes of what lies in a store.
_STORED = ("weights", "dataset", "synthetic", "aggregate", "gradient")


def receivers(config: ProjectConfig) -> list[str]:
    """The zones whose stores something may go to, each once."""
    rules = [rule for name, rule in config.border.items() if name in _STORED]
    return list(dict.fromkeys(target for rule in rules for _, target in rule.allow))


def border_without_store(config: ProjectConfig) -> Iterator[Finding]:
    """Something may cross to a zone that has no store, or no key to encrypt for."""
    for name, rule in config.border.items():
        if name not in _STORED:
            continue
        for zone in dict.fromkeys(target for _, target in rule.allow):
            keys = config.zones[zone].keys
            lacks = [
                word
                for word, there in (
                    ("store", config.zones[zone].store),
                    ("keys.encrypt-public", keys.encrypt_public or keys.encrypt),
                )
                if there is None
            ]
            if lacks:
                yield Finding(
                    rule="border-without-store",
                    severity="error",
                    where=config.where(f"zones.{zone}"),
                    message=f"{name} may go to {zone}, which has no {' and no '.join(lacks)}",
                    fix=f"add zones.{zone}.{lacks[0]}",
                )


def reuse_without_key(config: ProjectConfig) -> Iterator[Finding]:
    """Chunks of a zone are to be used again, and who pushes there has no key to keep theirs under.

    Only of a zone whose own `sign` key is here: another one's file names its secret keys.
    """
    rule = config.border.get("weights")
    for source, target in dict.fromkeys(rule.allow if rule else ()):
        keys = config.zones[source].keys
        if config.zones[target].reuse and keys.sign is not None and keys.encrypt is None:
            yield Finding(
                rule="reuse-without-key",
                severity="error",
                where=config.where(f"zones.{target}.store"),
                message=f"reuse of what {source} pushes to {target} needs an encryption key of "
                f"{source} itself, which has none",
                fix=f"add zones.{source}.keys.encrypt, or remove reuse",
            )


def border_to_itself(config: ProjectConfig) -> Iterator[Finding]:
    """`eu -> eu` says nothing: inside one zone nothing crosses a border."""
    for name, rule in config.border.items():
        for source, target in rule.allow:
            if source == target:
                yield Finding(
                    rule="border-to-itself",
                    severity="warning",
                    where=config.where(f"border.{name}.allow"),
                    message=f"border.{name} allows {source} -> {target}, which is not a crossing",
                    fix="remove it",
                )


def source_without_key(config: ProjectConfig) -> Iterator[Finding]:
    """A zone from which something may go has no key to sign with, or to be known by."""
    sources = {source for rule in config.border.values() for source, _ in rule.allow}
    trusted = {entry.zone for entry in config.trust or ()}
    for zone in sorted(sources):
        keys = config.zones[zone].keys
        if keys.sign is None and keys.sign_public is None and zone not in trusted:
            yield Finding(
                rule="source-without-key",
                severity="error",
                where=config.where(f"zones.{zone}"),
                message=f"things may leave {zone}, but nobody is trusted to sign for it",
                fix=f"add zones.{zone}.keys.sign-public, or a trust entry with from: {zone}",
            )


def weights_without_metadata(config: ProjectConfig) -> Iterator[Finding]:
    """Names, digests and evidence are metadata, and cross with the weights (RULES 17)."""
    if "weights" not in config.border:
        return
    allowed = config.border["metadata"].allow if "metadata" in config.border else ()
    for pair in config.border["weights"].allow:
        if pair not in allowed:
            yield Finding(
                rule="weights-without-metadata",
                severity="warning",
                where=config.where("border.weights.allow"),
                message=f"weights may go {pair[0]} -> {pair[1]}, but their metadata may not",
                fix=f"add border.metadata.allow: [{pair[0]} -> {pair[1]}]",
            )


def require_of_declared(config: ProjectConfig) -> Iterator[Finding]:
    """A zone in a region of the project's own, whose location must be known better than that."""
    for name, zone in config.zones.items():
        if zone.place.provider == DECLARED and zone.require != "declared":
            yield Finding(
                rule="require-of-declared",
                severity="error",
                where=config.where(f"zones.{name}.require"),
                message=f"{zone.region} is known by this file's own word alone, so require: "
                f"{zone.require} can never hold",
                fix="write require: declared, or leave it out",
            )


def unknown_residence(config: ProjectConfig) -> Iterator[Finding]:
    """A data set without manifest and without stays-in ties every model made from it."""
    for name, dataset in config.datasets.items():
        if dataset.manifest is None and dataset.stays_in is None:
            yield Finding(
                rule="unknown-residence",
                severity="warning",
                where=config.where(f"datasets.{name}"),
                message=f"where {name} must stay is unknown, so its models may go nowhere",
                fix="add stays-in: [EU], or stays-in: [] if it may go anywhere",
            )


def trust_without_legal(config: ProjectConfig) -> Iterator[Finding]:
    """A legal gate is declared, but nobody may pass it."""
    asked = [gate for gate in config.gates.values() if gate.dataset is not None]
    if asked and not any("legal" in entry.may for entry in config.trust or ()):
        yield Finding(
            rule="trust-without-legal",
            severity="error",
            where=config.where(f"gates.{asked[0].name}"),
            message=f"{asked[0].name} needs a legal word, but no trust entry may say `legal`",
            fix="add a trust entry with may: [legal]",
        )


def lift_without_gate(config: ProjectConfig) -> Iterator[Finding]:
    """`lifts` names what is no gate here: nothing says how well it has to pass, so it lifts not."""
    for name, dataset in config.datasets.items():
        for lift in dataset.lifts:
            if lift not in config.gates or config.gates[lift].dataset is not None:
                yield Finding(
                    rule="lift-without-gate",
                    severity="warning",
                    where=config.where(f"datasets.{name}.lifts"),
                    message=f"{lift} would lift {name}, but gates declares no such gate",
                    fix=f"add gates.{lift} with its threshold if sovgate measures it, or remove it",
                )


def unsafe_trust(config: ProjectConfig) -> Iterator[Finding]:
    """A trust entry believes more than one named signer: `unsafe-…` in its certificate."""
    for index, entry in enumerate(config.trust or ()):
        if entry.certificate is None:
            continue
        for name in entry.certificate.unsafe:
            personal = sorted(entry.may & {"legal", "waiver"})
            yield Finding(
                rule="unsafe-trust",
                severity="error" if personal else "warning",
                where=config.where(f"trust.{index}.certificate.{name}"),
                message=f"{entry.name} is trusted by {name}"
                + (f", and may say {' and '.join(personal)}" if personal else ""),
                fix=_UNSAFE[name],
            )


def keyless_identity(config: ProjectConfig) -> Iterator[Finding]:
    """A keyless entry that fits nobody, or whoever opens a pull request (RULES 23)."""
    for index, entry in enumerate(config.trust or ()):
        said = entry.keyless
        if said is None or said.issuer != _GITHUB:
            continue
        workflow, at, ref = said.identity.partition("@")
        if at and not ref.startswith("refs/pull/"):
            continue
        yield Finding(
            rule="keyless-identity",
            severity="error",
            where=config.where(f"trust.{index}.keyless.identity"),
            message=f"{entry.name} is whoever opens a pull request: such a run takes the workflow "
            "from the request"
            if at
            else f"{entry.name} is nobody: a workflow's identity ends with its ref",
            fix=f"name the workflow on a protected branch or tag: {workflow}@refs/heads/main",
        )


Overlay = tuple[tuple[str, str], str, str]


def overlays_of(config: ProjectConfig) -> dict[Overlay, str]:
    """(repository, branch, path) of each overlay, equal for all spellings -> its first zone."""
    found: dict[Overlay, str] = {}
    for name in config.zones:
        if (place := _overlay(config, name)) is not None:
            found.setdefault(place, name)
    return found


def _overlay(config: ProjectConfig, zone: str) -> Overlay | None:
    gitops = config.zones[zone].gitops
    if gitops is None:
        return None
    path = posixpath.normpath(gitops.path or ".")
    return same_repository(gitops.repo, config.path.parent), gitops.branch, path


def one_overlay_for_two_zones(config: ProjectConfig) -> Iterator[Finding]:
    """Two zones name one overlay: it pins one release for one zone (RULES 42)."""
    first = overlays_of(config)
    for name in config.zones:
        place = _overlay(config, name)
        if place is not None and (other := first[place]) != name:
            yield Finding(
                rule="one-overlay-for-two-zones",
                severity="error",
                where=config.where(f"zones.{name}.gitops"),
                message=f"zones {other} and {name} name the same overlay: repository, branch and "
                f"path {place[2]!r} are one place",
                fix=f"give {name} an overlay of its own, for example gitops.path: overlays/{name}",
            )


def one_overlay_for_two_projects(config: ProjectConfig, other: ProjectConfig) -> Iterator[Finding]:
    """Another project names an overlay of this one: it pins one release of one model (RULES 42)."""
    theirs = overlays_of(other)
    for place, name in overlays_of(config).items():
        if place in theirs:
            yield Finding(
                rule="one-overlay-for-two-projects",
                severity="error",
                where=config.where(f"zones.{name}.gitops"),
                message=f"zone {name} and zone {theirs[place]} of {str(other.path)!r} name the "
                f"same overlay: repository, branch and path {place[2]!r} are one place",
                fix="give each model an overlay of its own, for example gitops.path: "
                f"serving/{config.model}/overlays/{name}, and move the folder there",
            )


_GITHUB = "https://token.actions.githubusercontent.com"
_UNSAFE = {
    "unsafe-any-subject": "name the signer: san: ADDRESS; or trust the signer's key by key:",
    "unsafe-authority-leaf": "have a certificate issued that is no authority's, or trust the "
    "signer's key by key:",
}


RULES: tuple[Rule, ...] = (
    missing_file,
    placeholder_key,
    border_without_store,
    reuse_without_key,
    border_to_itself,
    source_without_key,
    weights_without_metadata,
    require_of_declared,
    unknown_residence,
    trust_without_legal,
    unsafe_trust,
    keyless_identity,
    lift_without_gate,
    one_overlay_for_two_zones,
)


def manifests(config: ProjectConfig) -> Iterator[tuple[str, Path]]:
    """(data set, path) of each manifest that the project names."""
    for name, dataset in config.datasets.items():
        if dataset.manifest is not None:
            yield name, config.path.parent / dataset.manifest
