"""Tells a small file that stands for one which lies elsewhere: pointers, links and error pages.

By content first, whatever the file is called (RULES 38). No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sovgate.formats.endings import WEIGHTS
from sovgate.formats.unfinished import is_unfinished

#: A stand-in is smaller than this. Pages of errors are the largest.
MAX_BYTES = 256 * 1024

#: What each format calls a whole model, or its parts; and what lies beside one.
_MODEL = re.compile(
    r".*\.(?:gguf|onnx|tflite|keras)"
    r"|(?:.*[-_.])?(?:model|weights|consolidated)(?:[-_.].*)?"
    r"\.(?:safetensors|pt|pth|ckpt|bin|h5|hdf5|npz|msgpack|ot|pdparams|engine)",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"adapter|lora|optim|mmproj|vocab|tokenizer|sentencepiece|imatrix|scheduler|training_args",
    re.IGNORECASE,
)
#: Folders in which a repository has the same model in another format.
OTHER_FORMAT = re.compile(
    r"(?:onnx|openvino|original|gguf|mlx|flax|tf|pytorch|tflite|coreml)(?:[-_].*)?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_LFS = re.compile(
    rb"version https?://(?:git-lfs\.github\.com/spec/v|git-media\.io/v/|hawser\.github\.com/spec/v)"
    rb"[0-9]"
)
_OID = re.compile(rb"\n(?:oid [a-z0-9]+:[0-9a-f]{40,128}|size [0-9]+)\r?(?:\n|\Z)")
_ANNEX = re.compile(
    rb"(?:[./]*|[^\n]{0,512}/)(?:\.git/)?annex/objects/[^\s/]\S{0,512}\s{0,2}(?:\n[^\n]{0,200}){0,9}"
)
_XET = re.compile(rb"# xet version [0-9]")
_FAT = re.compile(rb"#\$# git-fat [0-9a-f]{40}")
_DVC = re.compile(rb"(?:\A|\n)outs:[ \t]*\r?\n")
_DVC_HASH = re.compile(
    rb"(?:\A|\n)[ \t-]*(?:md5|hash|etag|checksum|files|version_id)[ \t]*:", re.ASCII
)
_DVC_PATH = re.compile(rb"(?:\A|\n)[ \t-]+path[ \t]*:[ \t]*([^\r\n]{1,1024})")
#: A link that was written as a text: Windows, archives, copies through a browser.
_PATH = re.compile(rb"(?:\.{1,2}/)+[\w.@+=-]{1,255}(?:/[\w.@+=-]{1,255}){0,20}\n?", re.ASCII)
_BLOB = re.compile(rb"(?:[\w.-]{1,255}/){0,20}blobs/[0-9a-f]{40,64}\n?", re.ASCII)
_LINKS = (
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", "a shortcut of Windows"),
    (b"book\0\0\0\0mark\0\0\0\0", "an alias of macOS"),
    (b"!<symlink>", "a link of Cygwin"),
    (b"IntxLNK\x01", "a link of Interix"),
    (b"[InternetShortcut]", "a shortcut of Windows"),
)
#: What a server answers in place of a file.
_ANSWERS = re.compile(
    rb"\s{0,64}(?:<!doctype html|<html|<\?xml[^>]{0,200}>\s{0,9}<error>|<error>\s{0,9}<code>|"
    rb"\{\s{0,9}\"(?:error|errors|message)\"\s{0,9}:|"
    rb"(?:404: )?not found\s{0,9}\Z|entry not found|repository not found|"
    rb"invalid (?:username or password|credentials)|access to (?:model|this resource) |"
    rb"(?:403:? |401:? )?(?:forbidden|unauthorized|access denied|too many requests)[.!]?\s{0,9}\Z)",
    re.IGNORECASE,
)
#: The same in place of a file of settings, which may begin with much, but with no page.
_PAGE = re.compile(
    rb"\s{0,64}(?:<!--.{0,500}?-->\s{0,64})?(?:<!doctype html|<html[\s>])"
    rb"|\s{0,9}\{\s{0,9}\"error\"\s{0,9}:\s{0,9}\"[^\"]{1,500}\"\s{0,9}\}\s{0,9}\Z",
    re.IGNORECASE | re.DOTALL,
)
#: The same as a whole file, of any kind.
_ANSWER = re.compile(
    rb"\s{0,9}(?:404: not found|entry not found|repository not found)[.!]?\s{0,9}", re.IGNORECASE
)
#: Where the file is, in place of the file.
_ADDRESS = re.compile(rb"[a-z][a-z0-9+-]{1,15}:/{1,3}[\x21-\x7e]{1,2000}\s{0,9}", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """`what` completes "it is …"; `reason` is an error's. Harmless where `target` is there."""

    what: str
    reason: str
    fix: str
    target: str | None = None
    why: str = "the real file is elsewhere, so the model would cross without it"


_AGAIN = "download the file itself"


def find(name: str, head: bytes, size: int) -> StandIn | None:
    """`head` is the file's beginning, or all of it up to `MAX_BYTES`; `name` its path."""
    base = name.rpartition("/")[2]
    if is_unfinished(name):
        return StandIn(
            what="what a download, a copy or a save left that did not finish",
            reason="unfinished-download",
            fix="let the download finish, copy or save the model again, or remove what is partial",
        )
    if base.startswith(".") and base.endswith(".icloud"):
        return _link("a file that iCloud keeps elsewhere")
    if base.endswith(".rclonelink"):
        return _link("a link of rclone")
    if size > MAX_BYTES:
        return None
    if size == 0 and _holds_weights(base):
        return StandIn(
            what="an empty file",
            reason="stand-in",
            fix=f"{_AGAIN}, or remove it if the model does not need it",
            why="its name says that it holds weights, and it holds nothing",
        )
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _LFS.match(text) and _OID.search(text):
        return StandIn(
            what="a pointer of Git LFS",
            reason="lfs-pointer",
            fix="git lfs pull; in a workflow: `lfs: true` under `with` of the checkout step",
        )
    return _pointer(text) or _textual(base, text, size)


def _pointer(text: bytes) -> StandIn | None:
    if _ANNEX.fullmatch(text):
        return StandIn(what="a pointer of git-annex", reason="annex-pointer", fix="git annex get .")
    if _XET.match(text):
        return StandIn(what="a pointer of git-xet", reason="xet-pointer", fix="git xet checkout")
    if _FAT.match(text):
        return StandIn(what="a pointer of git-fat", reason="fat-pointer", fix="git fat pull")
    # The word first: where no line begins with it, the search is a slow one.
    dvc = b"outs:" in text and _DVC.search(text) and _DVC_HASH.search(text)
    if dvc and (path := _DVC_PATH.search(text)):
        target = path.group(1).strip(b" \t'\"").decode("utf-8", "replace")
        return StandIn(what="a pointer of DVC", reason="dvc-pointer", fix="dvc pull", target=target)
    return None


def _textual(base: str, text: bytes, size: int) -> StandIn | None:
    for magic, what in _LINKS:
        if text.startswith(magic):
            return _link(what)
    if size < 4096 and (_BLOB.fullmatch(text) or (_weights(base) and _PATH.fullmatch(text))):
        return _link("the path of another file, as text")
    if size < 4096 and _weights(base) and _ADDRESS.fullmatch(text):
        return _link("the address of the file, as text")
    page = base.lower().endswith((".json", ".jinja")) and _PAGE.match(text)
    answer = size < 4096 and _ANSWER.fullmatch(text)
    if not answer and base.lower().endswith(".json"):  # no JSON begins with such a word
        answer = text.lstrip()[:1].isalpha() and _ANSWERS.match(text)
    if page or answer or (_weights(base) and (_ANSWERS.match(text) or _PAGE.match(text))):
        return StandIn(
            what="what a server answered instead of the file",
            reason="stand-in",
            fix=f"open it, log in if it asks for that, and {_AGAIN}",
        )
    return None


def is_model(path: str) -> bool:
    """Whether a file is by its name a whole model, or a part of one. `path` is from the folder of
    an index: what lies in any folder below may belong to something smaller."""
    folder, _, base = path.rpartition("/")
    if _MODEL.fullmatch(base) is None or _NO_MODEL.search(path):
        return False
    top = folder.partition("/")[0]
    return not folder or base.lower().endswith(".gguf") or OTHER_FORMAT.fullmatch(top) is not None


def _weights(base: str) -> bool:
    return base.lower().rpartition(".")[2] in WEIGHTS


def _holds_weights(base: str) -> bool:
    """By its name alone. Anything is called `.bin`, and an empty one may be meant."""
    named = base.startswith(("pytorch_model", "adapter_model"))
    return _weights(base) and (named or not base.lower().endswith(".bin"))


def _link(what: str) -> StandIn:
    return StandIn(what=what, reason="stand-in", fix=f"{_AGAIN}, and replace this file with it")


def targets(name: str, target: str) -> Iterator[str]:
    """What a file of the model must be called for `target` to be there: itself, or below it."""
    folder = name.rpartition("/")[0]
    path = f"{folder}/{target}" if folder else target
    path = path.removeprefix("./").rstrip("/")
    yield path
    yield path + "/"
