"""Each kind of key: its adapter has all its functions, and all that lists schemes knows it."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sovgate import key_settings, uri
from sovgate.clouds.aws import environ
from sovgate.clouds.google import credentials as google
from sovgate.errors import KeyServiceError, SovgateError
from sovgate.keys import file
from sovgate.keys._secret import secret
from sovgate.keys.azurekms import vault
from sovgate.keys.pkcs11 import token
from sovgate.keys.registry import SCHEMES, SIGNERS
from sovgate.keys.sigstore import login
from sovgate.keys.transit.login import Tokens
from sovgate.keys.transit.place import located
from sovgate.keys.transit.server import Server
from sovgate.surface import launch
from sovgate.uri import WITHOUT_ADAPTER
from tests.conformance.keys import ADAPTERS

ROOT = Path(__file__).resolve().parents[2]
ALL = {**SCHEMES, **SIGNERS}
#: Schemes that stand without `//`.
BARE = ("pkcs11", "sigstore")
#: Who imports a vendor's library, and may do so only where a key is opened.
LIBRARIES = ("boto3", "botocore", "grpc", "google.cloud", "google.auth", "pkcs11", "azure")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_adapter_has_what_the_registry_asks_of_it(scheme: str) -> None:
    module = importlib.import_module(SCHEMES[scheme])
    for name in ("public_key", "signer", "recipient", "identity", "canonical", "describe"):
        parameters = list(inspect.signature(getattr(module, name)).parameters)
        assert parameters == ["uri", "base", "region"], name
    if scheme != "file":  # which `generate` of the pipeline makes
        parameters = list(inspect.signature(module.generate).parameters)
        assert parameters == ["uri", "base", "region", "wanted"]
    assert scheme not in WITHOUT_ADAPTER


@pytest.mark.parametrize("scheme", SCHEMES)
def test_whoever_lists_schemes_knows_each(scheme: str) -> None:
    for page in ("README.md", "docs/keys.md", "docs/works-with.md"):
        assert (scheme if page != "README.md" else "keys: ") in (ROOT / page).read_text("utf-8")
    assert any(scheme in name or SCHEMES[scheme].rpartition(".")[2] in name for name in ADAPTERS)
    extra = launch.EXTRAS.get(scheme)
    assert extra is None or (ROOT / "requirements" / f"{extra}.txt").is_file()
    assert scheme == "file" or key_settings.SETTINGS.get(scheme), "its service has an address"


# -- what the image and the actions need to open it


def _sources(scheme: str) -> Iterator[Path]:
    """An adapter's files, and those of the vendor that it shares with stores."""
    module = ALL[scheme].replace(".", "/")
    folders = [ROOT / module, *(ROOT / "sovgate/clouds" / name for name in VENDORS.get(scheme, ()))]
    for folder in folders:
        yield from folder.rglob("*.py") if folder.is_dir() else [Path(f"{folder}.py")]


def _libraries(scheme: str) -> set[str]:
    """What is imported there that is neither ours nor Python's: distributions, in small letters."""
    names = set()
    for path in _sources(scheme):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module or "")
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                names |= {str(ast.literal_eval(arg)) for arg in node.args if _is_text(arg)}
            elif isinstance(node, ast.Constant) and str(node.value).startswith("google.cloud.kms"):
                names.add(str(node.value))
    tops = {name.partition(".")[0] for name in names} - {"sovgate"} - set(sys.stdlib_module_names)
    tops = {"google-cloud-kms" if name == "google" else name for name in tops if name}
    known = metadata.packages_distributions()
    return {known.get(name, [name])[0].lower() for name in tops}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _locked(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    return {line.partition("==")[0].lower() for line in text.splitlines() if "==" in line}


@pytest.mark.parametrize("scheme", ALL)
def test_the_actions_and_the_image_have_what_a_key_is_opened_with(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    locks = launch._locks("sign", [f"--key={scheme}:{'' if scheme in BARE else '//'}x"], {})
    available = set().union(*(_locked(lock.stem) for lock in locks))
    assert _libraries(scheme) - available == set(), "an action could not open such a key"
    extra = launch.EXTRAS.get(scheme)
    assert extra is None or extra in _container().EXTRAS, "the image could not open such a key"


@pytest.mark.parametrize("scheme", ALL)
def test_the_project_file_alone_tells_an_action_what_to_install(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = "" if scheme in BARE else "//"
    (tmp_path / "sovgate.yaml").write_text(f'keys: {{sign: "{scheme}:{mark}x"}}\n')
    monkeypatch.chdir(tmp_path)
    named = {lock.stem for lock in launch._locks("sign", [], {})}
    assert named == {"base"} | ({launch.EXTRAS[scheme]} if scheme in launch.EXTRAS else set())


def _container() -> Any:
    spec = importlib.util.spec_from_file_location("container", ROOT / "scripts/container.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the credentials that a step gets


class Recorded(dict[str, str]):
    """An environment without anything in it that keeps what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return default


def _transit(scheme: str) -> None:
    for how in ("token", "approle", "jwt"):
        more = "&role=r" if how == "jwt" else ""
        at = located(
            uri.parse(f"{scheme}://k?address=https://b.example&login={how}{more}", what="key")
        )
        with contextlib.suppress(SovgateError):
            Tokens(Server(at))()
    with contextlib.suppress(SovgateError):  # nothing is said: what the environment has decides
        Tokens(Server(located(uri.parse(f"{scheme}://k?address=https://b.example", what="key"))))()


#: Tokens that a person made, which last an hour: no action puts them there.
BY_PASS_ENV = {
    "GCP_APPLICATION_CREDENTIALS",
    "GCP_ACCESS_TOKEN",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "AZURE_KEYVAULT_TOKEN",
}

#: By which each kind of key finds its credentials; a new kind is listed here too.
CREDENTIALS: dict[str, Callable[[], object]] = {
    "file": lambda: secret("it", file.PASSPHRASE),
    "pkcs11": lambda: secret("it", token.PIN),
    "awskms": lambda: environ.credentials("aws"),
    "gcpkms": lambda: google.tokens("gcp", google.GOOGLE, KeyServiceError),
    "azurekms": lambda: vault._tokens("azure", "AzureCloud", "vault.azure.net"),
    "sigstore": lambda: secret("it", login.VARIABLE),
    "openbao": lambda: _transit("openbao"),
    "hashivault": lambda: _transit("hashivault"),
}


@pytest.mark.parametrize("scheme", ALL)
def test_a_step_gets_the_credentials_of_each_kind_of_key(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the launcher's list, or by pass-env where the kind's page says so."""
    environment = Recorded()
    with monkeypatch.context() as patch, contextlib.suppress(SovgateError):
        patch.setattr(os, "environ", environment)
        CREDENTIALS[scheme]()
    read = {name for name in environment.asked if not name.endswith("_FILE") and name != "CI"}
    assert read, "nothing was asked for"
    others = read - {*launch.CREDENTIALS, *launch.OURS, *launch.RUNNER}
    pages = "".join(
        (ROOT / "docs" / page).read_text("utf-8") for page in (*PAGES[scheme], "actions.md")
    )
    for name, of in (("PROVIDER_", "GCP_"), ("PREFIX_", "AZURE_")):  # as pages write them
        pages = pages.replace(name, of)
    assert others <= BY_PASS_ENV
    for name in others:
        assert not launch._NEVER.match(name), f"pass-env refuses {name}"
        assert name in pages, f"no page says that a step needs {name} in pass-env"


# -- the pages


#: Where each kind of key is described.
PAGES = {
    "file": ("keys.md",),
    "awskms": ("aws.md", "keys.md"),
    "gcpkms": ("gcp-kms.md", "gcs.md"),
    "azurekms": ("azure-key-vault.md", "azure.md"),
    "openbao": ("vault.md",),
    "hashivault": ("vault.md",),
    "pkcs11": ("hsm.md",),
    "sigstore": ("keyless.md",),
}
VENDORS = {"awskms": ("aws",), "gcpkms": ("google",), "azurekms": ("azure",)}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_kind_of_key_has_its_page_and_its_row_in_the_tables(scheme: str) -> None:
    page = PAGES[scheme][0]
    told = (ROOT / "docs" / page).read_text("utf-8")
    assert scheme in told
    keys = (ROOT / "docs/keys.md").read_text("utf-8")
    assert page == "keys.md" or f"({page})" in keys or f"({page}#" in keys
    for section in ("Ask a service about a key", "Make a key in a service", "Who verifies what"):
        made_there = scheme != "file" or not section.startswith("Make")
        assert any(f"`{scheme}`" in row for row in _section(section)) == made_there, section


def _section(name: str) -> list[str]:
    """Rows of the table in a section of docs/keys.md, without its head."""
    keys = (ROOT / "docs/keys.md").read_text("utf-8")
    _, _, rest = keys.partition(f"\n## {name}\n")
    rows = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    assert len(rows) > 2, name
    return rows


def test_each_yes_of_who_verifies_what_is_from_a_test_that_is_there() -> None:
    for row in _section("Who verifies what")[2:]:
        said = row.count("yes") + row.count(" no ")
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named or not said, row
        for path, name in named:
            assert f"def {name}(" in (ROOT / path).read_text("utf-8"), name


@pytest.mark.parametrize("module", sorted(set(SCHEMES.values())))
def test_an_adapter_imports_no_library_before_a_key_is_opened(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        f"print(*[n for n in {LIBRARIES!r} if n in sys.modules], *('cryptography' in sys.modules,))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
