"""What git said, and the error that it becomes: the words differ by how its curl was built."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovgate.git.repo import Ignored
from sovgate.git.url import parse_remote
from sovgate.stages.promote.asked import GitTarget
from sovgate.stages.promote.refusal import refused

URL = "https://git.bank.example/serving.git"
TARGET = GitTarget(zone="eu", remote=parse_remote(URL, Path("/")), path="overlays/eu")
NOT_USED = Ignored(
    roots=("SSL_CERT_FILE is set and not used: name the CA's certificate with --ca FILE",),
    proxy=("HTTPS_PROXY is set and not used: name the proxy with --proxy http://HOST:PORT",),
)

AUTHORITY, NAME, TIME = "--ca FILE", "gitops.repo", "renewed"
CERTIFICATES = {
    "SSL certificate problem: unable to get local issuer certificate": AUTHORITY,
    "SSL certificate problem: self-signed certificate in certificate chain": AUTHORITY,
    "SSL certificate problem: self signed certificate": AUTHORITY,
    "SSL certificate problem: certificate has expired": TIME,
    "SSL certificate problem: certificate is not yet valid": TIME,
    "SSL: no alternative certificate subject name matches target host name 'git.bank'": NAME,
    "SSL: certificate subject name 'a' does not match target host name 'b'": NAME,
    "SSL: certificate subject name (a) does not match target hostname 'b'": NAME,
    "server certificate verification failed. CAfile: /etc/ca.crt CRLfile: none": AUTHORITY,
    "server verification failed: certificate signer not trusted. (CAfile: x)": AUTHORITY,
    "server verification failed: certificate has expired. (CAfile: x CRLfile: none)": TIME,
    "Peer's Certificate issuer is not recognized.": AUTHORITY,
    "SSL certificate problem: Invalid certificate chain": AUTHORITY,
    "SSL: CA signer not available for verification, ASN no signer error to confirm failure": (
        AUTHORITY
    ),
    "SSL certificate OpenSSL verify result: unable to get local issuer certificate (20)": AUTHORITY,
    "rustls_connection_process_new_packets: invalid peer certificate: UnknownIssuer": AUTHORITY,
}
PROXIES = (
    "Could not resolve proxy: proxy.bank.example",
    "CONNECT tunnel failed, response 403",
    "Received HTTP code 407 from proxy after CONNECT",
    "Failed to connect to proxy.bank.example port 3128: Connection refused (proxy)",
    "Proxy CONNECT aborted",
)


@pytest.mark.parametrize("said", CERTIFICATES)
def test_a_certificate_of_an_unknown_ca_names_the_option(said: str) -> None:
    error = refused("read", f"fatal: unable to access '{URL}/': {said}", TARGET, NOT_USED)
    assert error.reason == "tls"
    assert CERTIFICATES[said] in str(error.fix)
    assert ("--ca" in str(error.fix)) is (CERTIFICATES[said] == AUTHORITY)
    assert said.split("'")[0] in str(error.why)
    assert error.details == NOT_USED.roots


@pytest.mark.parametrize("said", PROXIES)
def test_a_proxy_that_does_not_answer_is_called_so(said: str) -> None:
    error = refused("fetch from", f"fatal: unable to access '{URL}/': {said}", TARGET, Ignored())
    assert (error.reason, "--proxy" in str(error.fix)) == ("git-unreachable", True)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (f"fatal: unable to access '{URL}/': Could not resolve host: git", "git-unreachable"),
        (f"fatal: unable to access '{URL}/': The requested URL returned error: 403", "git-access"),
        ("fatal: Authentication failed for 'https://proxy.bank.example/x.git/'", "git-access"),
        ("remote: this proxy has no certificate\nfatal: repository 'x' not found", "no-repository"),
    ],
)
def test_other_words_keep_their_meaning(said: str, reason: str) -> None:
    error = refused("read", said, TARGET, NOT_USED)
    assert error.reason == reason
    assert "--ca" not in str(error.fix)
    assert (error.details[-1:] == NOT_USED.proxy) is (reason == "git-unreachable")
