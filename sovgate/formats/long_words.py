"""Where in a text a word is so long that a key or a token may begin there. No I/O.

Words of a language, names and numbers are shorter than any token. That there is no long word is
told many times faster than that none of all the patterns of `secret_forms` is there.
"""

from __future__ import annotations

#: What tokens, keys in base64 and their names are written with.
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
#: A word of so many of them is long. Whatever most patterns find has one.
LONG = 20
#: So far before its long word a pattern begins, at most: the header of a key in PEM.
BEFORE = 1024
_KINDS = bytes(ord("a") if byte in LETTERS else ord(" ") for byte in range(256))


def near(data: bytes) -> bytes:
    """What stands in and around the long words of `data`: of each BEFORE bytes on both sides. All
    of it, where that is most of it.
    """
    kinds, word = data.translate(_KINDS), b"a" * LONG
    parts: list[tuple[int, int]] = []
    at = kinds.find(word)
    while at >= 0:
        end = kinds.find(b" ", at + LONG)
        stop = (len(data) if end < 0 else end) + BEFORE
        start = max(0, at - BEFORE)
        if parts and start <= parts[-1][1]:
            start = parts.pop()[0]
        parts.append((start, stop))
        # What begins before `stop` is in this part already; of a longer word the rest is long too.
        at = kinds.find(word, stop - LONG + 1)
    if 2 * sum(stop - start for start, stop in parts) > len(data):
        return data
    return b"\0".join(data[start:stop] for start, stop in parts)
