"""A model across a border whose zones keep their keys in tokens, by whole commands.

The source signs in NSS's token, the destination signs and decrypts in SoftHSM's. What is printed,
written and named in process lists is searched for the PIN.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from sovgate.formats.pkcs11uri import escape
from tests import components, tokens
from tests.crossing import Crossing, make_crossing, tree
from tests.forked import SOVGATE
from tests.tokens import PIN, Token

YAML = """\
version: 1
model: churn
zones:
  home:
    region: aws:us-east-1
    keys:
      sign:
        key: {home}
        module-path: {home_module}
        module-variable: "{home_variable}"
      sign-public: keys/home.pub.pem
  eu:
    region: aws-eusc:eusc-de-east-1
    store: eu-store
    keys:
      sign: {{key: "{eu}sign", module-path: {eu_module}, module-variable: "{eu_variable}"}}
      sign-public: keys/eu.pub.pem
      encrypt:
        key: {eu}decrypt
        module-path: {eu_module}
        module-sha256: {digest}
        module-variable: "{eu_variable}"
        pin-source: file:{pin}
      encrypt-public: keys/eu-enc.pub.pem
datasets:
  public: {{category: public, stays-in: []}}
border:
  weights: {{allow: [home -> eu]}}
  metadata: {{allow: [home -> eu]}}
"""


@dataclass(frozen=True, kw_only=True)
class Desk:
    crossing: Crossing
    home: Token
    eu: Token

    def run(self, *words: Any, code: int = 0, pin: str | None = PIN, **more: str) -> str:
        """A command as a process of its own; what it says."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_PIN")}
        given = {**clean, **more, **({"SOVGATE_PIN": pin} if pin is not None else {})}
        done: CompletedProcess[str] = SOVGATE.run(*words, cwd=self.crossing.base, env=given)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert PIN not in said
        return said


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    tmp = tmp_path_factory.mktemp("tokens")
    home = components.found(tokens.nss, tmp / "nss")
    eu = components.found(tokens.softhsm, tmp / "softhsm", "eu")
    home.make({"label": "sign", "kind": "ec-p384"})
    eu.make(
        {"label": "sign", "kind": "ec-p256"},
        {"label": "decrypt", "kind": "ec-p256", "private": {"SIGN": False}},
    )
    pin = tmp / "pin"
    pin.touch(mode=0o600)
    pin.write_text(f"{PIN}\n")
    crossing = make_crossing(tmp / "project")
    for path in [*(crossing.base / "keys").iterdir(), *crossing.base.glob("model.evidence/*")]:
        path.unlink()
    (crossing.base / "sovgate.yaml").write_text(
        YAML.format(
            home=f"pkcs11:token={escape(home.label)};object=sign",
            home_module=home.module,
            home_variable=home.variable(),
            eu="pkcs11:token=eu;object=",
            eu_module=eu.module,
            eu_variable=eu.variable(),
            digest=hashlib.sha256(eu.module.read_bytes()).hexdigest(),
            pin=pin,
        )
    )
    made = Desk(crossing=crossing, home=home, eu=eu)
    for key, out in (
        (f"pkcs11:token={escape(home.label)};object=sign", "home"),
        ("pkcs11:token=eu;object=sign", "eu"),
        ("pkcs11:token=eu;object=decrypt", "eu-enc"),
    ):
        made.run("keys", "show", key, "-o", f"keys/{out}.pub.pem")
    return made


@pytest.fixture(scope="module")
def release(desk: Desk) -> str:
    """One that lies in the destination's store."""
    desk.run("sign", desk.crossing.model, "--zone", "home")
    desk.run("record", desk.crossing.model, "--zone", "home", "--dataset", "public")
    name = "churn/0.9.0"
    push = ("push", desk.crossing.model, "--release", name, "--zone", "home", "--to", "eu")
    desk.run(*push)
    return name


class Lists:
    """What processes are called with, and what modules find in their environment, meanwhile."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self.seen: set[bytes] = set()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Lists:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            for number in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 (names alone)
                try:
                    command = Path(f"/proc/{number}/cmdline").read_bytes()
                    if b"pkcs11/worker.py" in command:
                        command += Path(f"/proc/{number}/environ").read_bytes()
                except OSError:
                    continue
                if b"softhsm2-util" not in command:  # another test makes its token
                    self.seen.add(command)


@pytest.fixture
def lists() -> Iterator[Lists]:
    with Lists() as made:
        yield made


def test_rule_29_a_model_crosses_between_zones_whose_keys_lie_in_tokens(
    desk: Desk, lists: Lists
) -> None:
    base, model = desk.crossing.base, desk.crossing.model
    desk.run("lint", pin=None)
    desk.run("sign", model, "--zone", "home")
    desk.run("record", model, "--zone", "home", "--dataset", "public")
    for token in (desk.home, desk.eu):
        token.log.unlink(missing_ok=True)
    release = ("--release", "churn/1.0.0", "--zone", "home", "--to", "eu")
    desk.run("push", model, *release, "-v")
    assert desk.eu.calls() == [], "the sender asked the other zone's token"
    desk.run("pull", "churn/1.0.0", "--zone", "eu", "-o", "pulled", "-v")
    assert tree(base / "pulled") == tree(model)
    desk.run("audit", "verify", "--zone", "eu", pin=None)
    for token in (desk.home, desk.eu):
        calls = token.calls()
        assert calls.count("open") == calls.count("close") > 0
        assert calls.count("initialize") == calls.count("finalize")
        assert "open-to-write" not in calls
    assert any(b"pkcs11/worker.py" in command for command in lists.seen)
    assert not [command for command in lists.seen if PIN.encode() in command]
    for path in base.rglob("*"):
        assert not path.is_file() or PIN.encode() not in path.read_bytes(), path


def test_what_a_token_says_of_a_key_is_shown(desk: Desk) -> None:
    said = desk.run("keys", "show", "pkcs11:token=eu;object=sign")
    for fact in ("sensitive", "extractable", "never-extractable", "made-in-token"):
        assert fact in said
    assert "SoftHSM" in said
    without = desk.run("keys", "show", "pkcs11:token=eu;object=sign", pin=None, CI="true")
    assert "never-extractable" not in without
    assert "BEGIN PUBLIC KEY" in without


def test_rule_36_neither_an_argument_nor_a_variable_names_a_module(desk: Desk) -> None:
    """One that is the project's own may be named again; any other is not even looked at."""
    model, elsewhere = desk.crossing.model, "pkcs11:token=eu;object=sign?module-path=/tmp/evil.so"
    said = desk.run("sign", model, "--key", elsewhere, "--signature", "x.json", code=3)
    assert "no argument or environment variable can name it" in said
    said = desk.run("sign", model, "--signature", "x.json", SOVGATE_SIGN_KEY=elsewhere, code=3)
    assert "no argument or environment variable can name it" in said
    assert not (desk.crossing.base / "x.json").exists()


def test_a_wrong_pin_leaves_no_signature_and_is_tried_once(desk: Desk) -> None:
    desk.eu.log.unlink(missing_ok=True)
    words = ("sign", desk.crossing.model, "--zone", "eu", "--signature", "y.json")
    said = desk.run(*words, pin="0000-wrong", code=20)
    assert "0000-wrong" not in said
    assert "SOVGATE_PIN was refused" in said
    assert not (desk.crossing.base / "y.json").exists()
    assert desk.eu.calls().count("login") == 1
    desk.run(*words)  # and the right one sets the token's count back


@pytest.mark.parametrize("fault", ["crash-sign", "crash-derive", "exit-initialize"])
def test_a_module_that_crashes_ends_no_command_half_way(
    desk: Desk, release: str, fault: str
) -> None:
    base = desk.crossing.base
    path = base / "sovgate.yaml"
    before = path.read_text()
    path.write_text(before.replace("SHIM=none", f"SHIM={fault}"))
    had = {name for name in tree(base) if not name.startswith(("eu-store/", ".sovgate/"))}
    try:
        desk.run("pull", release, "--zone", "eu", "-o", "crashed", code=20)
    finally:
        path.write_text(before)
    left = {name for name in tree(base) if not name.startswith(("eu-store/", ".sovgate/"))}
    assert left == had
    assert not (base / "crashed").exists()
