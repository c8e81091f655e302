"""Sigstore's signing config: which services sign today. Read strictly; doubt is a refusal (3)."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from sovgate.errors import ConfigError, Malformed
from sovgate.formats.keyless import services
from tests.components import public_root

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def service(url: str, version: int = 1, start: str = "2020", end: str = "", by: str = "us") -> Any:
    span = {"start": f"{start}-01-01T00:00:00Z"} | (
        {"end": f"{end}-01-01T00:00:00Z"} if end else {}
    )
    return {"url": url, "majorApiVersion": version, "validFor": span, "operator": by}


CONFIG: dict[str, Any] = {
    "mediaType": services.MEDIA_TYPE,
    "caUrls": [service("https://fulcio.example")],
    "oidcUrls": [service("https://login.example")],
    "rekorTlogUrls": [service("https://log2.example", 2), service("https://rekor.example")],
    "rekorTlogConfig": {"selector": "ANY"},
    "tsaUrls": [service("https://tsa.example/api/v1/timestamp")],
    "tsaConfig": {"selector": "ANY"},
}


def chosen(**changed: Any) -> services.Chosen:
    config = deepcopy(CONFIG) | changed
    return services.chosen(services.parse(json.dumps(config).encode()), NOW)


def test_the_newest_interface_in_use_of_each_operator_signs() -> None:
    found = chosen()
    assert (found.log.url, found.log.version) == ("https://log2.example", 2)
    assert [one.url for one in found.stampers] == ["https://tsa.example/api/v1/timestamp"]
    begins = service("https://next.example", 2, start="2027")
    over = service("https://last.example", 2, start="2019", end="2026")
    newer = service("https://later.example", 2, start="2026")
    unknown = service("https://v3.example", 3)
    logs = [begins, over, unknown, *CONFIG["rekorTlogUrls"], newer]
    assert chosen(rekorTlogUrls=logs).log.url == "https://later.example"


def test_several_authorities_where_the_file_asks_for_them() -> None:
    both = [service("https://a.example/t"), service("https://b.example/t", by="them")]
    assert len(chosen(tsaUrls=both, tsaConfig={"selector": "ALL"}).stampers) == 2
    assert len(chosen(tsaUrls=both, tsaConfig={"selector": "EXACT", "count": 2}).stampers) == 2
    assert len(chosen(tsaUrls=both).stampers) == 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"caUrls": []}, "no-service"),
        ({"rekorTlogUrls": []}, "no-service"),
        ({"rekorTlogUrls": [service("https://v3.example", 3)]}, "no-service"),
        ({"tsaUrls": []}, "no-service"),  # Rekor v2 tells no time
        ({"tsaConfig": {"selector": "EXACT", "count": 2}}, "no-service"),
        (
            {
                "rekorTlogConfig": {"selector": "ALL"},
                "rekorTlogUrls": [service("https://a.example"), service("https://b", by="them")],
            },
            "unsupported-signing-config",
        ),
    ],
)
def test_what_cannot_sign_is_told_before_anything_is_asked(
    changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(**changed)
    assert caught.value.reason == reason
    assert caught.value.fix


@pytest.mark.parametrize(
    "changed",
    [
        {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.1+json"},
        {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"},
        {"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"},
        {"more": 1},
        {"caUrls": [{**service("https://fulcio.example"), "more": 1}]},
        {"caUrls": [service("https://fulcio.example/a b")]},
        {"caUrls": "https://fulcio.example"},
        {"rekorTlogConfig": {"selector": "SOME"}},
        {"tsaConfig": {"selector": "EXACT", "count": -1}},
        {"tsaConfig": {"selector": "EXACT"}},
        {"rekorTlogUrls": [service("https://log.example", True)]},
    ],
)
def test_another_file_is_refused_with_what_to_name(changed: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        chosen(**changed)
    assert caught.value.reason == "bad-signing-config"
    assert caught.value.fix


def test_the_public_instance_s_own_file_reads() -> None:
    data = public_root().with_name("signing_config.v0.2.json").read_bytes()
    found = services.chosen(services.parse(data), NOW)
    assert found.issuer.url == "https://fulcio.sigstore.dev"
