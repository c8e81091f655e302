"""The connections of our cloud clients: what their sockets are set to, and that none is led away.

Talks to servers of the tests' own on loopback; STS is reached through a proxy that plays it.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sovgate.errors import ExitCode, KeyServiceError, ResidencyMismatch, StoreError
from sovgate.keys import registry
from sovgate.stores._api import Store
from sovgate.stores.registry import open_store
from sovgate.transport import authority, proxies
from tests.conformance.stores import put
from tests.hostilecloud import Answer, Asked, HostileCloud, serving

CENTRAL = "aws:eu-central-1"
ARN = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
REDIRECTS = (301, 302, 303, 307, 308)


def at(cloud: HostileCloud) -> Store:
    return open_store(f"s3://kyc-eu/p?endpoint={cloud.url}", Path(), CENTRAL)


def key_at(cloud: HostileCloud) -> str:
    return f"awskms://{cloud.url.removeprefix('http://')}/{ARN}"


def delays(port: int) -> list[bool]:
    """Whether each socket of this process that is connected to `port` waits to fill a packet."""
    found = []
    for thing in gc.get_objects():
        if type(thing) is not socket.socket or thing.family is not socket.AF_INET:
            continue
        with contextlib.suppress(OSError):  # closed, or connected to nobody
            if thing.getpeername()[1] == port:
                found.append(not thing.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    return found


@pytest.mark.parametrize("service", ["s3", "kms"])
def test_a_small_request_does_not_wait_for_an_acknowledgement(service: str) -> None:
    """With Nagle's algorithm on, the body of each small upload waits some 40 ms."""
    seen: list[bool] = []

    def answer(asked: Asked) -> Answer:
        seen.extend(delays(cloud.server_port))
        return Answer()

    def send() -> None:
        if service == "s3":
            put(at(cloud), "releases/a/1.json", b"x")
        else:
            registry.open_signer(key_at(cloud), Path(), CENTRAL)

    # An empty answer is none, but by then the socket was seen.
    with serving(answer) as cloud, pytest.raises((StoreError, KeyServiceError)):
        send()
    assert seen
    assert not any(seen)


# -- redirects


@pytest.mark.parametrize(
    ("status", "operation"),
    [
        *((status, operation) for status in REDIRECTS for operation in ("get", "kms")),
        *((307, operation) for operation in ("head", "put", "list")),
    ],
)
def test_rule_15_no_redirect_is_followed(status: int, operation: str) -> None:
    def answer(_: Asked) -> Answer:
        return Answer(status=status, headers=(("Location", f"{other.url}/kyc-eu/p/blobs/x"),))

    with serving(lambda _: Answer()) as other, serving(answer) as cloud:
        calls = {
            "get": lambda: at(cloud).get("blobs/x", most=100),
            "head": lambda: at(cloud).stat("blobs/x"),
            "put": lambda: put(at(cloud), "releases/a/1.json", b"x"),
            "list": lambda: list(at(cloud).list("audit/")),
            "kms": lambda: registry.open_signer(key_at(cloud), Path(), CENTRAL),
        }
        with pytest.raises(ResidencyMismatch) as caught:
            calls[operation]()
        assert caught.value.reason == "redirected"
        assert len(cloud.seen) == 1
        assert not other.seen


def tls_for(*hosts: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for these hosts, and the file of the root that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a root of the test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "root.pem").write_bytes(pem)
    (folder / "server.pem").write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, folder / "root.pem"


def head_of(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(4096)):
        data += more
    return data


@contextlib.contextmanager
def impostor(context: ssl.SSLContext, answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that answers in the place of whomever it is to connect to. Its URL, and what it was
    asked for: the line of each CONNECT, and of each request within."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def play() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                asked.append(head_of(connection).partition(b"\r\n")[0])
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with context.wrap_socket(connection, server_side=True) as inner:
                    asked.append(head_of(inner).partition(b"\r\n")[0])
                    inner.sendall(answer)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("status", [301, 303, 307])
def test_rule_15_sts_does_not_send_us_elsewhere_for_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The token of a workload would go with it."""
    context, root = tls_for("sts.eu-central-1.amazonaws.com", folder=tmp_path)
    (tmp_path / "token").write_text("a token of some length")
    for given in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(given, raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/push")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    answer = (
        f"HTTP/1.1 {status} Elsewhere\r\nLocation: https://sts.evil.example/\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    with (
        impostor(context, answer.encode()) as (url, asked),
        authority.trusting(root),
        proxies.through(url),
        pytest.raises(StoreError) as caught,
    ):
        open_store("s3://kyc-eu", Path(), CENTRAL).stat("blobs/x")
    assert caught.value.exit_code == ExitCode.STORE
    assert [line.rpartition(b" ")[0] for line in asked] == [
        b"CONNECT sts.eu-central-1.amazonaws.com:443",
        b"POST /",
    ]
