"""DER, as little of it as a timestamp authority and a certificate log need. Pure."""

from __future__ import annotations

SEQUENCE, SET, OCTETS, INTEGER = 0x30, 0x31, 0x04, 0x02


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def integer(number: int) -> bytes:
    return tlv(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytes([first * 40 + second])
    for number in rest:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.insert(0, 0x80 | (number & 0x7F))
        content += bytes(digits)
    return tlv(0x06, content)


def set_of(tag: int, parts: list[bytes]) -> bytes:
    return tlv(tag, *sorted(parts))


def parts(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of what stands one after the other in `data`."""
    found = []
    while data:
        tag, size, start = data[0], data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        found.append((tag, data[start : start + size]))
        data = data[start + size :]
    return found
