"""What a keyless signer's URI says: which instance, which trusted root, how one logs in.

Reads the two files; asks nobody. `sigstore:SIGNING_CONFIG?trusted-root=FILE`, or in words the
public instance. RULES 36: no variable names either.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from sovgate import key_settings, notices
from sovgate.errors import DOCS, ConfigError, Malformed
from sovgate.files import read_bounded
from sovgate.formats.keyless import root, services
from sovgate.transport.client import origin
from sovgate.uri import Uri, split_url

PAGE = f"{DOCS}/keyless.md#sign"
#: Whoever wants the public log has to write this.
PUBLIC = "public-good-instance"
_PUBLIC_HOSTS = (".sigstore.dev", ".sigstage.dev")
_STORE = "_store/https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"


@dataclass(frozen=True, kw_only=True)
class Place:
    """`config` and `root` are read and not verified: what they name is what the user named.

    public      whether it is Sigstore's public instance, which was asked for in words
    login       "github", "gcp", "token" (a variable or its file); None: not said
    token_file  the file of a token that another program keeps fresh there
    identity    the certificate's name, where the claims do not tell it
    """

    name: str
    public: bool
    config: services.SigningConfig
    root: root.TrustedRoot
    audience: str
    login: str | None
    token_file: Path | None
    identity: str | None


def located(uri: Uri, base: Path) -> Place:
    """Raises ConfigError, UsageError (no such file)."""
    name, said = key_settings.split(uri)
    public = name == PUBLIC
    if "trusted-root" not in said and not public:
        raise ConfigError(
            f"the signer {uri.text[:200]!r} names no trusted root",
            why="what the instance answers is verified before anything is written, and there is no "
            "default for whom to believe",
            fix=f"write ?trusted-root=FILE after it ({PAGE})",
            reason="no-trusted-root",
        )
    if "token-file" in said and "login" in said:
        raise ConfigError(
            f"the signer {uri.text[:200]!r} names a token-file and a login",
            why="which of them says who signs is not guessed",
            fix="leave one of them",
            reason="bad-uri",
        )
    config = _shipped("signing_config.v0.2.json") if public else base / name
    if "trusted-root" in said:
        trusted = base / said["trusted-root"]
    else:
        trusted = _shipped("trusted_root.json")
    try:
        services_of, believed = _read(config, trusted)
    except Malformed as error:
        raise ConfigError(error.what, why=error.why, fix=error.fix, reason=error.reason) from error
    place = Place(
        name=uri.text.partition("?")[0],
        public=public,
        config=services_of,
        root=believed,
        audience=said.get("audience", "sigstore"),
        login="file" if "token-file" in said else said.get("login"),
        token_file=base / said["token-file"] if "token-file" in said else None,
        identity=said.get("identity"),
    )
    if public:
        whole = any(one.version == 1 for one in place.config.logs)
        notices.note(
            "this is Sigstore's public instance: who signs, what digest and when will stand in a "
            "public log for ever"
            + (", and its operators are sent all that is signed, with names of files" * whole)
        )
    return place


def _read(config: Path, trusted: Path) -> tuple[services.SigningConfig, root.TrustedRoot]:
    """What a person wrote or copied here. Raises UsageError (no such file), Malformed."""
    what = "signing config of Sigstore"
    made = services.parse(read_bounded(config, most=services.MAX_BYTES, what=what))
    believed = root.parse(read_bounded(trusted, most=root.MAX_BYTES, what="trusted root"))
    root.require_readable(believed)
    return made, believed


def address(service: services.Service, *, public: bool) -> tuple[str, str]:
    """(origin, path) of a service. Raises ConfigError: "bad-endpoint", "public-log"."""
    found = split_url(service.url)
    if found is None or set(service.url) & {"?", "#"}:
        raise ConfigError(
            "the signing config does not name a service by its address",
            why="it is no URL, or has a query",
            fix="write https://HOST[:PORT][/PATH] there",
            reason="bad-endpoint",
        )
    parts, host, _ = found
    there = origin(service.url.removesuffix(parts.path), what="Sigstore service")
    if f".{host}".endswith(_PUBLIC_HOSTS) and not public:
        raise ConfigError(
            f"the signing config names {host}, which is Sigstore's public instance",
            why="what is signed there, by whom and when stands in a public log for ever",
            fix=f"if that is meant, say it: --key sigstore:{PUBLIC}; else name the signing config "
            "of your own instance",
            reason="public-log",
        )
    return there, parts.path


def _shipped(name: str) -> Path:
    """A file of the public instance in the package sigstore, as old as that. It is not fetched."""
    return require_library().parent / _STORE / name


def require_library() -> Path:
    """Its first file; nothing is imported. Raises ConfigError, "missing-package"."""
    found = importlib.util.find_spec("sigstore")
    if found is None or found.origin is None:
        raise ConfigError(
            "a keyless signature needs a package that is not installed",
            why="sigstore is not there",
            fix="pip install 'sovgate[sigstore]'",
            reason="missing-package",
        )
    return Path(found.origin)
