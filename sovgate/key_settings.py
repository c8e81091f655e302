"""What may stand beside a key: address, mount, namespace, … of the service that has it.

Ground floor: no I/O but os.environ. A setting is an option of the key's URI (`?address=…&mount=…`),
and sovgate.yaml takes it in a mapping too: `{key: URI, address: …, mount: …}`. RULES 36: what the
environment says of an address is compared with it, and never used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote

from sovgate.errors import ConfigError
from sovgate.uri import Uri, a_key, split_url

#: Options of one URI. Nobody needs more.
MAX_SETTINGS = 16


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`pattern` fits the whole value; `form` says in words what it is, `says` what it is for.

    `number`: sovgate.yaml takes it without quotes too.
    """

    pattern: str
    form: str
    says: str
    number: bool = False


_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_PORT = (
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
)
_PATH = r"[^\x00-\x1f\x7f]{1,1024}"
#: Plain text stays on this machine. What a loopback address is, `uri.is_loopback` says too.
ADDRESS = Setting(
    pattern=rf"(https://({_HOST}|\[[0-9a-f:]{{2,39}}\])|"
    rf"http://(localhost|127(\.[0-9]{{1,3}}){{3}}|\[::1\])){_PORT}/?",
    form="https://HOST[:PORT]",
    says="Where the service is. `http://` is for this machine alone.",
)

_TRANSIT = {
    "address": ADDRESS,
    "mount": Setting(
        pattern=r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,250}",
        form="a path, as in transit or team/transit",
        says="Where the transit engine is mounted. Default: transit.",
    ),
    "namespace": Setting(
        pattern=r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,250}",
        form="a path, as in team/ml",
        says="The namespace of the key. Default: the root.",
    ),
    "version": Setting(
        pattern=r"[1-9][0-9]{0,5}",
        form="a number from 1",
        says="The version of the key that signs and wraps. Default: the latest.",
        number=True,
    ),
    "login": Setting(
        pattern=r"token|approle|kubernetes|jwt",
        form="token, approle, kubernetes or jwt",
        says="How one logs in where the environment holds no token.",
    ),
    "login-mount": Setting(
        pattern=r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,250}",
        form="a path, as in kubernetes",
        says="Where that login is mounted. Default: its own name.",
    ),
    "login-namespace": Setting(
        pattern=r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,250}",
        form="a path, as in team",
        says="The namespace of the login. Default: that of the key.",
    ),
    "role": Setting(
        pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
        form="a role's name",
        says="The role of a login by Kubernetes or JWT.",
    ),
    "audience": Setting(
        pattern=r"[!-~]{1,250}",
        form="text without spaces",
        says="For whom a job's own token is made. Default: the address.",
    ),
    "profile": Setting(
        pattern=r"[A-Za-z][A-Za-z0-9_-]{0,31}",
        form="a word, as in eu",
        says="What stands before the variables with credentials: eu reads EU_BAO_TOKEN.",
    ),
}

PROTECTION = Setting(
    pattern=r"hsm", form="hsm", says="How the service must keep the key: `hsm`, or it is refused."
)

#: URI scheme -> the settings that its keys may have, in the order in which they are written.
SETTINGS: dict[str, dict[str, Setting]] = {
    "awskms": {
        "region": Setting(
            pattern=r"[a-z0-9-]{1,40}:[a-z0-9-]{1,64}",
            form="PROVIDER:REGION",
            says="Where the key is, if neither an ARN nor the zone says so.",
        ),
        "account": Setting(
            pattern=r"[0-9]{12}", form="twelve digits", says="The account that has the key."
        ),
        "profile": Setting(
            pattern=r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
            form="a profile of ~/.aws/config",
            says="Whose credentials are used.",
        ),
    },
    "hashivault": _TRANSIT,
    "openbao": _TRANSIT,
    "azurekms": {
        "address": ADDRESS,
        "suffix": Setting(
            pattern=r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){1,7}",
            form="a domain, such as vault.local.azurestack.external",
            says="The domain of the vaults of a cloud that the catalogue lacks.",
        ),
        "protection": PROTECTION,
    },
    "gcpkms": {
        "universe": Setting(
            pattern=r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){1,5}",
            form="a domain, such as s3nsapis.fr",
            says="The universe of the key, if no zone says so.",
        ),
        "address": ADDRESS,
        "protection": PROTECTION,
    },
    # Of RFC 7512 module-path and pin-source; the rest is ours. `formats.pkcs11uri` reads them.
    "pkcs11": {
        "module-path": Setting(
            pattern=r"/[^\x00-\x1f\x7f]{1,1023}",
            form="an absolute path",
            says="The PKCS#11 module of the HSM: native code, which gets the PIN.",
        ),
        "module-sha256": Setting(
            pattern=r"[0-9a-f]{64}",
            form="64 hex digits",
            says="The module's SHA-256; another one is not loaded.",
        ),
        "module-variable": Setting(
            pattern=r"[A-Za-z_][A-Za-z0-9_]{0,63}=[^\x00-\x1f\x7f]{1,1024}",
            form="NAME=VALUE",
            says="The one environment variable that the module gets, as its manual names it.",
        ),
        "pin-source": Setting(
            pattern=r"file:/[^\x00-\x1f\x7f]{1,1023}",
            form="file:/PATH",
            says="The file that holds the PIN. Without it: SOVGATE_PIN.",
        ),
        "public-key": Setting(
            pattern=r"[^\x00-\x1f\x7f]{1,1024}",
            form="the path of a PEM file",
            says="The key's public half, where the token does not have it; else it is compared.",
        ),
    },
}

#: Of what signs and is no key: it has a new one each time. No project file names it as one.
OPTIONS: dict[str, dict[str, Setting]] = SETTINGS | {
    "sigstore": {
        "trusted-root": Setting(
            pattern=_PATH,
            form="the path of a file",
            says="The instance's trusted root, by which its answers are verified.",
        ),
        "login": Setting(
            pattern=r"token|github|gcp",
            form="token, github or gcp",
            says="Who gives the identity token, where it is in no file.",
        ),
        "token-file": Setting(
            pattern=_PATH,
            form="the path of a file",
            says="The file in which another program keeps the identity token.",
        ),
        "audience": Setting(
            pattern=r"[!-~]{1,250}",
            form="text without spaces",
            says="For whom the identity token is. Default: sigstore.",
        ),
        "identity": Setting(
            pattern=r"[^\x00-\x1f\x7f]{1,512}",
            form="the certificate's name",
            says="The name in the certificate, where the instance makes one of its own.",
        ),
    }
}


def split(uri: Uri) -> tuple[str, dict[str, str]]:
    """The rest of a key's URI before `?`, and its settings. Raises ConfigError, "bad-uri"."""
    rest, mark, query = uri.rest.partition("?")
    if not mark:
        return rest, {}
    known = OPTIONS.get(uri.scheme, {})
    names = ", ".join(known) or "none"
    try:
        # A plus is a plus: only %20 is a space (RFC 3986).
        pairs = parse_qsl(
            (query or "?").replace("+", "%2B"),
            # An empty value is refused by its form: `protection=` is not "no protection asked for".
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=MAX_SETTINGS,
        )
    except ValueError as error:
        raise ConfigError(
            "what follows ? in the key URI is not name=value",
            fix=f"write ?NAME=VALUE; the settings of {a_key(uri.scheme)} are {names}",
            reason="bad-uri",
        ) from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ConfigError(
            "the key URI has a setting twice",
            fix=f"the settings of {a_key(uri.scheme)} are {names}, each once",
            reason="bad-uri",
        )
    for name, value in pairs:
        check(uri.scheme, name, value)
    return rest, found


def check(scheme: str, name: str, value: str) -> None:
    """Raises ConfigError, "bad-uri": a setting that such a key lacks, or a value of another form.

    The value is not repeated: it may be a secret that was put in the wrong place.
    """
    known = OPTIONS.get(scheme, {})
    if name not in known:
        names = ", ".join(known)
        raise ConfigError(
            f"{a_key(scheme)} has no setting {name[:40]!r}",
            fix=f"its settings are {names}" if names else "remove it; such a key has none",
            reason="bad-uri",
        )
    if not re.fullmatch(known[name].pattern, value, re.ASCII):
        raise ConfigError(
            f"{name} of {a_key(scheme)} is not {known[name].form}",
            fix=f"write {name} as {known[name].form}",
            reason="bad-uri",
        )
    if known[name] is ADDRESS and split_url(value) is None:
        raise ConfigError(
            f"{name} is not {ADDRESS.form}",
            fix="write the host by its name, or its address whole: 10.0.0.1, [2001:db8::1]",
            reason="bad-uri",
        )


def require_lasting(uri: Uri) -> None:
    """A project file names keys that stay. Raises ConfigError, "unsupported-key-use"."""
    if uri.scheme == "sigstore":
        raise ConfigError(
            "a keyless signer cannot stand where a key belongs",
            why="it has a new key each time, and what a zone says of itself is verified by one key",
            fix="name a key here, and the keyless signer with --key for what is signed beside a "
            "model; to believe one, write keyless: under its entry of trust",
            reason="unsupported-key-use",
        )


def secret_file(uri: Uri) -> Path | None:
    """The file that a key's URI names for the secret that opens it; None where it names none."""
    if uri.scheme != "pkcs11":
        return None
    named = split(uri)[1].get("pin-source")
    return None if named is None else Path(named.removeprefix("file:"))


#: Schemes whose settings load code: only a project file may name it, and no argument or variable.
LOADS_CODE = ("pkcs11",)
_VOUCHED: dict[str, dict[str, Path]] = {scheme: {} for scheme in LOADS_CODE}


def require_readable(uri: Uri) -> None:
    """Of such a URI, its settings, while the line is at hand that it stands in. ConfigError."""
    if uri.scheme in LOADS_CODE:
        split(uri)


def vouch(uri: Uri, folder: Path) -> None:
    """For each key that the project file in `folder` names.

    What such a URI says of code is believed from now on in this process, and no other code is.
    """
    if uri.scheme in LOADS_CODE:
        _VOUCHED[uri.scheme][uri.text] = folder.absolute()


def vouched(scheme: str) -> dict[str, Path]:
    """URIs of keys that project files named, in the order in which they were read -> the folder of
    that file."""
    return dict(_VOUCHED[scheme])


#: Settings by which a key is another key; the others say how one gets at it.
_WHERE = frozenset(
    ("account", "address", "mount", "namespace", "region", "suffix", "universe", "version")
)


def placed(uri: Uri) -> str:
    """The URI with what says where the key is, and without how one logs in there, for others to
    read. Raises ConfigError, "bad-uri"."""
    if uri.scheme == "file":
        return f"file:{uri.rest}"
    _, settings = split(uri)
    kept = {name: value for name, value in settings.items() if name in _WHERE}
    return joined(uri.text.partition("?")[0], kept)


def joined(text: str, settings: Mapping[str, str]) -> str:
    """The URI with these settings as its options. It says none of them itself."""
    if not settings:
        return text
    written = "&".join(
        f"{name}={quote(value, safe='/:@,._~-')}" for name, value in settings.items()
    )
    return f"{text}{'&' if '?' in text else '?'}{written}"


def refuse_other_address(address: str, *variables: str, key: str) -> None:
    """Raises ConfigError, "address-elsewhere": one of these environment variables names another.

    The programs of that service would go there; a key is asked at the place that the project names
    and at no other (RULES 36), and a person who set the variable learns that it is not used.
    """
    for name in variables:
        said = os.environ.get(name, "").strip()
        if said and _origin(said) != _origin(address):
            raise _elsewhere(name, said, address, key)


def refuse_other(value: str, *variables: str, key: str) -> None:
    """The same for what is no address: a namespace, a universe."""
    for name in variables:
        said = os.environ.get(name, "").strip()
        if said and said.strip("/") != value.strip("/"):
            raise _elsewhere(name, said, value, key)


def _elsewhere(name: str, said: str, value: str, key: str) -> ConfigError:
    shown = repr(said[:120]) if "@" not in said and said.isprintable() else "something else"
    return ConfigError(
        f"{name} contradicts the key {key[:200]}",
        why=f"it says {shown}, and the key is asked at {value[:200]!r}; the environment gives "
        "credentials alone",
        fix=f"unset {name}, or correct the key in sovgate.yaml",
        reason="address-elsewhere",
    )


def _origin(text: str) -> tuple[str, str, int | None] | None:
    found = split_url(text)
    if found is None:
        return None
    parts, host, port = found
    return parts.scheme, host, port or {"http": 80, "https": 443}.get(parts.scheme)
