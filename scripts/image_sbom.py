"""Prints what is in the image that it runs in: Python and Debian packages, as CycloneDX 1.7.

Run by the Containerfile with the image's own sovgate: `image_sbom.py WHEELS BASE`. Reads the wheels
that were installed, Debian's package list and /etc/os-release. The same image gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import sysconfig
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sovgate import strict
from sovgate.stages.sbom.cyclonedx import NAMESPACE, validate

DPKG = Path("/var/lib/dpkg/status")


def python_packages(wheels: Path) -> list[dict[str, Any]]:
    """Each installed distribution, with the digest of the wheel that it came from."""
    digests: dict[tuple[str, str], str] = {}
    for wheel in wheels.glob("*.whl"):
        name, version = wheel.name.split("-")[:2]
        digests[normal(name), version] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    found = []
    for one in metadata.distributions(path=[sysconfig.get_path("purelib")]):
        name = normal(one.metadata["Name"])
        component: dict[str, Any] = {
            "type": "application" if name == "sovgate" else "library",
            "name": name,
            "version": one.version,
            "purl": f"pkg:pypi/{name}@{quote(one.version)}",
            "hashes": [{"alg": "SHA-256", "content": digests[name, one.version]}],
        }
        licence = one.metadata.get("License-Expression")
        if licence:
            component["licenses"] = [{"expression": licence}]
        found.append(component)
    return found


def debian_packages(distribution: str) -> list[dict[str, Any]]:
    found = []
    for paragraph in DPKG.read_text("utf-8").split("\n\n") if DPKG.exists() else []:
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if ": " in line[1:] and not line.startswith(" ")
        )
        if fields.get("Status") != "install ok installed":
            continue
        name, version, machine = (fields[key] for key in ("Package", "Version", "Architecture"))
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={machine}"
        found.append(
            {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"{purl}&distro={distribution}",
            }
        )
    return found


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def main() -> None:
    wheels, base = Path(sys.argv[1]), sys.argv[2]
    lines = Path("/etc/os-release").read_text("utf-8").splitlines()
    system = {k: v.strip('"') for k, v in (line.split("=", 1) for line in lines if "=" in line)}
    distribution = f"{system.get('ID', 'unknown')}-{system.get('VERSION_ID', 'unknown')}"
    components = [*python_packages(wheels), *debian_packages(distribution)]
    components.sort(key=lambda c: str(c["purl"]))
    for component in components:
        component["bom-ref"] = component["purl"]
    version = next(c["version"] for c in components if c["name"] == "sovgate")
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "name": "sovgate",
                "version": version,
                "bom-ref": "image",
                "properties": [
                    {"name": "sovgate:base", "value": base},
                    {"name": "sovgate:python", "value": sys.version.split()[0]},
                ],
            }
        },
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [c["bom-ref"] for c in components]}],
    }
    digest = hashlib.sha256(strict.canonical(document)).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, digest)}"
    validate(document)
    json.dump(document, sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
