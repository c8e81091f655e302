"""Which published versions of model_signing verify what this sovgate signs: for docs/oms.md.

    .venv/bin/python scripts/oms_versions.py

Installs each version into .cache/oms-versions/VERSION, by pip and its index, with what it was
released with where that matters. Run by hand at a release; prints a line a version.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "oms-versions"

#: version -> what must be installed with it: newer releases of these have moved away since.
OLD_SIGSTORE = ("sigstore<4", "sigstore-protobuf-specs<0.5")
VERSIONS: dict[str, tuple[str, ...]] = {
    "1.1.1": ("pyOpenSSL",),
    "1.1.0": ("pyOpenSSL",),
    "1.0.1": (*OLD_SIGSTORE, "pyOpenSSL"),
    "1.0.0": (*OLD_SIGSTORE, "pyOpenSSL"),
    "0.3.1": (*OLD_SIGSTORE, "pyOpenSSL"),
    "0.3.0": (*OLD_SIGSTORE, "pyOpenSSL"),
}
FILES = {
    "config.json": b"{}\n",
    "weights-extra.bin": b"x",
    "weights/a.bin": b"y" * 100,  # by path components before weights-extra.bin, by name after it
    "empty": b"",
}


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)


def installed(version: str, more: tuple[str, ...]) -> Path | None:
    """The program of that version; None where it cannot be had."""
    folder = CACHE / version
    program = folder / "bin" / "model_signing"
    if not program.exists():
        run(sys.executable, "-m", "venv", folder)
        pip = (folder / "bin" / "pip", "install", "-q", "--only-binary", ":all:")
        done = run(*pip, f"model-signing=={version}", *more)
        if done.returncode != 0:
            print(f"{version}: not installed: {done.stderr.strip().splitlines()[-1:]}")
            return None
    return program


def signed(place: Path) -> list[tuple[str, Path, Path, Path]]:
    """(what, model, bundle, public key) of a folder and of a file, on each curve."""
    for name, content in FILES.items():
        (place / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "model" / name).write_bytes(content)
    (place / "file.bin").write_bytes(b"weights")
    found = []
    for curve in ("ec-p256", "ec-p384", "ec-p521"):
        key = place / f"{curve}.pem"
        made = run(
            sys.executable,
            "-m",
            "sovgate",
            "keys",
            "generate",
            "sign",
            "-o",
            key,
            "--algorithm",
            curve,
        )
        if made.returncode != 0:
            sys.exit(made.stderr)
        for name in ("model", "file.bin"):
            bundle = place / f"{curve}-{name}.sig"
            words = ("sign", place / name, "--key", f"file:{key}", "--signature", bundle)
            made = run(sys.executable, "-m", "sovgate", *words)
            if made.returncode != 0:
                sys.exit(made.stderr)
            public = place / f"{curve}.pub.pem"
            found.append((f"{curve} {name}", place / name, bundle, public))
    return found


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        cases = signed(Path(name))
        for version, more in VERSIONS.items():
            program = installed(version, more)
            if program is None:
                failed += 1
                continue
            bad = []
            for what, model, bundle, public in cases:
                how = ("--signature", bundle, "--public_key", public)
                done = run(program, "verify", "key", model, *how)
                if done.returncode != 0:
                    bad.append(f"{what}: {(done.stderr + done.stdout).strip()[-200:]}")
            failed += bool(bad)
            print(f"{version}: {'; '.join(bad) or f'all {len(cases)} verify'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
