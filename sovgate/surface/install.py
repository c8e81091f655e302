"""Builds an environment anew from wheels whose hashes a lock file names. RULES 22.

Standard library alone: `launch.py` imports it before there is anything else. Touches the folder of
wheels and the folder that it is given.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from sovgate.host import home

ROOT = Path(__file__).resolve().parents[2]

_PIN = re.compile(r"([A-Za-z0-9._-]+)==[^\s;]+( ;)?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Refused(Exception):
    """The step cannot run. `fix` is the exact thing to do."""

    def __init__(self, what: str, *, fix: str, code: int = 2, output: str = "") -> None:
        super().__init__(what)
        self.what, self.fix, self.code, self.output = what, fix, code, output


def install(locks: list[Path], wheels: Path, folder: Path) -> Path:
    """A new environment with the locked packages. Returns the path of its Python."""
    environment = folder / "env"
    clean = {
        "PATH": "/usr/bin:/bin",
        "HOME": home(str(folder / "home")),
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(folder),
    }
    venv = [sys.executable, "-I", "-m", "venv", "--without-pip", str(environment)]
    made = subprocess.run(venv, env=clean, capture_output=True, text=True, check=False)
    python = environment / "bin" / "python"
    if made.returncode != 0 or not python.exists():
        raise Refused(
            "this Python cannot make a virtual environment",
            output=made.stdout + made.stderr,
            fix="install its venv package, or name another Python with the input python",
        )
    if _unpack(locks, wheels, environment):
        return _with_sovgate(environment, python)
    pip = [*_pip(python), "--no-input", "--disable-pip-version-check"]
    asked = ["--require-hashes", "--only-binary=:all:", "--no-deps"]
    asked += [f"--requirement={lock}" for lock in locks]
    # Where the wheels are all there, no index and no configuration is looked at.
    report = folder / "report.json"
    offline = [
        *pip,
        "install",
        "--no-compile",
        "--no-index",
        "--quiet",
        "--no-cache-dir",
        f"--report={report}",
        f"--find-links={wheels}",
        *asked,
    ]
    alone = {**clean, "PIP_CONFIG_FILE": os.devnull}
    if any(wheels.glob("*.whl")) and _does(offline, alone) is None:
        _note(report, locks, wheels)
        return _with_sovgate(environment, python)
    fetch = [*pip, "download", "--quiet", "--retries=2", "--timeout=20", f"--dest={wheels}", *asked]
    failed = _does(fetch, clean) or _does(offline, alone)
    if failed is not None:
        raise Refused(
            "the locked packages could not be downloaded",
            output=failed,
            code=14,
            fix=f"let the runner reach a package index, or put the wheels of "
            f"{' and '.join(lock.name for lock in locks)} into the folder of the input wheels",
        )
    _note(report, locks, wheels)
    return _with_sovgate(environment, python)


def _choice(locks: list[Path], wheels: Path) -> Path:
    """Where it is noted which wheels fit this Python; of another lock or Python, another name."""
    kind = f"{sys.implementation.cache_tag} {sysconfig.get_platform()} ".encode()
    digest = hashlib.sha256(kind + b"".join(lock.read_bytes() for lock in locks))
    return wheels / f"chosen-{digest.hexdigest()[:16]}.json"


def _note(report: Path, locks: list[Path], wheels: Path) -> None:
    """Note what pip chose. Only a hint: whoever reads it checks each wheel against the lock."""
    try:
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        names = [Path(item["download_info"]["url"]).name for item in found]
        _choice(locks, wheels).write_text(json.dumps([unquote(name) for name in names]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # an older pip, a folder that cannot be written: the next step asks pip again


def _locked(locks: list[Path]) -> tuple[dict[str, str], set[str]]:
    """Digest -> package, and the packages that no marker makes depend on the machine."""
    packages: dict[str, str] = {}
    wanted: set[str] = set()
    for lock in locks:
        name = ""
        for line in lock.read_text("utf-8").splitlines():
            if pin := _PIN.match(line):
                name = pin[1]
                wanted |= set() if pin[2] else {name}
            packages |= dict.fromkeys(_HASH.findall(line), name)
    return packages, wanted


def _unpack(locks: list[Path], wheels: Path, environment: Path) -> bool:
    """Unpack the wheels that pip chose before, a quarter of its time; False asks it again.

    The bytes that are unpacked are the bytes that were hashed, and the lock names their hash. None
    that the lock wants everywhere may be left out, whatever the note says.
    """
    locked, wanted = _locked(locks)
    try:
        names = json.loads(_choice(locks, wheels).read_text(encoding="utf-8"))
        checked = [(wheels / Path(name).name).read_bytes() for name in names]
    except (OSError, ValueError, TypeError, RecursionError):
        return False
    with ThreadPoolExecutor() as threads:
        digests = threads.map(lambda data: hashlib.sha256(data).hexdigest(), checked)
        found = {locked.get(digest) for digest in digests}
        if not found or None in found or not wanted <= found:
            return False
        archives = [zipfile.ZipFile(io.BytesIO(data)) for data in checked]
        files = [name for archive in archives for name in archive.namelist()]
        if any(".data/" in name or ".." in Path(name).parts for name in files):
            return False  # files for elsewhere than site-packages: pip knows where
        site = _site(environment)
        for parent in {site / Path(name).parent for name in files}:
            parent.mkdir(parents=True, exist_ok=True)  # else two threads may both want to make it
        list(threads.map(lambda archive: archive.extractall(site), archives))
    return True


def _pip(python: Path) -> list[str]:
    """The base Python's pip, or the wheel of it that comes with Python, to work on `python`."""
    found = find_spec("pip")
    if found is not None and found.origin:
        runner = Path(found.origin).parent / "__pip-runner__.py"
        if runner.is_file():  # what `pip --python` starts; to start it at once halves the time
            return [str(python), "-I", str(runner)]
        return [sys.executable, "-I", "-m", "pip", f"--python={python}"]
    folders = [Path(sys.base_prefix) / "share" / "python-wheels"]
    bundled = find_spec("ensurepip")
    if bundled is not None and bundled.origin:
        folders.insert(0, Path(bundled.origin).parent / "_bundled")
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*.whl"), reverse=True):
            return [sys.executable, "-I", str(wheel / "pip"), f"--python={python}"]
    raise Refused(
        "this Python has neither pip nor its wheel",
        fix="install python3-pip, or name another Python with the input python",
    )


def _does(command: list[str], environment: dict[str, str]) -> str | None:
    """None if it went well, else what it said."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else (done.stdout + done.stderr)[-4000:]


def _site(environment: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment / "lib" / version / "site-packages"


def _with_sovgate(environment: Path, python: Path) -> Path:
    """sovgate itself is the checkout that this file lies in, at the version `uses:` named."""
    (_site(environment) / "sovgate.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    return python
