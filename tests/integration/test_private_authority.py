"""`--ca FILE`: real TLS servers on loopback under a CA that nobody knows. Refused without it, used
with it; it vouches for servers and for nothing else."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from sovgate.errors import ConfigError, GitError, StoreError
from sovgate.git import repo
from sovgate.git.url import parse_remote
from sovgate.records import GRADE
from sovgate.stages import promote
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from sovgate.transport import authority, proxies
from tests.crossing import Crossing, make_crossing
from tests.firm import HOST, Firm, firm_in
from tests.githttp import git_server
from tests.hostilecloud import Answer, Asked, HostileCloud, serving, xml
from tests.repositories import Repository, git
from tests.tunnel import tunnel

CENTRAL = "aws:eu-central-1"
TOKEN = "a-token-of-some-length"
LEADING = (*authority.VARIABLES, "SOVGATE_CA", "SOVGATE_DOCTOR_CA")
UNUSED = (
    f"{', '.join(authority.VARIABLES)} are set and not used: name the CA's certificate with "
    "--ca FILE"
)


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    return firm_in(tmp_path / "firm")


@pytest.fixture
def crossing(tmp_path: Path) -> Crossing:
    return make_crossing(tmp_path / "project")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR of the test's own, in which no file is left; no proxy, no roots of others."""
    for variable in (*proxies.VARIABLES, *authority.VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "test")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def bucket(asked: Asked) -> Answer:
    """A service that says where the bucket lies, and holds nothing."""
    if "location" in asked.path:
        return xml("<LocationConstraint>eu-central-1</LocationConstraint>")
    if asked.method == "HEAD" and "/sha256/" not in asked.path:
        return Answer(headers=(("x-amz-bucket-region", "eu-central-1"),))
    return Answer(status=404)


def at(cloud: HostileCloud) -> Store:
    return open_store(f"s3://kyc-eu?endpoint={cloud.url}", Path(), CENTRAL)


def test_rule_36_a_store_under_a_ca_of_ones_own_is_refused_without_it(
    firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in LEADING:
        monkeypatch.setenv(variable, str(firm.root))
    other = firm_in(tmp_path / "other")
    with serving(bucket, firm.tls) as cloud:
        with pytest.raises(StoreError) as caught:
            at(cloud).location()
        assert caught.value.reason == "tls"
        assert "--ca" in str(caught.value.fix)
        assert caught.value.details == (UNUSED,)
        with authority.trusting(other.root), pytest.raises(StoreError) as caught:
            at(cloud).location()
        assert caught.value.reason == "tls"
        assert caught.value.details == ()
        assert cloud.seen == []
        with authority.trusting(firm.root):
            said = at(cloud).location()
        assert said is not None
        assert (said.value, said.grade) == (CENTRAL, GRADE["declared"])
        with pytest.raises(StoreError):  # it is over with the run
            at(cloud).location()


def test_rule_15_a_ca_of_ones_own_is_declared_at_a_catalogued_endpoint_too(firm: Firm) -> None:
    def grade() -> int:
        store = open_store("s3://kyc-eu", Path(), CENTRAL)
        return int(store.grade)  # type: ignore[attr-defined]

    assert grade() == GRADE["api"]
    with authority.trusting(firm.root):
        assert grade() == GRADE["declared"]


def test_the_default_roots_stay_beside_it(firm: Firm, tmp_path: Path) -> None:
    """A firm has some services under its own CA, and others not."""
    other = firm_in(tmp_path / "other")
    with authority.trusting(firm.root):
        made = authority.bundle(other.root)
        assert made is not None
        assert made.stat().st_mode & 0o777 == 0o600
        context = ssl.create_default_context(cafile=str(made))
        assert context.cert_store_stats()["x509_ca"] == 2
        assert authority.bundle(tmp_path / "no-default-roots-here") is not None
    assert not made.exists()
    assert authority.bundle(other.root) is None


def test_rule_36_git_under_a_ca_of_ones_own_is_refused_without_it(
    firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(tmp_path)
    git("config", "http.receivepack", "true", cwd=repository.path)
    for variable in LEADING:
        monkeypatch.setenv(variable, str(firm.root))
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "true")
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    other = firm_in(tmp_path / "other")
    with git_server(repository.path.parent, TOKEN, firm.tls) as server:
        target = promote.GitTarget(
            zone="eu",
            remote=parse_remote(f"{server.url}/serving.git", Path("/")),
            path="overlays/eu",
        )

        def tip() -> str:
            with promote.opened(target) as checkout:
                return checkout.read_overlay().tip

        with pytest.raises(GitError) as caught:
            tip()
        assert caught.value.reason == "tls"
        assert "certificate" in str(caught.value.why)
        assert "--ca FILE" in str(caught.value.fix)
        assert UNUSED in caught.value.details
        with authority.trusting(other.root), pytest.raises(GitError):
            tip()
        assert server.users == []  # no token went to a server that nobody vouches for
        with authority.trusting(firm.root):
            assert tip() == repository.tip()
        assert set(server.users) == {"x-access-token"}


def test_rule_36_a_store_is_reached_through_the_proxy_that_is_named(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with tunnel() as other, tunnel() as way, serving(bucket, firm.tls) as cloud:
        monkeypatch.setenv("HTTPS_PROXY", other.url)
        port = cloud.url.rpartition(":")[2]
        store = f"s3://kyc-eu?endpoint=https://{HOST}:{port}"
        with authority.trusting(firm.root), proxies.through(way.url):
            said = open_store(store, Path(), CENTRAL).location()
        assert said is not None
        assert (said.value, said.grade) == (CENTRAL, GRADE["declared"])
        assert set(way.asked) == {f"{HOST}:{port}"}
        assert set(way.logins) == {None}
        assert other.asked == []


@pytest.mark.parametrize("status", [200, 403, 407])
def test_rule_36_git_is_reached_through_the_proxy_that_is_named(
    firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    repository = Repository(tmp_path)
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "*")
    with (
        tunnel() as other,
        tunnel(status) as way,
        git_server(repository.path.parent, TOKEN, firm.tls) as server,
    ):
        monkeypatch.setenv("https_proxy", other.url)

        def tip(host: str) -> str:
            url = f"https://{host}:{server.server_port}/serving.git"
            remote = parse_remote(url, Path("/"))
            target = promote.GitTarget(zone="eu", remote=remote, path="overlays/eu")
            with promote.opened(target) as checkout:
                return checkout.read_overlay().tip

        with authority.trusting(firm.root), proxies.through(way.url):
            if status == 200:
                assert tip(HOST) == repository.tip()
            else:
                with pytest.raises(GitError) as caught:
                    tip(HOST)
                assert caught.value.reason == "git-unreachable"
                assert "--proxy" in str(caught.value.fix)
            assert set(way.asked) == {f"{HOST}:{server.server_port}"}
            assert set(way.logins) == {None}
            assert tip("127.0.0.1") == repository.tip()  # this machine, without the proxy
            assert set(way.asked) == {f"{HOST}:{server.server_port}"}
        with authority.trusting(firm.root), pytest.raises(GitError) as caught:
            tip(HOST)
        assert caught.value.reason == "git-unreachable"
        assert "https_proxy is set and not used" in caught.value.details[-1]
        assert other.asked == []


@pytest.mark.parametrize("name", ["http.sslCAInfo", "http.proxy"])
def test_rule_36_gits_own_configuration_names_neither_roots_nor_a_proxy(
    firm: Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is a file of the machine, which an earlier step may have written."""
    repository = Repository(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(repo, "login_home", lambda: str(home))
    monkeypatch.setenv("SOVGATE_GIT_TOKEN", TOKEN)
    with tunnel() as way, git_server(repository.path.parent, TOKEN, firm.tls) as server:
        value = way.url if name == "http.proxy" else str(firm.root)
        git("config", "--file", str(home / ".gitconfig"), name, value, cwd=home)
        host = HOST if name == "http.proxy" else "127.0.0.1"
        url = f"https://{host}:{server.server_port}/serving.git"
        target = promote.GitTarget(
            zone="eu", remote=parse_remote(url, Path("/")), path="overlays/eu"
        )
        with pytest.raises(GitError) as caught, promote.opened(target) as checkout:
            checkout.read_overlay()
        assert (way.asked, server.users) == ([], [])
    assert caught.value.reason == ("git-unreachable" if name == "http.proxy" else "tls")
    told = f"{name.lower()} of Git's configuration is set and not used"
    assert told in caught.value.details[-1]


def test_the_option_reaches_the_store(crossing: Crossing, firm: Firm) -> None:
    with serving(bucket, firm.tls) as cloud:
        crossing.edit("store: eu-store", f"store: s3://churn-eu?endpoint={cloud.url}")
        crossing.run("doctor", "--zone", "eu")
        assert cloud.seen == []
        _, said = crossing.run("doctor", "--zone", "eu", "--ca", str(firm.root))
        assert cloud.seen != []
        assert "vouches" not in said


def test_it_vouches_for_no_signature(crossing: Crossing, firm: Firm) -> None:
    """Signed by a key that the project does not trust, though the CA itself says it is good."""
    model = crossing.base / "other-model"
    model.mkdir()
    (model / "weights.txt").write_text("weights")
    firm.key.chmod(0o600)
    assert crossing.run("sign", str(model), "--key", f"file:{firm.key}")[0] == 0
    without = crossing.run("verify", str(model))
    code, said = crossing.run("verify", str(model), "--ca", str(firm.root))
    assert (code, said) == without
    assert code == 11, said


BAD = {
    "none": ("nothing here\n", "no certificate in PEM"),
    "empty": ("", "no certificate in PEM"),
    "large": ("x" * (authority.MAX_BYTES + 1), "larger than"),
    "key": ("{root}{key}", "a private key is in it|there is a private key in it"),
    "leaf": ("{root}{leaf}", "no CA's"),
    "cut": ("{cut}", "cut or damaged"),
    "changed": (
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "cannot be read",
    ),
    "another-kind": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PUBLIC KEY"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_used_is_one_error(
    crossing: Crossing, firm: Firm, tmp_path: Path, kind: str
) -> None:
    text, why = BAD[kind]
    root, key = firm.root.read_text(), firm.key.read_text()
    file = tmp_path / "named.pem"
    file.write_text(
        text.format(root=root, key=key, leaf=firm.leaf.read_text(), cut=root[: len(root) // 2])
        if "{" in text
        else text
    )
    with pytest.raises(ConfigError, match="--ca") as caught, authority.trusting(file):
        raise AssertionError("it was taken")
    assert caught.value.reason == "bad-ca"
    assert any(word in str(caught.value.why) for word in why.split("|"))
    assert caught.value.fix
    code, said = crossing.run("doctor", "--ca", str(file))
    assert code == 3
    assert "Traceback" not in said
    assert not any(line in said for line in key.splitlines()[1:-1])


def test_a_file_that_is_not_there_or_is_none(crossing: Crossing, tmp_path: Path) -> None:
    assert crossing.run("doctor", "--ca", str(tmp_path / "nowhere.pem"))[0] == 2
    assert crossing.run("doctor", "--ca", "")[0] == 2
    assert crossing.run("doctor", "--ca", str(tmp_path))[0] == 3
    os.mkfifo(tmp_path / "pipe")
    assert crossing.run("doctor", "--ca", str(tmp_path / "pipe"))[0] == 3


def test_text_beside_the_certificates_is_left_out(firm: Firm, tmp_path: Path) -> None:
    """`openssl x509 -text` and comments are usual, with any line ends."""
    text = "# our CA\r\n\n    Subject: CN=x\n" + firm.root.read_text().replace("\n", "\r\n") + "end"
    (tmp_path / "ca.pem").write_text(text, newline="")
    assert authority.read(tmp_path / "ca.pem").count("BEGIN CERTIFICATE") == 1
    assert "our CA" not in authority.read(tmp_path / "ca.pem")
