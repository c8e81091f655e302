"""The part of `doctor` about zones: their keys, their stores, and who is trusted. Reads; writes
nothing but the probe of a store that this zone writes to.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate import uri
from sovgate.errors import ConfigError, InternalError, SovgateError
from sovgate.links import mounted_secret
from sovgate.pipeline.look.diagnosis import MISSING, OK, SKIPPED, WARN, Diagnosis
from sovgate.pipeline.own_roles import LOGGED, only_files, require_zone_key
from sovgate.stores._api import Keeping

if TYPE_CHECKING:
    from sovgate.config import GitOps, TrustEntry
    from sovgate.pipeline.project import Project
    from sovgate.stores._api import Store


def _remote(text: str | None, what: str) -> bool:
    return text is not None and uri.parse(text, what=what).scheme != "file"


def check_zone(found: Diagnosis, opened: Project, name: str) -> None:
    from sovgate.keys.registry import open_public

    zone, keys = opened.zone(name), opened.zone(name).keys
    signs = keys.sign_public or keys.sign
    if signs is not None and opened.config.trust is None:
        _key(
            found,
            opened,
            f"{name}: key to verify what it signs",
            signs,
            "sign",
            lambda: open_public(signs, opened.base, zone.region).key_id,
        )
    reach = {to for rule in opened.config.border.values() for _, to in rule.allow}
    seals = keys.encrypt_public or (keys.encrypt if name in reach else None)
    if seals is not None:
        _key(
            found,
            opened,
            f"{name}: key to encrypt for it",
            seals,
            "encrypt",
            lambda: opened.recipient(name).key_id,
        )
    if name == found.zone:
        if keys.sign is not None:
            trusted = keys.sign_public if opened.config.trust is None else None
            _secret_key(
                found,
                opened,
                f"{name}: secret key to sign",
                keys.sign,
                "sign",
                lambda: _matching_id(
                    found,
                    opened.signer(name).public_key.key_id,
                    trusted,
                    lambda text: open_public(text, opened.base, zone.region).key_id,
                ),
            )
        if keys.encrypt is not None:
            _secret_key(
                found,
                opened,
                f"{name}: secret key to decrypt",
                keys.encrypt,
                "encrypt",
                lambda: _matching_id(
                    found,
                    opened.identity(name).key_id,
                    keys.encrypt_public,
                    lambda _: opened.recipient(name).key_id,
                ),
            )
        if not found.offline and not only_files(opened, name):  # what files tell is lint's to say
            found.run(f"{name}: what its key may say", lambda: _may_say(opened, name))
    if zone.store is not None:
        _store(found, opened, name)
    if zone.gitops is not None and name == found.zone:
        found.say(f"{name}: commits", OK, _commits(zone.gitops))


def _may_say(opened: Project, zone: str) -> str | None:
    """Raises ConfigError, reason "own-role"."""
    try:
        trusted = opened.trusted(zone)
    except SovgateError:  # was said of that key itself
        return None
    require_zone_key(opened, trusted, zone, LOGGED)
    return None


def _commits(gitops: GitOps) -> str:
    """What is known of the commits of `promote`. What the server demands, it says to a push."""
    style = gitops.commit
    by = f"by {style.author[0]} <{style.author[1]}>" if style.author else "by Git's own user"
    said = f", as {style.message!r}" if style.message else ""
    where = f"to {gitops.branch}" if gitops.via == "push" else f"proposed for {gitops.branch}"
    return f"{where} of {gitops.repo}, {by}{said}, not signed"


def _matching_id(
    found: Diagnosis, key_id: str, public: str | None, open_it: Callable[[str], str]
) -> str:
    """The id of a secret key, which the public half that the file names has to have as well."""
    if public is None or (found.offline and _remote(public, "key")):
        return key_id
    try:
        other = open_it(public)
    except SovgateError:  # was said of that key itself
        return key_id
    if other != key_id:
        raise ConfigError(
            f"it does not belong to {public}",
            why=f"its id is {key_id[:16]}…, and that one's is {other[:16]}…",
            fix=f"restore the key that belongs to {public}; or, if this one is right, write the "
            "public half that `sovgate keys show` prints into that file, and tell the other zones",
            reason="half-a-key",
        )
    return key_id


def _key(
    found: Diagnosis, opened: Project, label: str, text: str, kind: str, open_it: Callable[[], str]
) -> None:
    if uri.is_placeholder(text):
        refusal = uri.placeholder_refusal(text)
        found.say(label, MISSING, refusal.what, str(refusal.fix))
        return
    if _remote(text, "key"):
        if found.offline:
            found.say(label, SKIPPED, f"{text}: needs the network")
            return
    else:
        path = uri.parse(text, what="key").rest
        if not os.path.exists(opened.base / path):  # noqa: PTH110 (Path's raises if it is too long)
            found.say(label, MISSING, f"{path} is not there", _remedy(opened, path, kind))
            return
    found.run(label, lambda: f"{text}, id {open_it()[:16]}…")


def _secret_key(
    found: Diagnosis, opened: Project, label: str, text: str, kind: str, open_it: Callable[[], str]
) -> None:
    """A secret key, which may be mounted where pipelines mount a Secret, too."""
    if not _remote(text, "key"):
        mounted = mounted_secret(uri.parse(text, what="key").rest, opened.base)
        if mounted is not None:
            found.run(label, lambda: f"{mounted}, id {open_it()[:16]}…")
            return
    _key(found, opened, label, text, kind, open_it)


def _remedy(opened: Project, path: str, kind: str) -> str:
    """How to get the key file that is missing. `generate` makes both halves, or neither."""
    base, half = opened.base, _half_of_zone(opened, path, kind)
    if half is not None:
        return half
    if path.endswith(".pub.pem"):
        private = path.removesuffix(".pub.pem") + ".pem"
        make = f"sovgate keys generate {kind} -o {shlex.quote(private)}"
        if not os.path.exists(base / private):  # noqa: PTH110 (as above)
            return f"ask that zone for it; that zone makes it with: {make}"
        return (
            f"write it from its private half: openssl pkey -in {shlex.quote(private)} -pubout "
            f"-out {shlex.quote(path)}"
        )
    public = path.removesuffix(".pem") + ".pub.pem"
    if not os.path.exists(base / public):  # noqa: PTH110 (as above)
        return f"sovgate keys generate {kind} -o {shlex.quote(path)}"
    lost = (
        "can open nothing that was encrypted for it" if kind == "encrypt" else "is another signer"
    )
    return f"restore the key that belongs to {public}: a new key {lost}"


def _half_of_zone(opened: Project, path: str, kind: str) -> str | None:
    """How to get a public half that a zone signs, or whose key a service has; None for others."""
    for name, zone in opened.config.zones.items():
        keys, signs = zone.keys, kind == "sign"
        secret = keys.sign if signs else keys.encrypt
        public = keys.sign_public if signs else keys.encrypt_public
        if public is None or uri.parse(public, what="key").rest != path:
            continue
        served = secret is not None and _remote(secret, "key") and not uri.is_placeholder(secret)
        make, out = f"sovgate keys generate {kind} --zone {name}", f"-o {shlex.quote(path)}"
        if path.endswith(".json"):
            get = f"sovgate keys export {kind} --zone {name} {out}"
            if secret is None:
                return f"ask zone {name} for it; that zone writes it with: {get}"
            return f"{get}; if there is no key yet, first: {make}" if served else get
        if served and secret is not None:
            return f"{make}; if the key is there: sovgate keys show {shlex.quote(secret)} {out}"
    return None


def _store(found: Diagnosis, opened: Project, name: str) -> None:
    """Reached, where it should be; create-only where this zone writes to it."""
    from sovgate.stages import transfer

    zone = opened.zone(name)
    label = f"{name}: store"
    if _remote(zone.store, "store"):
        if found.offline:
            found.say(label, SKIPPED, f"{zone.store}: needs the network")
            return
    elif not os.path.isdir(  # noqa: PTH112 (as above)
        opened.base / uri.parse(str(zone.store), what="store").rest
    ):
        found.say(
            label, WARN, f"{zone.store} is not a folder yet", "the first push or pull creates it"
        )
        return
    writes = found.zone is not None and (
        name == found.zone
        or any((found.zone, name) in rule.allow for rule in opened.config.border.values())
    )

    def look() -> str:
        store = opened.store(name)
        located = transfer.locate(store, zone=name, declared=zone.region)
        next(iter(store.list("releases/")), None)
        if writes:
            store.probe()
        lies = f"{located.value or 'place unknown'}, by {located.source}"
        return f"{store.uri}: reached, {lies}" + (", create-only" if writes else "")

    if found.run(label, look):
        _locked_on_arrival(found, label, opened.store(name))


def _locked_on_arrival(found: Diagnosis, label: str, store: Store) -> None:
    """A bucket that locks whatever arrives keeps what a push that broke off left there, too."""
    if not isinstance(store, Keeping):
        return
    try:
        how = store.locked_on_arrival()
    except SovgateError as error:
        found.say(label, SKIPPED, f"whether it locks what arrives was not told: {error.why}")
        return
    if how is not None:
        found.say(
            label,
            WARN,
            f"{store.uri} locks each object as it arrives ({how}): nobody can remove what a push "
            "that broke off left there, until that time is over",
            "remove the bucket's default retention, and write lock=MODE:TIME into the store's URI: "
            "then push locks what a record names, and nothing else",
        )


def _keyless(entry: TrustEntry, base: Path) -> str:
    """Whom it believes, and by which file: its digest tells two states of it apart."""
    from sovgate.formats.keyless import KeylessRule
    from sovgate.pipeline.named_roots import named_by_root

    rule = named_by_root(entry, base).certificate
    if not isinstance(rule, KeylessRule):
        raise InternalError("a keyless entry without a keyless rule")
    logs = sum(len(one.logs) for one in rule.root.instances)
    return (
        f"{rule.identity} of {rule.issuer}, by {logs} {'log' if logs == 1 else 'logs'} of the "
        f"trusted root sha256:{rule.root.sha256}"
    )


def check_trust(found: Diagnosis, opened: Project) -> None:
    """Where `trust` says whom to believe: by public keys and root certificates alone."""
    entries = opened.config.trust
    if entries is None:
        return
    for entry in entries:
        if entry.certificate is not None and entry.certificate.unsafe:
            found.say(
                f"trust: {entry.name}",
                WARN,
                f"trusted by {' and '.join(entry.certificate.unsafe)}",
                "name the signer with san:, or trust the signer's key: sovgate lint says where",
            )
        if entry.keyless is not None:
            found.run(f"trust: {entry.name}", partial(_keyless, entry, opened.base))
    if found.offline and any(_remote(entry.key, "key") for entry in entries):
        found.say("trust", SKIPPED, "some public keys are in a key service: needs the network")
        return
    found.run("trust", lambda: f"{len(opened.trusted(found.zone))} may say something")
