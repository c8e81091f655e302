"""Whom an identity token names, by the claims that each platform's tokens have."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sovgate.errors import KeyServiceError
from sovgate.formats.keyless.token import IdentityToken, read

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOON = int(NOW.timestamp()) + 300


def token(claims: bytes | dict[str, Any]) -> str:
    """Unsigned: what signs it is the instance's affair."""
    text = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    parts = (b'{"alg":"RS256"}', text, b"signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def look(**claims: Any) -> IdentityToken:
    said = {"iss": "https://login.example", "sub": "s", "aud": "sigstore", "exp": SOON} | claims
    return read(token(said), "sigstore", now=NOW, source="the test")


@pytest.mark.parametrize(
    ("claims", "identity"),
    [
        (
            {
                "iss": "https://token.actions.githubusercontent.com",
                "sub": "repo:bank/churn:ref:refs/heads/main",
                "job_workflow_ref": "bank/churn/.github/workflows/r.yml@refs/heads/main",
            },
            "https://github.com/bank/churn/.github/workflows/r.yml@refs/heads/main",
        ),
        (
            {
                "iss": "https://git.bank.example/_services/token",
                "job_workflow_ref": "bank/churn/.github/workflows/r.yml@refs/heads/main",
            },
            "https://git.bank.example/bank/churn/.github/workflows/r.yml@refs/heads/main",
        ),
        (
            {
                "iss": "https://token.actions.bank.ghe.com",
                "job_workflow_ref": "bank/churn/.github/workflows/r.yml@refs/heads/main",
            },
            "https://bank.ghe.com/bank/churn/.github/workflows/r.yml@refs/heads/main",
        ),
        (
            {
                "iss": "https://gitlab.com",
                "ci_config_ref_uri": "gitlab.com/bank/churn//.gitlab-ci.yml@refs/heads/main",
            },
            "https://gitlab.com/bank/churn//.gitlab-ci.yml@refs/heads/main",
        ),
        (
            {
                "iss": "https://accounts.google.com",
                "sub": "1151",
                "email": "signer@bank.iam.gserviceaccount.com",
                "email_verified": True,
            },
            "signer@bank.iam.gserviceaccount.com",
        ),
        ({"sub": "spiffe://bank.example/ns/ml/sa/signer"}, "spiffe://bank.example/ns/ml/sa/signer"),
        (
            {
                "sub": "system:serviceaccount:ml:signer",
                "kubernetes.io": {"namespace": "ml", "serviceaccount": {"name": "signer"}},
            },
            "https://kubernetes.io/namespaces/ml/serviceaccounts/signer",
        ),
    ],
)
def test_whom_a_token_of_each_platform_names(claims: dict[str, Any], identity: str) -> None:
    found = look(**claims)
    assert found.identities[0] == identity
    assert found.issuers == (claims.get("iss", "https://login.example"),)


def test_dex_names_who_logged_in_there() -> None:
    found = look(federated_claims={"connector_id": "https://login.bank.example", "user_id": "7"})
    assert found.issuers == ("https://login.example", "https://login.bank.example")


@pytest.mark.parametrize("audience", ["sigstore", ["sigstore"]])
def test_for_whom_it_is(audience: object) -> None:
    assert look(aud=audience).ends.timestamp() == SOON


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "bank"}, "other-audience"),
        ({"aud": None}, "other-audience"),
        ({"aud": ["sigstore2"]}, "other-audience"),
        ({"aud": ["bank", "sigstore"]}, "other-audience"),  # who gets it could use it at the bank
        ({"aud": []}, "other-audience"),
        ({"exp": SOON - 300}, "token-ended"),
        ({"exp": True}, "bad-token"),
        ({"exp": 1e300}, "bad-token"),
        ({"iss": ""}, "bad-token"),
        ({"sub": "a\nb"}, "bad-token"),
        ({"job_workflow_ref": 1}, "bad-token"),
        ({"job_workflow_ref": "a", "iss": "https://[x"}, "bad-token"),
        ({"kubernetes.io": {"namespace": "ml"}}, "bad-token"),
        ({"email": "a@bank", "email_verified": "false"}, "bad-token"),
    ],
)
def test_what_does_not_fit_is_not_sent_and_not_shown(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(KeyServiceError) as caught:
        look(canary="c" * 40, **claims)
    assert caught.value.reason == reason
    assert "c" * 40 not in repr(caught.value.__dict__)


def test_a_claim_said_twice_is_believed_in_neither_way() -> None:
    twice = b'{"iss": "a", "sub": "s", "aud": "sigstore", "aud": "bank", "exp": %d}' % SOON
    with pytest.raises(KeyServiceError) as caught:
        read(token(twice), "sigstore", now=NOW, source="the test")
    assert caught.value.reason == "bad-token"
    assert caught.value.__suppress_context__


def test_its_text_is_in_no_repr() -> None:
    found = look()
    assert found.text not in repr(found)
