"""A project opened: the file's records, and the keys, stores and trust that it names, on demand.

The one place where adapters are opened; stages get protocol objects. Adapters' SDKs are imported
only when a command needs them.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sovgate import config as configuration
from sovgate import notices
from sovgate.config import (
    DEFAULT_ROLES,
    OWN_ROLES,
    ProjectConfig,
    ZoneConfig,
)
from sovgate.errors import (
    ConfigError,
    DiskError,
    KeyServiceError,
    ResidencyMismatch,
    SovgateError,
    VerificationFailed,
    Where,
)
from sovgate.files import read_bounded
from sovgate.formats import dataset as datasets
from sovgate.formats.publickey import UnbelievedKeyError
from sovgate.links import mounted_secret, owned_by
from sovgate.pipeline.named_keys import Unshared, require_half, require_own_half, require_pinned
from sovgate.stages.record import DatasetFacts, Demand, both_categories
from sovgate.uri import is_placeholder, placeholder_refusal

if TYPE_CHECKING:
    from sovgate.formats.spki import PublicKey
    from sovgate.keys._api import Identity, Recipient, Signer
    from sovgate.stages.verify import Trusted
    from sovgate.stores._api import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Project:
    """`config` holds the records; everything else is opened when asked for.

    `above`: it was not named, but found above this folder: its keys have to be ours too (RULES 40).
    """

    config: ProjectConfig
    above: bool = False

    @property
    def base(self) -> Path:
        """The folder of sovgate.yaml; relative paths in it start here."""
        return self.config.path.parent

    @property
    def evidence(self) -> Path | None:
        """The folder that holds NAME.evidence of each model; None: beside the models."""
        named = self.config.evidence
        return None if named is None else self.base / named

    @property
    def digest(self) -> str:
        return self.config.file.sha256

    def zone(self, name: str) -> ZoneConfig:
        return self.config.zone(name)

    @contextlib.contextmanager
    def own_keys(self) -> Iterator[None]:
        """Within it, keys have to be ours too if the project was found above this folder."""
        with owned_by() if self.above else contextlib.nullcontext():
            yield

    def _key(self, zone: str, attribute: str, purpose: str) -> str:
        uri: str | None = getattr(self.zone(zone).keys, attribute)
        if uri is None:
            key = attribute.replace("_", "-")
            raise ConfigError(
                f"zone {zone} has no key to {purpose}",
                fix=f"add zones.{zone}.keys.{key} to {self.config.document.name}",
                where=self.config.where(f"zones.{zone}"),
                reason="no-key",
            )
        return uri

    def _placed(self, error: SovgateError, dotted: str) -> SovgateError:
        """A missing path is 2 on the command line, but 3 where the project file named it."""
        if isinstance(error, (KeyServiceError, ResidencyMismatch, DiskError, UnbelievedKeyError)):
            error.where = error.where or self.config.where(dotted)
            return error
        where = error.where or self.config.where(dotted)
        if error.reason == "missing-path":
            return ConfigError(
                error.what,
                why=error.why,
                fix="check the path, which starts at the folder of sovgate.yaml; `sovgate doctor` "
                "says how to get a key",
                reason="missing-file",
                where=where,
            )
        return ConfigError(
            error.what, why=error.why, fix=error.fix, reason=error.reason, where=where
        )

    def _opened(self, opening: Callable[..., T], zone: str, *key: str) -> T:
        uri, dotted = self._key(zone, *key), f"zones.{zone}.keys.{key[0].replace('_', '-')}"
        try:
            with self.own_keys():
                require_half(dotted, uri, self.base)
                return opening(uri, self.base, self.zone(zone).region)
        except SovgateError as error:
            raise self._placed(error, dotted) from error

    @cached_property
    def _unshared(self) -> Unshared:
        return Unshared(self.config)

    def signer(self, zone: str, *, alone: bool = False) -> Signer:
        """The zone's `sign` key; `alone`: compared with no pinned half. Raises as `identity`."""
        from sovgate.keys.registry import open_signer

        signer = self._opened(open_signer, zone, "sign", "sign")
        pinned = None if alone else self.zone(zone).keys.sign_public
        if pinned is None or getattr(signer, "canonical", None) is None:
            return signer  # of files `own_roles` tells, and which to replace
        dotted = f"zones.{zone}.keys.sign-public"
        half = self.pinned(pinned, dotted, zone)
        require_pinned(signer.public_key, half, zone, self.config.where(dotted))
        return signer

    def sign_uri(self, zone: str) -> str:
        """The URI of the zone's `sign` key, meaning the same from any folder."""
        from sovgate import uri

        text = self._key(zone, "sign", "sign")
        parsed = uri.parse(text, what="key")
        if parsed.scheme != "file":
            return text
        path = mounted_secret(parsed.rest, self.base) or (self.base / parsed.rest).absolute()
        return f"file:{path}"

    def recipient(self, zone: str) -> Recipient:
        """The zone's public encryption key: `encrypt-public`, else what `encrypt` gives."""
        from sovgate.pipeline import exported

        if self.zone(zone).keys.encrypt_public is None:
            return self._unshared(zone, self.own_recipient(zone))
        opening = partial(exported.open_recipient, self, zone)
        return self._unshared(zone, self._opened(opening, zone, "encrypt_public", "encrypt for it"))

    def own_recipient(self, zone: str) -> Recipient:
        """The same by the zone's `encrypt` key, whatever public half is named beside it."""
        from sovgate.keys.registry import open_recipient

        return self._opened(open_recipient, zone, "encrypt", "encrypt for it")

    def identity(self, zone: str) -> Identity:
        """The zone's secret decryption key. Raises ConfigError, KeyServiceError."""
        from sovgate.keys.registry import open_identity

        made = self._unshared(zone, self._opened(open_identity, zone, "encrypt", "decrypt"))
        require_own_half(self.config, zone, made.key_id)
        return made

    def store(self, zone: str) -> Store:
        from sovgate.stores.registry import open_store

        uri = self.zone(zone).store
        if uri is None:
            raise ConfigError(
                f"zone {zone} has no store",
                fix=f"add zones.{zone}.store to {self.config.document.name}",
                where=self.config.where(f"zones.{zone}"),
                reason="no-store",
            )
        try:
            return open_store(uri, self.base, self.zone(zone).region)
        except ConfigError as error:
            raise self._placed(error, f"zones.{zone}.store") from error

    def audit_store(self, zone: str) -> Store:
        """Where the zone's audit entries go: its store, or a folder of the project."""
        from sovgate.stores.registry import open_store

        if self.zone(zone).store is not None:
            return self.store(zone)
        self._refuse_link()
        return open_store(f"file:.sovgate/{zone}", self.base)

    def _refuse_link(self) -> None:
        """What runs leave in `.sovgate/` lies in the project, not where a link leads (RULES 31)."""
        if (self.base / ".sovgate").is_symlink():
            raise VerificationFailed(
                f"{str(self.base / '.sovgate')!r} is a link",
                why="what is written and removed there would lie where the link leads",
                fix="remove the link; to keep it on another disk, mount that disk there",
                reason="not-regular",
            )

    def pinned(self, uri: str, dotted: str, zone: str | None) -> PublicKey:
        """The public half that the file names at `dotted`; a private one is refused there."""
        from sovgate.keys.registry import open_public
        from sovgate.pipeline import exported

        try:
            with self.own_keys():
                require_half(dotted, uri, self.base)
                half = exported.believed(self, zone, uri, dotted)
                region = self.zone(zone).region if zone is not None else None
                return open_public(uri, self.base, region) if half is None else half
        except SovgateError as error:
            raise self._placed(error, dotted) from error

    def _own(self, zone: ZoneConfig, may: frozenset[str]) -> Trusted | None:
        from sovgate.stages.verify import Trusted

        uri = zone.keys.sign_public or zone.keys.sign
        if uri is None:
            return None
        which = "sign-public" if zone.keys.sign_public else "sign"
        key = self.pinned(uri, f"zones.{zone.name}.keys.{which}", zone.name)
        return Trusted(name=f"zone {zone.name}", key=key, may=may, zone=zone.name)

    def trusted(self, zone: str | None = None) -> tuple[Trusted, ...]:
        """Who may say what, by this project's file; no former signers. Opens public keys.

        Without `trust` in the file: each zone's own key, for all but legal and waiver. With it:
        its entries alone, and the key of the running `zone` for words about its own acts.
        Who is not filled in yet is passed over, with a note. Raises ConfigError "placeholder-key"
        where the running zone is not, or nobody is.
        """
        if self.config.trust is None:
            rows = self.config.zones.values()
            uris = {one.name: one.keys.sign_public or one.keys.sign for one in rows}
            made = self._made({name: uri for name, uri in uris.items() if uri is not None}, zone)
            owns = [self._own(one, DEFAULT_ROLES) for one in rows if one.name in made]
            return tuple(own for own in owns if own is not None)
        from sovgate.stages.past import Known

        found = self._entries(former=False)
        own = self._own(self.zone(zone), OWN_ROLES) if zone is not None else None
        return Known((*found, own) if own else found, self.former)

    def trusted_in(self, zone: str) -> tuple[Trusted, ...]:
        """As `trusted`, for a look into any zone's store: its own key may be a placeholder yet."""
        keys = self.zone(zone).keys
        own = keys.sign_public or keys.sign
        return self.trusted(None if own is not None and is_placeholder(own) else zone)

    def speaking_for(self, zone: str) -> tuple[Trusted, ...]:
        """Who may say what `zone` alone can say, and perhaps others; opens no other zone's key."""
        if self.config.trust is not None:
            return self.trusted()
        return tuple(filter(None, [self._own(self.zone(zone), DEFAULT_ROLES)]))

    def require_sources(self, zone: str) -> None:
        """That some zone from which weights may come to `zone` has a key that is filled in.

        Raises ConfigError, reason "placeholder-key".
        """
        rule = self.config.border.get("weights")
        froms = {source for source, to in (rule.allow if rule else ()) if to == zone}
        keys = {name: self.zone(name).keys for name in sorted(froms)}
        uris = {name: one.sign_public or one.sign or "" for name, one in keys.items()}
        if self.config.trust is None and uris and all(map(is_placeholder, uris.values())):
            raise self._unfilled(next(iter(uris)))

    def _unfilled(self, zone: str) -> SovgateError:
        keys = self.zone(zone).keys
        which = "sign-public" if keys.sign_public else "sign"
        refusal = placeholder_refusal(str(keys.sign_public or keys.sign))
        return self._placed(refusal, f"zones.{zone}.keys.{which}")

    def _made(self, uris: Mapping[str, str], zone: str | None) -> Collection[str]:
        """The zones whose key is filled in; what `init` writes for each is no key to trust."""
        open_ones = [name for name, text in uris.items() if is_placeholder(text)]
        if zone in open_ones or (open_ones and len(open_ones) == len(uris)):
            raise self._unfilled(zone if zone is not None and zone in open_ones else open_ones[0])
        for name in open_ones:
            self._passed_over(f"the key of zone {name}")
        return [name for name in uris if name not in open_ones]

    def _passed_over(self, whose: str) -> None:
        notices.note(
            f"{whose} is a placeholder in {self.config.document.name}, so nothing that it signs is "
            "trusted here"
        )

    def former(self) -> tuple[tuple[Trusted, datetime], ...]:
        """Whom the file trusts no longer, each with the time from which it does not."""
        ends = [entry.until for entry in self.config.trust or () if entry.until is not None]
        return tuple(zip(self._entries(former=True), ends, strict=True))

    def _entries(self, *, former: bool) -> list[Trusted]:
        from sovgate.stages.verify import Trusted

        found: list[Trusted] = []
        for index, entry in enumerate(self.config.trust or ()):
            if (entry.until is not None) != former:
                continue
            if entry.key is None:
                from sovgate.pipeline.named_roots import named_by_root

                try:
                    found.append(named_by_root(entry, self.base))
                except SovgateError as error:
                    kind = "certificate" if entry.keyless is None else "keyless"
                    raise self._placed(error, f"trust.{index}.{kind}") from error
                continue
            if is_placeholder(str(entry.key)) and not former:
                self._passed_over(f"the key of {entry.name}, under trust,")
                continue
            key = self.pinned(str(entry.key), f"trust.{index}.key", entry.zone)
            found.append(Trusted(name=entry.name, key=key, may=entry.may, zone=entry.zone))
        return found

    @property
    def set_aside(self) -> Mapping[str, tuple[str, str]]:
        """SHA-256 of records that bind this project no longer -> why, and the line that says so."""
        return {
            one.record: (one.reason, _line(self.config.where(f"set-aside.{index}")))
            for index, one in enumerate(self.config.policy.set_aside)
        }

    @cached_property
    def _datasets(self) -> Mapping[str, DatasetFacts]:
        return {name: self._dataset(name) for name in self.config.datasets}

    def datasets(self) -> Mapping[str, DatasetFacts]:
        """The declared data sets with their manifests read."""
        return self._datasets

    def _dataset(self, name: str) -> DatasetFacts:
        declared = self.config.datasets[name]
        manifest = digest = None
        if declared.manifest is not None:
            path = self.base / declared.manifest
            try:
                data = read_bounded(path, most=datasets.MAX_BYTES, what="dataset manifest")
            except SovgateError as error:
                raise self._placed(error, f"datasets.{name}.manifest") from error
            manifest = datasets.parse(data, declared.manifest)
            digest = hashlib.sha256(data).hexdigest()
        demands = []
        if declared.stays_in is not None or self._says_null(name) or manifest is None:
            where = self.config.where(f"datasets.{name}.stays-in")
            demands.append(Demand(places=declared.stays_in, where=_line(where)))
        if manifest is not None:
            demands.append(Demand(places=manifest.stays_in, where=_line(manifest.where)))
        return DatasetFacts(
            name=name,
            category=both_categories(declared.category, manifest.category if manifest else None),
            demands=tuple(demand for demand in demands if demand.places != ()),
            lifts=declared.lifts,
            pointer=manifest.pointer if manifest else None,
            manifest_sha256=digest,
            commitment=manifest.commitment.value if manifest and manifest.commitment else None,
        )

    def _says_null(self, name: str) -> bool:
        """`stays-in: null` in the project file is a word (unknown); leaving it out is none."""
        written = self.config.document.value["datasets"][name]
        return "stays-in" in written and written["stays-in"] is None


def _line(where: Where) -> str:
    """Without the column: people look for a line."""
    return f"{where.path}:{where.line}" if where.line else where.path


def nearest_project(folder: Path | None) -> Project | None:
    """The project named, or found; None where none was named, and none of ours is found.

    For commands that can do without. What one that does not read would have told is not known, and
    that is refused: ConfigError.
    """
    try:
        return open_project(folder)
    except ConfigError as error:
        if folder is None and error.reason in ("no-project", "project-owner"):
            return None
        raise


def open_project(folder: Path | None) -> Project:
    """Find and read `sovgate.yaml`; opens nothing that it names. Raises ConfigError, UsageError."""
    path = configuration.find(folder)
    return Project(configuration.read(path), above=folder is None and path.parent != Path())
