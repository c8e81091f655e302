"""Fixtures that any test may ask for: one a real component, found by tests/components.py.

`def test_peer_verifies(model_signing)` runs against it, or skips with the reason why it cannot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import hypothesis
import pytest

from tests import components, pace, servers

T = TypeVar("T")

# A deadline on a machine that runs other things is a coin toss.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
hypothesis.settings.load_profile("house")

# What the developer's shell says to sovgate must not reach the tests.
for _name in [name for name in os.environ if name.startswith("SOVGATE_")]:
    if _name != "SOVGATE_REQUIRE_ALL":
        del os.environ[_name]

# Every command that a test starts would compile all that it imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Nor what it says to AWS's SDK. The services on this machine take these credentials.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "testtest",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with pace.watched(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with pace.watched(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with pace.watched(item.nodeid):
        return (yield)


def pytest_sessionfinish() -> None:
    servers.stop_all()


def _found(find: Callable[[], T]) -> T:
    try:
        return find()
    except components.MissingError as error:
        components.absent(error)


@pytest.fixture(scope="session")
def act() -> Path:
    """nektos/act, which runs workflows here; start it with `-P ubuntu-latest=-self-hosted`."""
    return _found(lambda: components.program("act", get="make venv"))


@pytest.fixture(scope="session")
def zizmor() -> Path:
    """Audits actions and workflows; start it with `--offline`."""
    return _found(lambda: components.program("zizmor", get="make venv"))


@pytest.fixture(scope="session")
def jactionlint() -> Path:
    """Checks workflow files."""
    return _found(lambda: components.program("jactionlint", get="make venv"))


@pytest.fixture(scope="session")
def check_jsonschema() -> Path:
    """Checks against vendored schemas, `vendor.github-actions` among them."""
    return _found(lambda: components.program("check-jsonschema", get="make venv"))


@pytest.fixture(scope="session")
def tekton_lint() -> Path:
    """Lints Tekton's files: one call with everything that refers to each other."""
    return _found(components.tekton_lint)


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """Renders overlays: `kubectl kustomize`."""
    return _found(lambda: components.program("kubectl", get="install kubectl"))


@pytest.fixture(scope="session")
def age() -> Path:
    """age, from PATH or Debian's package."""
    return _found(lambda: components.program("age"))


@pytest.fixture(scope="session")
def model_signing() -> components.ModelSigning:
    """OpenSSF model_signing: `.cli` and the `.python` that can import it."""
    return _found(components.model_signing)


@pytest.fixture(scope="session")
def opa() -> ModuleType:
    """The module `opa_bindings`: real OPA, `OpaEngine().add_policy(…)`."""
    return _found(components.opa)


@pytest.fixture(scope="session")
def tink() -> ModuleType:
    """The module `tink`, streaming AEAD registered."""
    return _found(components.tink)


@pytest.fixture(scope="session")
def tekton_crds() -> Path:
    """The folder of Tekton's CRD schemas that TEKTON_CRDS names."""
    return _found(components.tekton_crds)


@pytest.fixture(scope="session")
def ministack() -> str:
    """URL of a server of KMS and S3 that checks sums."""
    return _found(servers.ministack)


@pytest.fixture(scope="session")
def moto() -> str:
    """URL of a server of KMS and S3 that knows all partitions and locations."""
    return _found(servers.moto)


@pytest.fixture(scope="session")
def seaweedfs() -> str:
    """URL of a real object store."""
    return _found(servers.seaweedfs)
