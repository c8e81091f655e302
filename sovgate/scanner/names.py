"""What a file's name and first bytes say of how it is loaded. Pure.

Used on both sides of the child: in the parent to see which files need a look at all.
"""

from __future__ import annotations

import re

from sovgate.formats import containers
from sovgate.formats.containers import kind_of
from sovgate.scanner import arrays, texts

#: So much of a file's beginning and end decides whether it needs a look.
HEAD = 64 * 1024
#: Where the end of a zip archive is looked for.
TAIL = containers.ZIP_TAIL

#: Endings that mean a pickle unless the content is known to be something else.
ENDINGS = frozenset({"pkl", "pickle", "pt", "pth", "ckpt", "joblib", "dill", "cloudpickle", "pt2"})
#: As a further ending: what the one before it says still counts.
PACKED = frozenset({"gz", "bz2", "xz", "lzma", "z", "zst", "lz4"})

#: Files that people and programs read as text. Such a text may begin as a pickle would: every
#: "c" asks for a class, every "P" for a persistent id.
_TEXTS = """
    txt text md markdown rst tex bib csv tsv json jsonl json5 yaml yml toml ini cfg conf config
    properties xml html htm svg css js ts py pyi ipynb sh bash bat ps1 c h cc cpp hpp cu cuh rs go
    java kt lua r jl sql proto pbtxt prototxt jinja jinja2 j2 tmpl template gbnf lark ebnf vocab
    bpe codes merges labels names classes dic aff lst list log lock srt vtt license licence
"""
TEXT_ENDINGS = frozenset(_TEXTS.split())
_TEXT_STEMS = re.compile(
    r"readme|licen[cs]e|copying|copyright|notice|authors|contributors|changelog|changes|citation"
    r"|makefile|dockerfile|containerfile|modelfile|pipfile|requirements|vocab|vocabulary|merges"
    r"|labels|classes|classnames|categories|use_policy|version|(?:lexicon|words|phones|tokens)\Z"
)

ZIP, ZIP_END, NUMPY = containers.ZIP, containers.ZIP_END, arrays.MAGIC
#: What holds other files or packs one, and nothing here can open: (first bytes, what it is).
UNOPENED = (
    (b"ZF0x", "a compressed joblib pickle"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
    (b"\x02\x21\x4c\x18", "an LZ4 file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"LZIP", "an lzip file"),
    (b"\x1f\x9d", "a compress file"),
    (b"\xff\x06\x00\x00sNaPpY", "a snappy file"),
    (b"MSCF\0\0\0\0", "a cabinet"),
    # Frames to be skipped, of Zstandard and LZ4, and Zstandard of old.
    *((bytes([0x50 | n]) + b"\x2a\x4d\x18", "a Zstandard or LZ4 file") for n in range(16)),
    *((bytes([n]) + b"\xb5\x2f\xfd", "a Zstandard file") for n in (0x1E, *range(0x22, 0x28))),
)
_MAGIC = (ZIP, NUMPY, *(magic for magic, _ in UNOPENED))
#: Each byte that some unpickler of Python knows as an opcode: `pickle._Unpickler.dispatch`.
OPCODES = frozenset(
    b"().012BCFGIJKLMNPQRSTUVX]abcdeghijlopqrstu}"
    b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f"
    b"\x90\x91\x92\x93\x94\x95\x96\x97\x98"
)
#: Where a checksum stands in a tar: all that Python takes for a number there.
_TAR_SUM = re.compile(rb"[\s+0-7_oO-]{0,8}(?:\x00.*)?|[\x80\xff].*", re.DOTALL)


def ending(name: str) -> str:
    """The last ending in lower case, without what says how it is packed: "pkl" of "a.PKL.gz"."""
    stem, _, last = name.rpartition("/")[2].lower().rpartition(".")
    inner = stem.rpartition(".")[2]
    return inner if last in PACKED and (inner in ENDINGS or inner in TEXT_ENDINGS) else last


def unpacked(name: str) -> str:
    """What a compressed file is called once it is unpacked, as tools name it."""
    stem, _, last = name.rpartition(".")
    if stem and last.lower() in PACKED:
        return stem
    if stem and last.lower() in ("tgz", "tbz2", "tbz", "txz"):
        return f"{stem}.tar"
    return name


def is_text(name: str) -> bool:
    """Whether a file of this name may be read as text. Of pickles' own endings the name decides."""
    base = name.rpartition("/")[2].lower()
    stem, _, last = base.rpartition(".")
    if last in PACKED and stem:
        return is_text(stem)
    return last in TEXT_ENDINGS | ENDINGS or _TEXT_STEMS.match(base) is not None


def needs_look(name: str, head: bytes, tail: bytes) -> bool:
    """Whether any loader could begin on these bytes. `head` and `tail` as HEAD and TAIL say."""
    if not head:
        return False
    return (
        head[0] in OPCODES
        or head.startswith(_MAGIC)
        or ZIP_END in tail
        or kind_of(head) is not None
        or may_be_tar(head)
        or texts.is_json(head)
        or ending(name) in ENDINGS
    )


def may_be_tar(head: bytes) -> bool:
    """Cheap, and never wrong about one: most files are told apart here."""
    return len(head) >= 512 and _TAR_SUM.fullmatch(head, 148, 156) is not None
