"""Reads what a model's files say of themselves: tensor headers, configurations, card, licences.

Opens files for reading only, below a directory handle (RULES 4), and reads headers alone. Loads no
pickle: `scanner` names them.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sovgate.blocks import Blocks, ChangedError, Reader
from sovgate.errors import SovgateError, disk_error
from sovgate.files import open_below
from sovgate.formats import claims, leftovers, parts, pieces, remotecode, standins, tensors
from sovgate.formats import huggingface as hf
from sovgate.formats.folders import Folders
from sovgate.formats.manifest import FILE_NAME
from sovgate.links import opened_model
from sovgate.scanner.child import AHEAD, Found, Look, Scanner
from sovgate.stages.sbom._files import Beginning, File, changed, search
from sovgate.stages.sbom.references import References, refused

_LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|use_policy)[^/]*", re.ASCII | re.IGNORECASE)
_SPDX_LINE = re.compile(rb"SPDX-License-Identifier:[ \t]*([A-Za-z0-9(][A-Za-z0-9.+() -]{0,199})")
#: Titles of licence texts, with white space folded.
_TITLES = (
    (re.compile(rb"^ ?Apache License Version 2\.0\b"), "Apache-2.0"),
    (re.compile(rb"^ ?(The )?MIT License( \(MIT\))? Copyright"), "MIT"),
    (re.compile(rb"^ ?BSD 3-Clause License\b"), "BSD-3-Clause"),
    (re.compile(rb"^ ?BSD 2-Clause License\b"), "BSD-2-Clause"),
    (re.compile(rb"^ ?Mozilla Public License Version 2\.0\b"), "MPL-2.0"),
    (re.compile(rb"^ ?GNU GENERAL PUBLIC LICENSE Version 3\b"), "GPL-3.0-only"),
    (re.compile(rb"^ ?GNU AFFERO GENERAL PUBLIC LICENSE Version 3\b"), "AGPL-3.0-only"),
)
#: Which format's tensors are the model, where it comes in several.
FORMATS = ("safetensors", "gguf", "onnx")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A tensor file without its tensors. `dtypes`: dtype -> (tensors, elements).

    `part`: "1 of 2" of a set; `unknown`: what this version of sovgate does not know of it.
    """

    format: str
    version: str | None
    dtypes: Mapping[str, tuple[int, int]]
    facts: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    part: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def tensors(self) -> int:
        return sum(count for count, _ in self.dtypes.values())

    @property
    def parameters(self) -> int:
        return sum(elements for _, elements in self.dtypes.values())


@dataclass(frozen=True, kw_only=True)
class Licence:
    """`text` is an SPDX id or expression, or a name; `declared`: said of the model as such."""

    text: str
    declared: bool


@dataclass(frozen=True, kw_only=True)
class Code:
    """What runs when a model is loaded: pickles, and Python of its own that its files ask for."""

    pickles: Mapping[str, Found] = field(default_factory=dict)
    remote: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Files:
    """By name what a file system said of each file, and what was read of it."""

    states: Mapping[str, os.stat_result] = field(default_factory=dict)
    looked: Mapping[str, Blocks] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What was found. Names are those of the manifest; a file's own is ".".

    code     what runs when it is loaded
    secrets  name -> (what, line)
    strays   name -> why it does not count as weights of the model
    claims   what its files say that it was made from
    looked   what was read of each file to say all this, to be held against the bytes that are
             hashed: `hashing.hash_files`, `encrypt.send`
    """

    summaries: Mapping[str, Summary] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, int | None]] = field(default_factory=dict)
    strays: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[claims.Claim, ...] = ()
    code: Code = field(default_factory=Code)
    configs: Mapping[str, hf.Config] = field(default_factory=dict)
    licence_files: tuple[str, ...] = ()
    licences: tuple[Licence, ...] = ()
    card: hf.Card = field(default_factory=hf.Card)
    files: Files = field(default_factory=Files, repr=False)

    @property
    def looked(self) -> Mapping[str, Blocks]:
        return self.files.looked

    @property
    def states(self) -> Mapping[str, os.stat_result]:
        return self.files.states

    @property
    def pickles(self) -> Mapping[str, Found]:
        return self.code.pickles

    @property
    def remote_code(self) -> Mapping[str, str]:
        return self.code.remote

    @property
    def format(self) -> str | None:
        """The format whose tensors count as the model's."""
        there = {one.format for name, one in self.summaries.items() if name not in self.strays}
        return next((format_ for format_ in FORMATS if format_ in there), None)

    def of_format(self, format_: str | None) -> list[Summary]:
        """Those that count, in the order of their names."""
        counted = sorted(item for item in self.summaries.items() if item[0] not in self.strays)
        return [summary for _, summary in counted if summary.format == format_]


class _Opened(NamedTuple):
    name: str
    path: str
    file: File
    look: Look

    @property
    def descriptor(self) -> int:
        return self.file.reader.descriptor


def inspect(
    root: Path, kind: str, names: Sequence[str], only: Collection[str] | None = None
) -> Inspected:
    """Read what the files `names` of the model at `root` say of themselves.

    `only`: those of them that are to be read. What they say of others is then not looked for.

    Raises Malformed, reasons "malformed", "bad-header", "unsafe-path"; VerificationFailed, reasons
    "missing-shard", "missing-external", "not-regular", and those of stand-ins ("lfs-pointer" and
    the like); DiskError. Each names the file.
    """
    with (
        opened_model(root if kind == "directory" else root.parent) as handle,
        Scanner(names) as scanner,
    ):
        reader = _Reader(root, kind, names, scanner)
        reader.run(handle, names if only is None else [name for name in names if name in only])
        if only is None:
            reader.references.check()
    return reader.result()


def _open(handle: int, path: str, name: str) -> int:
    try:
        return open_below(handle, path)
    except OSError as error:
        raise disk_error(error, f"read {name[:160]!r}") from error


class _Reader:
    def __init__(self, root: Path, kind: str, names: Sequence[str], scanner: Scanner) -> None:
        self.root, self.kind, self.names, self.scanner = root, kind, names, scanner
        self.summaries: dict[str, Summary] = {}
        self.pickles: dict[str, Found] = {}
        self.secrets: dict[str, tuple[str, int | None]] = {}
        self.claims: set[claims.Claim] = set()
        self.remote_code: dict[str, str] = {}
        self.configs: dict[str, hf.Config] = {}
        self.licence_files: list[str] = []
        self.licences: list[Licence] = []
        self.card = hf.Card()
        self.states: dict[str, os.stat_result] = {}
        self.looked: dict[str, Blocks] = {}
        self.sizes: dict[str, int] = {}
        self.folders = Folders(names, alone=root.name if kind == "file" else None)
        self.references = References(sizes=self.sizes, folders=self.folders)

    def run(self, handle: int, there: Sequence[str]) -> None:
        pieces.refuse(self.folders.files)
        # Indices first: what they promise is compared while their shards are read.
        names = sorted(there, key=lambda name: not hf.is_index(name))
        opened: deque[_Opened] = deque()
        try:
            for name in names:
                opened.append(self.open(handle, name))
                # The child looks at some while we read the ones before them.
                if len(opened) > AHEAD:
                    self.next(opened)
            while opened:
                self.next(opened)
        finally:
            for one in opened:
                os.close(one.descriptor)

    def open(self, handle: int, name: str) -> _Opened:
        path = self.root.name if name == FILE_NAME else name
        descriptor = _open(handle, path, name)
        try:
            state = os.fstat(descriptor)
            self.states[name] = state
            self.sizes[name] = state.st_size
            reader = Reader(descriptor, state.st_size)
            self.looked[name] = reader.blocks
            return _Opened(name, path, File(reader), self.scanner.begin(path, reader))
        except (SovgateError, ChangedError) as error:
            os.close(descriptor)
            told = error if isinstance(error, SovgateError) else changed()
            raise _placed(told, path) from error
        except BaseException:
            os.close(descriptor)
            raise

    def next(self, opened: deque[_Opened]) -> None:
        one = opened[0]
        try:
            self.file(one.name, one.path, one.file, self.scanner.answer(one.look))
            if self.looked[one.name].torn:
                raise changed()
        except SovgateError as error:
            raise _placed(error, one.path) from error
        opened.popleft()
        os.close(one.descriptor)

    def result(self) -> Inspected:
        return Inspected(
            summaries=self.summaries,
            code=Code(pickles=self.pickles, remote=self.remote_code),
            secrets=self.secrets,
            strays=self.references.strays,
            claims=tuple(sorted(self.claims, key=lambda one: (one.file, one.name))),
            configs=self.configs,
            card=self.card,
            licence_files=tuple(sorted(self.licence_files)),
            licences=tuple(self.licences),
            files=Files(states=self.states, looked=self.looked),
        )

    def file(self, name: str, path: str, file: File, found: Found | None) -> None:
        self.stand_in(name, path, file)
        if found is not None:
            self.pickles[name] = found
        # What unpickles is a pickle, whatever it begins with; by its name it may be more.
        kind = tensors.kind_of(path, file.head[:8] if found is None else b"")
        read = None if kind is None else tensors.read(kind, file)
        # The numbers of tensors hold no text; there are gigabytes of them.
        searched = file if read is None or read.header is None else Beginning(file, read.header)
        inside = search(path, searched, self.states[name], file.reader)
        if inside.secret is not None:
            self.secrets[name] = inside.secret
        if inside.pointer is not None:
            raise refused(*inside.pointer)
        code = remotecode.find(path, file, file.head, self.names) or inside.code
        if code is not None:
            self.remote_code[name] = code
        self.claims.update(inside.claims)
        if claims.is_settings(path):
            self.claims.update(claims.of_file(path, file))
        most = claims.MAX_SETTINGS if claims.decides(path) else leftovers.MAX_SETTINGS
        if leftovers.is_settings(path) and file.size <= most:
            leftovers.refuse_led(name, file.read(0, file.size))
        if read is not None:
            head = file.read(0, min(read.header or 0, claims.MAX_SETTINGS))
            self.claims.update(claims.of_header(path, read.facts, head))
            self.tensors(name, read)
        else:
            self.beside(name, file)

    def beside(self, name: str, file: File) -> None:
        """What a file that holds no tensors says of others, and of the model."""
        self.references.look(name, file, file.head)
        if hf.is_index(name):
            self.references.index(name, file.read(0, min(file.size, hf.MAX_INDEX + 1)))
        elif self.kind == "directory" and name in hf.CONFIGS:
            data = file.read(0, min(file.size, hf.MAX_CONFIG + 1))
            self.configs[hf.CONFIGS[name]] = hf.config(data, name)
        elif self.kind == "directory" and name == hf.CARD:
            self.card = hf.card(file.read(0, min(file.size, hf.MAX_CARD)))
        elif self.kind == "directory" and _LICENCE_FILE.fullmatch(name):
            self.licence(name, file.head)

    def tensors(self, name: str, read: tensors.TensorFile) -> None:
        self.references.header(name, read)
        split = tensors.gguf_split(read) if read.format == "gguf" else None
        named = parts.part(self.root.name if name == FILE_NAME else name)
        part = f"{split.number + 1} of {split.count}" if split else None
        if part is None and named is not None:
            part = f"{named.number} of {named.count}"
        self.summaries[name] = Summary(
            format=read.format,
            version=read.version,
            dtypes=read.by_dtype(),
            facts=read.facts,
            inputs=read.inputs,
            outputs=read.outputs,
            part=part,
            unknown=read.unknown,
        )

    def stand_in(self, name: str, path: str, file: File) -> None:
        """RULES 38, before any check of a format: that would say something else of it."""
        whole = file.size <= standins.MAX_BYTES
        head = file.read(0, file.size) if whole else file.head
        found = standins.find(path, head, file.size)
        if found is None:
            return
        if found.target is None:
            raise refused(None, found)
        self.references.pointers.append((name, found))

    def licence(self, name: str, head: bytes) -> None:
        self.licence_files.append(name)
        if line := _SPDX_LINE.search(head):
            self.licences.append(Licence(text=line.group(1).decode().strip(), declared=True))
            return
        text = b" ".join(head[:2000].split())
        for title, licence in _TITLES:
            if title.search(text):
                self.licences.append(Licence(text=licence, declared=False))


def _placed(error: SovgateError, name: str) -> SovgateError:
    """The same error, saying which file."""
    error.what = f"{name[:160]}: {error.what}"
    error.args = (error.what,)
    return error
