"""Fixtures that any test may ask for: one a real component, found by tests/components.py.

`def test_peer_verifies(model_signing)` runs against it, or skips with the reason why it cannot.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

from tests import components, effort, forked, pace, servers, summary


def _examples(count: int) -> None:
    """How properties are tried, but for those that say more themselves."""
    hypothesis.settings.register_profile(
        "house",
        max_examples=count,
        # On a busy machine a deadline, or a check that data is drawn fast, is a coin toss.
        deadline=None,
        print_blob=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("house")


# Under nohup, or behind a shell's &, these are ignored here and in all that a test starts.
for _signal, _usual in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _usual)

# What the developer's shell says to sovgate must not reach the tests.
for _name in [name for name in os.environ if name.startswith("SOVGATE_")]:
    if _name != "SOVGATE_REQUIRE_ALL":
        del os.environ[_name]

# Every command that a test starts would compile all that it imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Keys of pushes that a test lets fail are kept where no other run finds them.
_STATE = tempfile.mkdtemp(prefix="sovgate-state-")
os.environ["XDG_STATE_HOME"] = _STATE

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
for _name in [name for name in os.environ if name.startswith(("BAO_", "VAULT_"))]:
    del os.environ[_name]
os.environ |= {"BAO_TOKEN": servers.BAO_ROOT, "VAULT_TOKEN": servers.BAO_ROOT}


# To wait for the disk, some twenty times a test, is a quarter of the time of all tests. No test
# looks for what a power cut leaves; what a kill leaves is in memory with or without it, and those
# tests have processes of their own.
def _fsync(descriptor: int) -> None:
    os.fstat(descriptor)  # one that is closed is still an error


os.fsync = _fsync


#: Where the run began.
_HERE = Path.cwd()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", metavar="FILE", help="write times and skipped tests to a file")
    parser.addoption("--some", action="store_true", help="a part of what is exhaustive")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--some"):
        effort.do_some()
    _examples(effort.examples())
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(summary.Worker(config))
    else:
        config.pluginmanager.register(summary.Plugin(config.getoption("--report")))


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
        done = yield
    if Path.cwd() != _HERE:
        os.chdir(_HERE)
        raise AssertionError("it leaves its worker in another folder; use monkeypatch.chdir")
    return done


def pytest_collection_finish() -> None:
    """The tests themselves are no garbage: nobody need look at them again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    servers.stop_all()
    forked.stop_all()
    shutil.rmtree(_STATE, ignore_errors=True)


@pytest.fixture(scope="session")
def act() -> Path:
    """nektos/act, which runs workflows here; start it with `-P ubuntu-latest=-self-hosted`."""
    return components.found(components.program, "act", get="make venv")


@pytest.fixture(scope="session")
def zizmor() -> Path:
    """Audits actions and workflows; start it with `--offline`."""
    return components.found(components.program, "zizmor", get="make venv")


@pytest.fixture(scope="session")
def jactionlint() -> Path:
    """Checks workflow files."""
    return components.found(components.program, "jactionlint", get="make venv")


@pytest.fixture(scope="session")
def check_jsonschema() -> Path:
    """Checks against vendored schemas, `vendor.github-actions` among them."""
    return components.found(components.program, "check-jsonschema", get="make venv")


@pytest.fixture(scope="session")
def tekton_lint() -> Path:
    """Lints Tekton's files: one call with everything that refers to each other."""
    return components.found(components.tekton_lint)


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """Renders overlays: `kubectl kustomize`."""
    return components.found(components.program, "kubectl", get="see kubernetes.io/docs/tasks/tools")


@pytest.fixture(scope="session")
def age() -> Path:
    """age, from PATH or Debian's package."""
    return components.found(components.program, "age", get="scripts/peer age")


@pytest.fixture(scope="session")
def model_signing() -> components.ModelSigning:
    """OpenSSF model_signing: `.cli` and the `.python` that can import it."""
    return components.found(components.model_signing)


@pytest.fixture(scope="session")
def opa() -> ModuleType:
    """The module `opa_bindings`: real OPA, `OpaEngine().add_policy(…)`."""
    return components.found(components.opa)


@pytest.fixture(scope="session")
def tink() -> ModuleType:
    """The module `tink`, streaming AEAD registered."""
    return components.found(components.tink)


@pytest.fixture(scope="session")
def tekton_crds() -> Path:
    """The folder of Tekton's CRD schemas that TEKTON_CRDS names."""
    return components.found(components.tekton_crds)


@pytest.fixture(scope="session")
def oms_cases() -> Path:
    """The folder of the public cases of OMS."""
    return components.found(components.oms_cases)


@pytest.fixture(scope="session")
def ministack() -> str:
    """URL of a server of KMS and S3 that checks sums."""
    return components.found(servers.ministack)


@pytest.fixture(scope="session")
def moto() -> str:
    """URL of a server of KMS and S3 that knows all partitions and locations."""
    return components.found(servers.moto)


@pytest.fixture(scope="session")
def openbao() -> str:
    """URL of a real OpenBao."""
    return components.found(servers.openbao)


@pytest.fixture(scope="session")
def seaweedfs() -> str:
    """URL of a real object store."""
    return components.found(servers.seaweedfs)
