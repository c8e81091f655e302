"""The public cases of OpenSSF Model Signing: where their files lie, and what each case asks for.

Reads tests/conformance/oms_cases.json and the folder that `components.oms_cases` names. The files
are other people's and not in this repository; the index is ours.
"""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

INDEX = json.loads((Path(__file__).parent / "conformance" / "oms_cases.json").read_text())
CASES: dict[str, dict[str, Any]] = {case["id"]: case for case in INDEX["cases"]}

#: What we refuse though the suite wants it verified; docs/oms.md says why. Nothing else is skipped.
STRICTER = {
    "verify/historical/historical-v0.2.0-certificate": "the predicate Digests/v0.1 is not read",
}


@dataclass(frozen=True)
class Files:
    """The cases' files below `root`, in either of its two layouts."""

    root: Path

    @property
    def whole(self) -> bool:
        """Whether the whole suite is there, and not only what a licence lets be copied."""
        return (self.root / "suite").is_dir()

    def find(self, name: str) -> Path | None:
        """A file or folder by the name that the index gives it."""
        if not self.whole:
            places = [self.root / "apache" / name, self.root / "nolicence" / name]
        else:
            kind = "test-cases" if name.startswith("verify/") else "assets"
            places = [self.root / "suite" / "test" / kind / name]
        return next((place for place in places if place.exists()), None)

    def absent(self, case: dict[str, Any]) -> list[str]:
        names = [case["model"], case.get("bundle"), case.get("key"), *case.get("roots", [])]
        return [name for name in names if name and self.find(name) is None]

    def get(self, name: str) -> Path:
        found = self.find(name)
        assert found is not None, f"{name} is not below {self.root}"
        return found

    def model(self, case: dict[str, Any], place: Path) -> Path:
        """A copy of the case's model, changed as the case asks."""
        source = self.get(case["model"])
        if source.is_file():
            return shutil.copy(source, place / source.name)
        model = place / "model"
        shutil.copytree(source, model)
        edit = case.get("edit", {})
        for name in edit.get("delete", ()):
            (model / name).unlink(missing_ok=True)
        for name, text in edit.get("write", {}).items():
            (model / name).write_text(text)
        for name, to in edit.get("links", {}).items():
            (model / name).symlink_to(to)
        return model

    def _spec(self, kind: str) -> Path:
        if not self.whole:
            return self.root / "apache" / "spec" / kind
        return self.root / "spec" / ("test-vectors" if kind == "vectors" else kind) / "v1.0"

    def vectors(self) -> list[Path]:
        return sorted(self._spec("vectors").rglob("*.bundle.json"))

    def schemas(self) -> dict[str, Draft202012Validator]:
        """Validators of bundle, envelope, statement and predicate."""
        read = {
            path.name.partition(".")[0]: json.loads(path.read_text())
            for path in self._spec("schemas").glob("*.schema.json")
        }
        registry: Registry[Any] = Registry().with_resources(
            (schema["$id"], Resource.from_contents(schema)) for schema in read.values()
        )
        return {
            name: Draft202012Validator(schema, registry=registry) for name, schema in read.items()
        }


def payload(bundle: bytes) -> dict[str, Any]:
    document = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    assert isinstance(document, dict)
    return document


def names(bundle: bytes) -> list[str]:
    return [entry["name"] for entry in payload(bundle)["predicate"]["resources"]]
