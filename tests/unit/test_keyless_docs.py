"""docs/keyless.md: each option is told, each URI of the docs reads, its signing config signs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
import yaml

from sovgate import key_settings, uri
from sovgate.clouds import github
from sovgate.formats.keyless import services
from sovgate.keys.sigstore import login
from sovgate.keys.sigstore.place import PUBLIC
from tests.components import ROOT

PAGE = (ROOT / "docs" / "keyless.md").read_text(encoding="utf-8")
DOCS = [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
#: As somebody would paste it; what stands for a file in a sentence is none.
URIS = sorted(
    {
        found
        for path in DOCS
        for found in re.findall(r"sigstore:(?!//)[a-z/][^\s'\"`)]*", path.read_text("utf-8"))
        if "." in found.partition("?")[0] or found == f"sigstore:{PUBLIC}"
    }
)


def test_each_option_is_told() -> None:
    for name in key_settings.OPTIONS["sigstore"]:
        assert f"`{name}=" in PAGE, name


@pytest.mark.parametrize("text", URIS)
def test_a_uri_of_the_docs_reads(text: str) -> None:
    name, said = key_settings.split(uri.parse(text, what="key"))
    assert name == PUBLIC or (name.endswith(".json") and "trusted-root" in said)


def test_there_are_uris_to_read() -> None:
    assert len(URIS) > 4
    assert f"sigstore:{PUBLIC}" in URIS


def test_the_signing_config_of_the_page_signs() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    found = services.chosen(services.parse(text.encode()), datetime(2026, 12, 1, tzinfo=UTC))
    assert found.log.version == 2
    assert len(found.stampers) == 1


def test_the_jobs_of_the_page_get_a_token() -> None:
    blocks = [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    jobs = [one["jobs"]["sign"] for one in blocks if isinstance(one, dict) and "jobs" in one]
    assert [job["permissions"]["id-token"] for job in jobs] == ["write"]
    (gitlab,) = (one["sign"] for one in blocks if isinstance(one, dict) and "sign" in one)
    assert gitlab["id_tokens"] == {login.VARIABLE: {"aud": "sigstore"}}
    assert all(name.startswith("ACTIONS_ID_TOKEN_") for name in github.VARIABLES)
