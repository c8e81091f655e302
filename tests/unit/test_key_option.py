"""`--key URI` takes what stands beside that key in sovgate.yaml, and guesses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate.errors import ConfigError
from sovgate.pipeline.key_option import whole
from tests.commands import run

ONE = "gcpkms://projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k"
SETTLED = f"{ONE}?universe=googleapis.com&address=https://127.0.0.1:8"


def project(folder: Path, *keys: str) -> Path:
    zones = "".join(
        f"  z{number}: {{region: 'gcp:europe-west3', keys: {{sign: {key}}}}}\n"
        for number, key in enumerate(keys)
    )
    (folder / "sovgate.yaml").write_text(f"version: 1\nmodel: m\nzones:\n{zones}")
    return folder


def test_settings_of_the_project_come_to_a_key_that_has_none(tmp_path: Path) -> None:
    here = project(
        tmp_path,
        f"{{key: '{ONE}', universe: googleapis.com, address: 'https://127.0.0.1:8'}}",
        "keys/a.pem",
    )
    assert whole(ONE, here) == SETTLED
    assert whole(f"{ONE}?universe=googleapis.com", here) == f"{ONE}?universe=googleapis.com"
    assert whole(f"{ONE}2", here) == f"{ONE}2"
    assert whole("keys/a.pem", here) == "keys/a.pem"


def test_two_keys_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    here = project(tmp_path, f"'{SETTLED}'", f"'{ONE}'")
    with pytest.raises(ConfigError) as caught:
        whole(ONE, here)
    assert caught.value.reason == "several-keys"
    assert SETTLED in str(caught.value.fix)


def test_without_a_project_or_with_a_broken_one_the_key_is_what_was_written(tmp_path: Path) -> None:
    assert whole(ONE, tmp_path) == ONE
    (tmp_path / "sovgate.yaml").write_text("version: 2\n")
    assert whole(ONE, tmp_path) == ONE


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("keys", "show", "sigstore:a.json?trusted-root=b.json"), "write an entry under trust"),
        (("sign", ".", "--key", "sigstore:"), "as in sigstore:SIGNING_CONFIG?trusted-root=FILE"),
        (("keys", "show", "openbao://x?adress=y"), "an openbao key has no setting 'adress'"),
    ],
)
def test_who_writes_the_uri_of_a_service_wrong_is_told_the_form_of_that_service(
    words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    (tmp_path / "weights.bin").write_text("weights")
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 3
    assert told in done.stderr
