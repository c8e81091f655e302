"""Each kind of key: its adapter has all its functions, and all that lists schemes knows it."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from sovgate import key_settings
from sovgate.keys.registry import SCHEMES
from sovgate.surface import launch
from sovgate.uri import WITHOUT_ADAPTER
from tests.conformance.keys import ADAPTERS

ROOT = Path(__file__).resolve().parents[2]
#: Who imports a vendor's library, and may do so only where a key is opened.
LIBRARIES = ("boto3", "botocore", "grpc", "google.cloud", "google.auth", "pkcs11", "azure")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_adapter_has_what_the_registry_asks_of_it(scheme: str) -> None:
    module = importlib.import_module(SCHEMES[scheme])
    for name in ("public_key", "signer", "recipient", "identity", "canonical"):
        parameters = list(inspect.signature(getattr(module, name)).parameters)
        assert parameters == ["uri", "base", "region"], name
    assert scheme not in WITHOUT_ADAPTER


@pytest.mark.parametrize("scheme", SCHEMES)
def test_whoever_lists_schemes_knows_each(scheme: str) -> None:
    for page in ("README.md", "docs/keys.md", "docs/works-with.md"):
        assert (scheme if page != "README.md" else "keys: ") in (ROOT / page).read_text("utf-8")
    assert any(scheme in name or SCHEMES[scheme].rpartition(".")[2] in name for name in ADAPTERS)
    extra = launch.EXTRAS.get(scheme)
    assert extra is None or (ROOT / "requirements" / f"{extra}.txt").is_file()
    assert scheme == "file" or key_settings.SETTINGS.get(scheme), "its service has an address"


@pytest.mark.parametrize("module", sorted(set(SCHEMES.values())))
def test_an_adapter_imports_no_library_before_a_key_is_opened(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        f"print(*[n for n in {LIBRARIES!r} if n in sys.modules], *('cryptography' in sys.modules,))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
