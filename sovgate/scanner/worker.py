"""Looks into files for pickles, in a process of its own, under limits (`limits`).

Started as `python -I -S worker.py FOLDER-OF-SOVGATE`, with a socket as standard input; imports the
standard library and this folder. For each file it is given a descriptor and a name, and answers
why it counts as a pickle. A file that is too much for it ends this process and nothing else.

Request: four bytes of length, JSON {"name": …, "size": …}, and the descriptor. Answer: the same
length, JSON {"why": text, "inside": [names], "by_name": boolean}, {"modules": [names]} that a text
would import, or null; a length again, and the digests of what was read (`sovgate.blocks`).
"""

from __future__ import annotations

import json
import os
import socket
import sys

MAX_REQUEST = 64 * 1024
#: What is told of modules fits into an answer.
MAX_MODULES = 100


def main() -> None:
    sys.set_int_max_str_digits(0)  # no limit of this Python hides what another would read
    sys.path.append(sys.argv[1])
    from sovgate.scanner import judge, limits, streams

    _load_all()
    channel = socket.socket(fileno=0)
    limits.confine()
    looker = judge.Judge()
    while True:
        # No byte more than this request has: the descriptor of the next one comes with its first.
        data, descriptors, _, _ = socket.recv_fds(channel, 4, 1)
        if not data:
            return
        data += _take(channel, 4 - len(data))
        request = json.loads(_take(channel, min(int.from_bytes(data, "big"), MAX_REQUEST)))
        file = streams.File(descriptors[0], request["size"])
        limits.allow_time(file.size)
        found = looker.look(request["name"], file)
        os.close(descriptors[0])
        # Which of them the model brings is known where its files are.
        modules = sorted({one.partition(".")[0][:256] for one in looker.modules})[:MAX_MODULES]
        looker.modules.clear()
        answer: object = found and {**found._asdict(), "inside": found.inside[:16]}
        if found is None and modules:
            answer = {"modules": modules}
        reply = json.dumps(answer).encode()
        for part in (reply, file.blocks.packed()):
            channel.sendall(len(part).to_bytes(4, "big") + part)


def _take(channel: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = channel.recv(count - len(data))
        if not more:
            sys.exit()
        data += more
    return data


def _load_all() -> None:
    """Everything that looking may need, before no file can be opened any more."""
    import bz2
    import encodings.ascii
    import encodings.latin_1
    import encodings.raw_unicode_escape
    import encodings.unicode_escape
    import encodings.utf_8
    import hashlib
    import lzma
    import tarfile
    import zlib

    hashlib.sha256(b"").digest()  # what OpenSSL reads, it reads now
    del bz2, encodings, hashlib, lzma, tarfile, zlib


if __name__ == "__main__":
    main()
