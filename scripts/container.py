"""Fills a folder from which the Containerfile builds: wheels, their hashes, the SBOM's script.

`python scripts/container.py CONTEXT [--python 3.13] [--machine x86_64] [--lock NAME …]`. Downloads
wheels by pip, each checked against requirements/NAME.txt; builds ours with the locked hatchling.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Extras that a key or a store may need, as far as there is a lock.
EXTRAS = ("aws", "azure", "gcp", "hsm", "sigstore", "vault")
#: Of Debian 12, the base's C library.
GLIBC = 36
_MARKER = re.compile(r"^(\S+==\S+) ;[^\\\n]*", re.MULTILINE)
_BLOCK = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def locked(names: Sequence[str]) -> str:
    """The locks as one, each package once: they agree, since `make lock` constrains them."""
    blocks: dict[str, str] = {}
    for name in names:
        text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
        text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
        blocks |= {match["name"]: match[0] for match in _BLOCK.finditer(text)}
    return "".join(blocks[name] for name in sorted(blocks))


def download(lock: str, wheels: Path, python: str, machine: str) -> None:
    """Every wheel of the lock, whatever Python runs this: markers are left to the image."""
    bare = wheels.parent / "download.txt"
    bare.write_text(_MARKER.sub(r"\1", lock), encoding="utf-8")
    version = "cp" + python.replace(".", "")
    glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 4, -1)]
    platforms = [*glibc, *(f"manylinux{old}_{machine}" for old in ("2014", "2010", "1"))]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-qq",
        "--disable-pip-version-check",
        "--require-hashes",
        "--only-binary=:all:",
        "--no-deps",
        f"--dest={wheels}",
        f"--requirement={bare}",
        f"--python-version={python}",
        "--implementation=cp",
        *(f"--abi={abi}" for abi in (version, "abi3", "none")),
        *(f"--platform={one}" for one in platforms),
    ]
    subprocess.run(command, check=True)
    bare.unlink()


def own_wheel(wheels: Path) -> str:
    """Ours, and the line that pins it."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels.absolute())],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = wheels.glob("sovgate-*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"sovgate=={wheel.name.split('-')[1]} --hash=sha256:{digest}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("context", type=Path, help="a new folder, or one that this filled")
    parser.add_argument("--python", default="3.13", help="version of the base image's Python")
    parser.add_argument("--machine", default=platform.machine(), help="x86_64 or aarch64")
    parser.add_argument(
        "--lock", action="append", help="names in requirements/ (default: base, and each extra)"
    )
    asked = parser.parse_args()
    context: Path = asked.context
    if context.exists() and any(context.iterdir()) and not (context / "image_sbom.py").exists():
        parser.error(f"{context} is not empty, and this did not fill it")
    shutil.rmtree(context, ignore_errors=True)
    wheels = context / "wheels"
    wheels.mkdir(parents=True)
    clouds = [name for name in EXTRAS if (ROOT / "requirements" / f"{name}.txt").is_file()]
    lock = locked(asked.lock or ["base", *clouds])
    download(lock, wheels, asked.python, asked.machine)
    (context / "requirements.txt").write_text(lock + own_wheel(wheels), encoding="utf-8")
    for path in (ROOT / "scripts" / "image_sbom.py", ROOT / "Containerfile"):
        shutil.copyfile(path, context / path.name)


if __name__ == "__main__":
    main()
