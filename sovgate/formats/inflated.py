"""What is compressed in a source, as a source: forwards only, bounded, unpacked as it is asked for.

gzip, zlib, bzip2, xz and lzma, which is what loaders of pickles unpack unasked. No I/O of its own.
"""

from __future__ import annotations

import zlib
from typing import Any

from sovgate.formats.tensors._source import Source

CHUNK = 64 * 1024
MAX_OUT = 256 * 1024 * 1024
#: Of memory for xz, whose own header says how much it wants: its highest preset wants 65.
MAX_MEMORY = 128 * 1024 * 1024
#: By which bytes joblib tells them.
MAGIC = (b"\x1f\x8b", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"BZ", b"\xfd7zXZ", b"\x5d\x00")


class TooMuchError(Exception):
    """More comes out than anybody wants to look through."""


class Inflated:
    """Give only offsets that grow. Behind the end, and behind what is damaged, all is zero."""

    size = 2 * MAX_OUT

    def __init__(self, source: Source, magic: bytes) -> None:
        self._source, self._magic = source, magic
        self._in = self._out = 0
        self._rest = self._ready = b""
        self._ended = False
        self._wrong: tuple[type[Exception], ...] = (zlib.error, OSError, EOFError, ValueError)
        self._unpacker = self._new()

    def read(self, offset: int, count: int) -> bytes:
        """Raises TooMuchError."""
        while self._out + len(self._ready) < offset + count and not self._ended:
            unneeded = min(len(self._ready), max(0, offset - self._out))
            self._out += unneeded
            if self._out > MAX_OUT:
                raise TooMuchError
            self._ready = self._ready[unneeded:] + self._more()
        start = max(0, offset - self._out)
        return self._ready[start : start + count].ljust(count, b"\0")

    def _new(self) -> Any:
        if self._magic == b"BZ":
            import bz2

            return bz2.BZ2Decompressor()
        if self._magic in (b"\xfd7zXZ", b"\x5d\x00"):
            import lzma

            self._wrong = (lzma.LZMAError, EOFError, ValueError)
            return lzma.LZMADecompressor(memlimit=MAX_MEMORY)
        return zlib.decompressobj(31 if self._magic == b"\x1f\x8b" else 15)

    def _more(self) -> bytes:
        """The next bytes, none where it goes on with another stream; sets `_ended`."""
        if not self._rest and getattr(self._unpacker, "needs_input", True):
            count = min(CHUNK, self._source.size - self._in)
            self._rest = self._source.read(self._in, count)
            self._in += count
            if not count:
                self._ended = True
                return b""
        given, self._rest = self._rest, b""
        try:
            out: bytes = self._unpacker.decompress(given, CHUNK)
        except self._wrong as error:
            if str(error).startswith("Memory usage limit"):
                raise TooMuchError from error
            self._ended = True
            return b""
        if self._unpacker.eof:  # a gzip file may have several, and the first may be empty
            self._rest = self._unpacker.unused_data
            self._unpacker = self._new()
        else:
            self._rest = getattr(self._unpacker, "unconsumed_tail", b"")
        return out
