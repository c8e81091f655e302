"""A machine in Google's cloud: a network of its own with a metadata service, and a Sigstore.

`python -m tests.cloudmachine FOLDER LIE WORDS…`, started by `unshare --net`: nothing else can be
reached from there. Runs sovgate with these words, in the folder that has the model.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.sigstores import Sigstore
from tests.sigstoreserver import laid, serving

ADDRESS = "169.254.169.254"
ACCOUNT = "signer@bank.iam.gserviceaccount.com"


def network() -> None:
    """The loopback device up, and the metadata service's address on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, address in ((b"lo", "127.0.0.1"), (b"lo:1", ADDRESS)):
            there = struct.pack("16sH2s4s8x", name, socket.AF_INET, b"", socket.inet_aton(address))
            fcntl.ioctl(control, 0x8916, there)  # SIOCSIFADDR
            fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", name, 0x41))  # SIOCSIFFLAGS: up


def main(folder: Path, lie: str, words: list[str]) -> None:
    """`lie`: "other" (not Google's), "none" (no account), "redirect", or "" for the truth."""
    network()
    with serving(Sigstore()) as served:
        key = laid(folder, served).replace("token-file=token", "login=gcp")
        (folder / "token").unlink()

        class Metadata(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                named = parse_qs(url.query)["audience"][0]
                at = "/computeMetadata/v1/instance/service-accounts/default/identity"
                right = url.path == at and self.headers["Metadata-Flavor"] == "Google"
                email = {"email": ACCOUNT, "email_verified": True}
                body = served.token(ACCOUNT, aud=named, **email).encode() if right else b"no"
                self.send_response(302 if lie == "redirect" else 404 if lie == "none" else 200)
                if lie == "redirect":
                    self.send_header("Location", "http://127.0.0.1:1/")
                if lie != "other":
                    self.send_header("Metadata-Flavor", "Google")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = HTTPServer((ADDRESS, 80), Metadata)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        from sovgate.cli import main as sovgate

        with contextlib.chdir(folder):
            sovgate([*words, "--key", key])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
