"""Where a transit key is, and how one logs in there: what its URI and settings say. Asks nobody.

RULES 36: the environment chooses no server, namespace or mount; one that it names and that is
another ends with ConfigError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from sovgate import key_settings
from sovgate.errors import DOCS, ConfigError
from sovgate.transport.client import origin
from sovgate.uri import Uri

PAGE = f"{DOCS}/vault.md"
#: As Vault and OpenBao take a key's name, and cosign's URIs with them.
_NAME = re.compile(r"\w([\w.-]{0,126}\w)?", re.ASCII)
#: Mounts that are no transit engine's, below any namespace, and no name of a namespace.
_NOT_MOUNTS = frozenset({"sys", "auth", "identity", "cubbyhole"})
#: How one logs in, and where that is mounted if nothing else is said.
LOGINS = {"token": "", "approle": "approle", "kubernetes": "kubernetes", "jwt": "jwt"}


@dataclass(frozen=True, kw_only=True)
class Login:
    """How this process gets a token.

    how       "approle", "kubernetes", "jwt"; "token": from the environment alone; None: not said
    mount     where that way to log in is mounted; namespace: in which namespace
    role      of Kubernetes and JWT; audience: for whom a job's own token is made
    profile   what stands before the names of the variables with credentials: "EU_", or nothing
    """

    scheme: str
    how: str | None
    mount: str
    namespace: str
    role: str | None
    audience: str
    profile: str

    def variables(self, name: str) -> tuple[str, ...]:
        """The environment variables that hold this credential: the first that is set counts."""
        tools = ("BAO", "VAULT") if self.scheme == "openbao" else ("VAULT",)
        return tuple(f"{self.profile}{tool}_{name}" for tool in tools)


@dataclass(frozen=True, kw_only=True)
class Place:
    """`address` as an origin, "https://bao.example.eu:8200"; `namespace` "team/ml", or "" for the
    root. `version` is what the project pins; None: the latest."""

    address: str
    namespace: str
    mount: str
    key: str
    version: int | None
    login: Login

    @property
    def canonical(self) -> str:
        """One spelling of the key: a namespace is the beginning of its path, and no more."""
        path = "/".join(part for part in (self.namespace, self.mount, self.key) if part)
        return f"transit:{self.address}/{path}"

    @property
    def tool(self) -> str:
        """The program with which its operators do what a message asks of them."""
        return "bao" if self.login.scheme == "openbao" else "vault"

    @property
    def any_key(self) -> Place:
        """The same for all keys there: a login is for the server, not for one of them."""
        return replace(self, mount="", key="", version=None)

    def path(self, operation: str) -> str:
        """`sign` -> "transit/sign/churn", the path that a policy names."""
        return f"{self.mount}/{operation}/{self.key}"


def located(uri: Uri) -> Place:
    """Raises ConfigError, "bad-uri", "no-address", "bad-endpoint"."""
    name, said = key_settings.split(uri)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{uri.text[:200]!r} names no transit key",
            why="after :// stands the key's name alone, of letters, digits, _, . and -",
            fix=f"write {uri.scheme}://NAME, and address, mount and namespace beside it",
            reason="bad-uri",
        )
    if "address" not in said:
        raise _no_address(uri)
    address = origin(said["address"], what="key")
    parts = urlsplit(address)
    if parts.port in ({"https": 443, "http": 80}[parts.scheme], None):
        address = f"{parts.scheme}://{parts.netloc.removesuffix(f':{parts.port}')}"
    namespace = _path("namespace", said.get("namespace", ""), uri)
    return Place(
        address=address,
        namespace="" if namespace == "root" else namespace,
        mount=_path("mount", said.get("mount", "transit"), uri),
        key=name,
        version=int(said["version"]) if "version" in said else None,
        login=_login(uri, said, address, namespace),
    )


def _login(uri: Uri, said: dict[str, str], address: str, namespace: str) -> Login:
    how = said.get("login")
    if how in ("kubernetes", "jwt") and "role" not in said:
        raise ConfigError(
            f"the key {uri.text[:200]!r} names no role to log in with",
            why=f"a login by {how} is for a role of the server",
            fix="write role: NAME beside the key",
            reason="bad-uri",
        )
    profile = said.get("profile", "")
    return Login(
        scheme=uri.scheme,
        how=how,
        mount=_path("login-mount", said.get("login-mount", LOGINS[how or "approle"]), uri),
        namespace=_path("login-namespace", said.get("login-namespace", namespace), uri),
        role=said.get("role"),
        audience=said.get("audience", address),
        profile=f"{profile.upper().replace('-', '_')}_" if profile else "",
    )


def _path(setting: str, text: str, uri: Uri) -> str:
    """Segments that lead where they say. The settings' own pattern bounds their characters."""
    segments = text.strip("/").split("/") if text.strip("/") else []
    wrong = any(segment in ("", ".", "..") for segment in segments)
    # The beginning of a mount may be a namespace, and its engines have these names too.
    if setting != "login-mount" and not _NOT_MOUNTS.isdisjoint(segments):
        wrong = True
    if wrong or (setting == "mount" and not segments):
        raise ConfigError(
            f"{setting} of the key {uri.text[:200]!r} is not a path to one",
            fix=f"write {setting} as NAME or NAME/NAME",
            reason="bad-uri",
        )
    return "/".join(segments)


def _no_address(uri: Uri) -> ConfigError:
    """With what a variable says, to be copied by a person who means it."""
    found = next(_named_addresses(uri.scheme), None)
    return ConfigError(
        f"the key {uri.text[:200]!r} does not say at which server it is",
        why="an address comes from sovgate.yaml or the URI alone"
        + (f"; {found[0]} is set, and not used" if found else ""),
        fix=f"write address: {found[1] if found else 'https://HOST[:PORT]'} beside the key, or "
        f"{uri.scheme}://NAME?address={found[1] if found else 'https://HOST[:PORT]'}",
        reason="no-address",
    )


def _named_addresses(scheme: str) -> Iterator[tuple[str, str]]:
    for variable in _tools("ADDR", scheme):
        try:
            said = os.environ.get(variable, "").strip()
            if said:
                yield variable, origin(said, what="key")
        except ConfigError:
            continue


def _tools(name: str, login_of: str, profile: str = "") -> tuple[str, ...]:
    """The variable that the scheme's own program would take: `bao` looks at Vault's second."""
    ours, theirs = f"{profile}BAO_{name}", f"{profile}VAULT_{name}"
    return (ours,) if login_of == "openbao" and os.environ.get(ours) else (theirs,)


def refuse_elsewhere(at: Place, uri: Uri) -> None:
    """Raises ConfigError, "address-elsewhere", where the environment says another place.

    A profile has variables of its own: those without are of another server.
    """
    login = at.login
    for name, value, refuse in (
        ("ADDR", at.address, key_settings.refuse_other_address),
        # Before ADDR: where their programs find a local agent.
        ("AGENT_ADDR", at.address, key_settings.refuse_other_address),
        ("NAMESPACE", at.namespace or "root", _refuse_other_namespace),
    ):
        refuse(value, *_tools(name, login.scheme, login.profile), key=uri.text)
    if not login.profile:
        key_settings.refuse_other(at.mount, "TRANSIT_SECRET_ENGINE_PATH", key=uri.text)


def _refuse_other_namespace(value: str, variable: str, *, key: str) -> None:
    """The root namespace has two names: nothing, and `root`."""
    if value != "root" or os.environ.get(variable, "").strip().strip("/") != "root":
        key_settings.refuse_other("" if value == "root" else value, variable, key=key)
