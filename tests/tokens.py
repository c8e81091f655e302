"""Real tokens for tests: SoftHSM's and NSS's database, each with a module that can fail on demand.

Every module is used through tests/hsm/shim.c, which hands calls on to it, writes down those that
count, and fails where it is told to. NSS needs it anyway: it wants its settings in C_Initialize.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from sovgate import uri
from sovgate.formats.pkcs11uri import escape
from sovgate.key_settings import joined, vouch
from tests.components import MissingError, peer

HERE = Path(__file__).resolve().parent / "hsm"
PIN = "71a9-canary-PIN"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Token:
    """`module` is the shim. `real`: the module behind it, and `setting` what that wants.

    log     names of calls, a line each
    """

    module: Path
    real: Path
    setting: str
    label: str
    log: Path
    pin: str = PIN

    def variable(self, fault: str = "none") -> str:
        return f"SHIM={fault}|{self.real}|{self.setting}|{self.log}"

    def settings(self, fault: str = "none", **more: str) -> str:
        """What follows the path of a URI."""
        told = {"module-path": str(self.module), "module-variable": self.variable(fault), **more}
        return joined("", told)

    def uri(self, name: str, fault: str = "none", **more: str) -> str:
        said = f"pkcs11:token={escape(self.label)};object={name}{self.settings(fault, **more)}"
        # As the reader of sovgate.yaml does.
        vouch(uri.parse(said, what="key"), Path("/etc"))
        return said

    def calls(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def make(self, *keys: dict[str, Any]) -> None:
        """Each {"label", "kind"}, and what tests/hsm/make_keys.py says."""
        wanted = [{"id": os.urandom(8).hex(), **key} for key in keys]
        asked = {"token": self.label, "pin": self.pin, "keys": wanted}
        name, _, value = self.variable().partition("=")
        subprocess.run(
            [sys.executable, str(HERE / "make_keys.py"), str(self.module)],
            input=json.dumps(asked).encode(),
            env={name: value},
            check=True,
        )
        self.log.unlink(missing_ok=True)


def shim(folder: Path) -> Path:
    """The module, built there by the system's C compiler."""
    made = folder / "shim.so"
    if made.exists():
        return made
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise MissingError("no C compiler on PATH", get="apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / "shim.tmp"
    # Old tags: the folders are searched for what NSS loads in its turn, too.
    where = f"-Wl,--disable-new-dtags,-rpath,{_libraries('nss')}"
    command = [compiler, "-shared", "-fPIC", "-w", where, "-o", str(found), str(HERE / "shim.c")]
    subprocess.run([*command, "-ldl"], check=True)
    found.rename(made)
    return made


def softhsm(folder: Path, label: str = "eu hsm") -> Token:
    """A new SoftHSM token in the folder."""
    root = peer("softhsm")
    tokens, settings = folder / "tokens", folder / "softhsm2.conf"
    tokens.mkdir(parents=True, exist_ok=True)
    settings.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    # Out of the checkout: what lies in a repository is not loaded.
    real = folder / "libsofthsm2.so"
    if not real.exists():
        shutil.copyfile(root / "usr/lib/softhsm/libsofthsm2.so", real)
    command = [str(root / "usr/bin/softhsm2-util"), "--module", str(real), "--init-token", "--free"]
    subprocess.run(
        [*command, "--label", label, "--pin", PIN, "--so-pin", "12345678"],
        env={"SOFTHSM2_CONF": str(settings)},
        check=True,
        capture_output=True,
    )
    return Token(
        module=shim(folder),
        real=real,
        setting=f"SOFTHSM2_CONF={settings}",
        label=label,
        log=folder / "calls.log",
    )


def nss(folder: Path) -> Token:
    """A new NSS database in the folder; its token has a fixed name."""
    root, database = peer("nss"), folder / "nssdb"
    database.mkdir(parents=True, exist_ok=True)
    pin = folder / "nss.pin"
    pin.write_text(PIN)
    subprocess.run(
        [str(root / "usr/bin/certutil"), "-N", "-d", f"sql:{database}", "-f", str(pin)],
        env={"LD_LIBRARY_PATH": str(_libraries("nss"))},
        check=True,
        capture_output=True,
    )
    return Token(
        module=shim(folder),
        real=_outside(_libraries("nss"), folder / "lib") / "libsoftokn3.so",
        setting=f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='' flags=",
        label="NSS Certificate DB",
        log=folder / "calls.log",
    )


def certified(folder: Path, name: str, *kind: str) -> None:
    """A key in the NSS database of `nss(folder)`, as certutil makes it: its certificate alone bears
    the name, and there is no public key object. `kind`: certutil's options."""
    noise = folder / "noise"
    noise.write_bytes(os.urandom(64))
    subprocess.run(
        [
            str(peer("nss") / "usr/bin/certutil"),
            *("-S", "-x", "-d", f"sql:{folder / 'nssdb'}", "-f", str(folder / "nss.pin")),
            *("-z", str(noise), "-n", name, "-s", f"CN={name}", "-t", "u,u,u", *kind),
        ],
        env={"LD_LIBRARY_PATH": str(_libraries("nss"))},
        stdin=subprocess.DEVNULL,
        check=True,
        capture_output=True,
    )


def _outside(libraries: Path, folder: Path) -> Path:
    """The same libraries out of the checkout: what lies in a repository is not loaded."""
    if not folder.exists():
        shutil.copytree(libraries, folder)
    return folder


def _libraries(name: str) -> Path:
    return peer(name) / "usr" / "lib" / sysconfig.get_config_var("MULTIARCH")
