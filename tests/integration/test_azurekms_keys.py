"""Keys in Azure Key Vault: whose challenge is answered, what an answer must be, what is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovgate import notices
from sovgate.errors import ConfigError, KeyServiceError, ResidencyMismatch, VerificationFailed
from sovgate.formats.wrap import Context
from sovgate.keys import registry
from sovgate.keys._api import Wanted
from sovgate.keys.azurekms import vault as adapter
from sovgate.transport import authority, proxies
from tests.azurevault import CHALLENGE, HOST, TENANT, Refusal, Vault, azure_vault
from tests.commands import run
from tests.firm import Firm, firm_in
from tests.tunnel import tunnel

ZONE = "azure:germanywestcentral"
CONTEXT = Context(zone="eu", release="kyc/1.0.0", manifest="ab" * 32).canonical()
KEY = bytes(range(32))
TOKEN = "canary-eyJ0-token"


@pytest.fixture
def vault() -> Iterator[Vault]:
    with azure_vault() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Connections and tokens are kept for the life of a process, and each test is one."""
    yield
    adapter._client.cache_clear()
    adapter._tokens.cache_clear()


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> Firm:
    return firm_in(tmp_path_factory.mktemp("firm") / "ca")


def sign(uri: str) -> None:
    signer = registry.open_signer(uri, Path(), ZONE)
    signer.public_key.verify(b"message", signer.sign(b"message"))


# -- what a vault may not get away with


@pytest.mark.parametrize("verb", ["get", "sign"])
@pytest.mark.parametrize(
    "kid",
    [
        f"https://{HOST}/keys/other/{1:032x}",
        f"https://{HOST}/keys/key-0/{2:032x}",
        f"https://evil.vault.azure.net/keys/key-0/{1:032x}",
        f"https://{HOST}/keys/key-0",
        "",
        None,
        7,
    ],
)
def test_rule_10_another_key_that_answers_is_20(vault: Vault, verb: str, kid: object) -> None:
    uri = vault.pinned(vault.make("EC", "P-256"))

    def edits(made: str, answer: dict[str, Any]) -> Any:
        if made == verb:
            (answer["key"] if verb == "get" else answer)["kid"] = kid
        return answer

    vault.edits = edits
    with pytest.raises(KeyServiceError) as caught:
        sign(uri)
    assert caught.value.reason == "wrong-key"


@pytest.mark.parametrize(
    "value", ["", "!!", "AAAA", "A" * 9000, None, 7, "QQ" * 43, {"a": 1}], ids=repr
)
def test_a_signature_that_is_none_is_20(vault: Vault, value: object) -> None:
    uri = vault.pinned(vault.make("EC", "P-256"))
    vault.edits = lambda verb, answer: answer | {"value": value} if verb == "sign" else answer
    with pytest.raises(KeyServiceError) as caught:
        sign(uri)
    assert caught.value.reason in ("bad-answer", "bad-signature")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("kty", "oct-HSM", "unsupported-key-use"),
        ("crv", "P-256K", "unsupported-key-use"),
        ("crv", "P-384", "bad-key"),
        ("x", "AAAA", "bad-key"),
        ("x", None, "bad-answer"),
        ("key_ops", ["verify"], "unsupported-key-use"),
        ("key_ops", "sign", "unsupported-key-use"),
        ("key_ops", 7, "unsupported-key-use"),
        ("kty", 7, "unsupported-key-use"),
    ],
)
def test_a_public_half_that_is_none_is_refused(
    vault: Vault, field: str, value: object, reason: str
) -> None:
    uri = vault.pinned(vault.make("EC", "P-256"))

    def edits(verb: str, answer: dict[str, Any]) -> Any:
        if verb == "get":
            answer["key"][field] = value
        return answer

    vault.edits = edits
    with pytest.raises((KeyServiceError, ConfigError)) as caught:
        sign(uri)
    assert caught.value.reason == reason


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"null", b'{"a":1,"a":2}', b" " * 70_000])
def test_an_answer_that_is_none_is_20(vault: Vault, data: bytes) -> None:
    uri = vault.pinned(vault.make("EC", "P-256"))
    vault.edits = lambda *_: data
    with pytest.raises(KeyServiceError) as caught:
        sign(uri)
    assert caught.value.reason == "bad-answer"


def test_a_key_that_must_be_in_an_hsm_is_or_is_refused(vault: Vault) -> None:
    sign(vault.pinned(vault.make("EC-HSM", "P-256"), protection="hsm"))
    with pytest.raises(KeyServiceError) as caught:
        sign(vault.pinned(vault.make("EC", "P-256"), protection="hsm"))
    assert caught.value.reason == "protection-level"


# -- how often, and of whom, it is asked


@pytest.mark.parametrize(
    ("refusal", "times", "reason"),
    [
        (Refusal(status=503, code="ServiceUnavailable"), 4, "no-answer"),
        (Refusal(status=500, code="InternalServerError"), 4, "no-answer"),
        (Refusal(status=429, code="Throttled"), 4, "slow-down"),
        (Refusal(status=408, code="Timeout"), 1, "timed-out"),
        (Refusal(status=403, code="Forbidden", inner="ForbiddenByRbac"), 1, "access-denied"),
        (Refusal(status=403, code="Forbidden", inner="KeyNotYetValid"), 1, "key-disabled"),
        (Refusal(status=401, code="Unauthorized"), 1, "bad-credentials"),
        (Refusal(status=418, code="Teapot"), 1, "service"),
    ],
)
def test_it_is_asked_again_only_for_what_may_pass(
    vault: Vault, refusal: Refusal, times: int, reason: str
) -> None:
    uri = vault.pinned(vault.make("EC", "P-256"))
    vault.refuses = lambda *_: refusal
    with pytest.raises(KeyServiceError) as caught:
        sign(uri)
    assert caught.value.reason == reason
    assert len(vault.seen) == times


def test_which_version_signs_is_said_and_stays(vault: Vault) -> None:
    name = vault.make("EC", "P-256")
    said: list[str] = []
    with notices.listening(said.append):
        signer = registry.open_signer(vault.uri(name), Path(), ZONE)
    assert said == [
        f"azurekms://{HOST}/{name} names no version: {1:032x} is used, the current one; to stay "
        f"with it, add /{1:032x}"
    ]
    vault.keys[name].add()
    signer.public_key.verify(b"m", signer.sign(b"m"))
    assert vault.seen[-1] == ("POST", f"/keys/{name}/{1:032x}/sign")


def test_what_was_wrapped_with_an_exported_key_opens_in_the_vault(
    vault: Vault, tmp_path: Path
) -> None:
    uri = vault.pinned(vault.make("RSA-HSM", "2048"))
    (tmp_path / "eu.pub.pem").write_bytes(registry.open_public(uri, tmp_path, ZONE).pem)
    recipient = registry.open_recipient("eu.pub.pem", tmp_path, ZONE)
    identity = registry.open_identity(uri, tmp_path, ZONE)
    assert recipient.key_id == identity.key_id
    assert identity.unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY
    other = Context(zone="us", release="kyc/1.0.0", manifest="ab" * 32).canonical()
    with pytest.raises(VerificationFailed):
        identity.unwrap(recipient.wrap(KEY, CONTEXT), other)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_rule_15_a_redirect_is_12_and_not_followed(vault: Vault, status: int) -> None:
    uri = vault.pinned(vault.make("EC", "P-256"))
    vault.instead = (status, {"Location": f"http://127.0.0.1:{vault.server_port}/keys/x"})
    with pytest.raises(ResidencyMismatch) as caught:
        sign(uri)
    assert caught.value.reason == "redirected"
    assert len(vault.seen) == 1


# -- clouds, challenges and tokens


@pytest.mark.parametrize(
    ("rest", "region"),
    [
        ("x.vault.azure.cn/k", ZONE),
        ("x.vault.usgovcloudapi.net/k", ZONE),
        ("x.managedhsm.azure.cn/k", ZONE),
        ("x.vault.azure.net/k", "azure-china:chinaeast2"),
        ("x.vault.azure.net/k", "azure-usgov:usgovvirginia"),
        ("x.vault.azure.net/k", "bleu:bleufrancecentral"),
        ("x.vault.azure.net/k", "aws:eu-central-1"),
        ("x.vault.bank.example/k?suffix=vault.bank.example", "aws:eu-central-1"),
    ],
)
def test_a_vault_of_another_cloud_is_12(rest: str, region: str) -> None:
    with pytest.raises(ResidencyMismatch) as caught:
        registry.check(f"azurekms://{rest}", Path(), region)
    assert caught.value.reason == "key-elsewhere"


@pytest.mark.parametrize(
    ("rest", "region"),
    [
        ("x.vault.azure.net/k", ZONE),
        ("x.managedhsm.azure.net/k", ZONE),
        ("x.vault.azure.cn/k", "azure-china:chinaeast2"),
        ("x.managedhsm.usgovcloudapi.net/k", "azure-usgov:usgovvirginia"),
        ("x.vault.sovcloud-api.fr/k", "bleu:bleufrancecentral"),
        ("x.vault.bank.example/k?suffix=vault.bank.example", ZONE),
        ("x.vault.azure.net/k", None),
    ],
)
def test_a_vault_of_the_zones_cloud_is_taken(rest: str, region: str | None) -> None:
    registry.check(f"azurekms://{rest}", Path(), region)


@pytest.mark.parametrize(
    "rest",
    [
        "k",
        "x.vault.azure.net",
        "x.vault.azure.net/k/latest",
        "x.vault.azure.net/k/../l",
        "x.vault.azure.net:8443/k",
        "x.vault.bank.example/k",
        "x.vault.azure.net/k?suffix=vault.bank.example",
        "x.vault.azure.net/k?address=http://x.vault.azure.net",
        "vault.azure.net/k",
    ],
)
def test_a_uri_that_names_no_key_is_3(rest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.check(f"azurekms://{rest}", Path(), ZONE)
    assert caught.value.reason == "bad-uri"
    assert caught.value.fix


def test_rule_36_a_login_in_the_environment_that_differs_is_3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us")
    with pytest.raises(ConfigError) as caught:
        registry.check(f"azurekms://{HOST}/k", Path(), ZONE)
    assert caught.value.reason == "address-elsewhere"
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
    registry.check(f"azurekms://{HOST}/k", Path(), ZONE)


@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE.replace("login.microsoftonline.com", "login.microsoftonline.us"),
        CHALLENGE.replace("login.microsoftonline.com", "login.evil.example"),
        CHALLENGE.replace("https://vault.azure.net", "https://storage.azure.com"),
        CHALLENGE.replace("https://vault.azure.net", "https://evil-vault.azure.net"),
        "Basic realm=x",
        "",
    ],
)
def test_a_token_goes_to_no_vault_whose_challenge_is_another_clouds(
    firm: Firm, monkeypatch: pytest.MonkeyPatch, challenge: str
) -> None:
    monkeypatch.setenv("AZURE_KEYVAULT_TOKEN", TOKEN)
    with azure_vault(TOKEN, firm.tls) as far, tunnel() as way:
        far.challenge = challenge
        name = far.make("EC", "P-256")
        uri = f"azurekms://{HOST}/{name}?address=https://{HOST}:{far.server_port}"
        with (
            authority.trusting(firm.root),
            proxies.through(way.url),
            pytest.raises(ResidencyMismatch) as caught,
        ):
            sign(uri)
        assert caught.value.reason == "challenge-elsewhere"
        assert set(far.tokens) == {None}


def test_a_token_goes_to_its_vault_after_the_challenge_and_to_nobody_else(
    vault: Vault, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_KEYVAULT_TOKEN", TOKEN)
    monkeypatch.setenv("AZURE_ACCESS_TOKEN", "canary-for-storage-alone")
    sign(vault.pinned(vault.make("EC", "P-256")))
    assert set(vault.tokens) == {None}
    with azure_vault(TOKEN, firm.tls) as far, tunnel() as way:
        name = far.make("EC-HSM", "P-384")
        pinned = f"{name}/{far.keys[name].current}"
        uri = f"azurekms://{HOST}/{pinned}?address=https://{HOST}:{far.server_port}"
        with authority.trusting(firm.root), proxies.through(way.url):
            sign(uri)
        assert far.tokens == [None, f"Bearer {TOKEN}", f"Bearer {TOKEN}"]
        assert [path for _, path in far.seen] == [
            f"/keys/{pinned}",
            f"/keys/{pinned}",
            f"/keys/{pinned}/sign",
        ]


def test_rule_29_no_secret_is_told(vault: Vault) -> None:
    uri = vault.pinned(vault.make("RSA", "2048"))
    recipient = registry.open_recipient(uri, Path(), ZONE)
    identity = registry.open_identity(uri, Path(), ZONE)
    wrapped = recipient.wrap(b"canary-of-a-32-byte-release-key!", CONTEXT)
    vault.refuses = lambda *_: Refusal(status=400, code="BadParameter", message="canary")
    with pytest.raises(VerificationFailed) as caught:
        identity.unwrap(wrapped, CONTEXT)
    assert "canary" not in repr(identity) + repr(caught.value) + str(caught.value.why)


# -- as others speak to it, and as a person uses it


def test_the_vendors_own_client_takes_our_server(firm: Firm) -> None:
    """It signs and unwraps: so what our adapter speaks to is what Key Vault speaks."""
    from azure.core.credentials import AccessToken
    from azure.keyvault.keys import KeyClient
    from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm, SignatureAlgorithm

    class Credential:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            return AccessToken(TOKEN, 2**31)

    with azure_vault(TOKEN, firm.tls) as far:
        signs, wraps = far.make("EC", "P-256"), far.make("RSA", "2048")
        options: dict[str, Any] = {
            "credential": Credential(),
            "verify_challenge_resource": False,
            "connection_verify": str(firm.root),
            "retry_total": 0,
        }
        client = KeyClient(f"https://127.0.0.1:{far.server_port}", **options)
        key = client.get_key(signs)
        assert key.id == f"https://{HOST}/keys/{signs}/{1:032x}"
        assert TENANT in far.challenge
        direct = key.id.replace(HOST, f"127.0.0.1:{far.server_port}")
        signature = CryptographyClient(direct, **options).sign(SignatureAlgorithm.es256, bytes(32))
        assert len(signature.signature) == 64
        wrap = client.get_key(wraps)
        direct = wrap.id.replace(HOST, f"127.0.0.1:{far.server_port}")
        crypto = CryptographyClient(direct, **options)
        wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, KEY).encrypted_key
        assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == KEY


def test_a_project_with_its_keys_in_a_vault_signs_and_verifies(
    vault: Vault, tmp_path: Path
) -> None:
    name = vault.make("EC-HSM", "P-256")
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"weights")
    (tmp_path / "sovgate.yaml").write_text(
        f"version: 1\nmodel: m\nzones:\n  eu:\n    region: {ZONE}\n    keys:\n      sign:\n"
        f"        key: azurekms://{HOST}/{name}/{1:032x}\n"
        f"        address: http://127.0.0.1:{vault.server_port}\n        protection: hsm\n"
    )
    for words in (
        ["lint", tmp_path],
        ["sign", model, "--zone", "eu", "--project", tmp_path],
        ["verify", model, "--project", tmp_path],
    ):
        done = run(*words)
        assert done.returncode == 0, done


def test_keys_show_says_how_a_key_is_kept(vault: Vault) -> None:
    done = run("keys", "show", vault.uri(vault.make("EC-HSM", "P-256")))
    assert done.returncode == 0, done
    assert f"Azure Key Vault {HOST}" in done.stdout
    assert "EC-HSM, for sign, verify" in done.stdout


def test_a_managed_hsm_s_refusal_names_the_data_actions_of_its_own_roles(vault: Vault) -> None:
    """They are spelt another way than a vault's, and nothing of a vault's may be pasted there."""
    uri = vault.uri("churn").replace("vault.azure.net", "managedhsm.azure.net")
    denied = Refusal(status=403, code="Forbidden", inner="ForbiddenByRbac")
    for verb, action in (("get", "read/action"), ("create", "create")):
        verbs = {verb: denied}
        vault.refuses = lambda made, _, verbs=verbs: verbs.get(made)  # type: ignore[misc]
        with pytest.raises(KeyServiceError) as caught:
            registry.generate(uri, Path(), ZONE, Wanted(use="sign"))
        assert caught.value.reason == "access-denied"
        assert f"Microsoft.KeyVault/managedHsm/keys/{action} " in f"{caught.value.fix} "
