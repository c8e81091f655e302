"""What a model's files say of each other: indices, parts of sets, weights that lie in another file.

Knows names and what was read of headers; opens nothing. A set that lacks a part is refused
(RULES 38), and what an index does not know is named and not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from sovgate.errors import VerificationFailed
from sovgate.formats import (
    beside,
    numbered,
    openvino,
    parts,
    standins,
    tensors,
    tfcheckpoint,
    tfgraph,
)
from sovgate.formats import huggingface as hf
from sovgate.formats.folders import MAX_FILE, Folders, Lack, Needs, Promised, is_below

_AGAIN = "download or save the model again"
_WHOLE = "copy the whole folder, or download or save the model again"
_TAKE_OUT = f"{_AGAIN}; if an earlier save left the others, remove those"


@dataclass(kw_only=True)
class _Index:
    """An index that was read: shard -> tensors that it promises there."""

    name: str
    shards: dict[str, set[str]]

    def stray(self, name: str, *, read: bool) -> bool:
        """Whether a file beside its shards looks like one of them; `read`: as tensors."""
        if name in self.shards:
            return False
        folder, _, base = name.rpartition("/")
        folders = {shard.rpartition("/")[0] for shard in self.shards}
        endings = {shard.rpartition(".")[2] for shard in self.shards}
        if folder not in folders or base.rpartition(".")[2] not in endings:
            return False
        families = {one.family for one in map(parts.part, self.shards) if one is not None}
        own = parts.part(name)
        return read or (own is not None and own.family in families)


@dataclass(kw_only=True)
class References:
    """Filled while files are read, indices first; `check` is asked when all were."""

    sizes: Mapping[str, int]
    folders: Folders
    indices: list[_Index] = field(default_factory=list)
    externals: list[tuple[str, tensors.External]] = field(default_factory=list)
    splits: list[tuple[str, tensors.Split, int]] = field(default_factory=list)
    pointers: list[tuple[str, standins.StandIn]] = field(default_factory=list)
    headers: set[str] = field(default_factory=set)
    #: Index of a checkpoint of TensorFlow, or settings -> what it names.
    promised: dict[str, Promised] = field(default_factory=dict)
    #: Graph of OpenVINO -> how many bytes of weights it needs.
    graphs: dict[str, int] = field(default_factory=dict)
    #: Name -> what was passed over, and why; filled by `check`.
    strays: dict[str, str] = field(default_factory=dict)

    @property
    def alone(self) -> str | None:
        """What a model that is one file is called."""
        return self.folders.alone

    def index(self, name: str, data: bytes) -> None:
        found = hf.index(data, name)
        if found is None:
            return
        folder = name.rpartition("/")[0]
        one = _Index(name=name, shards={})
        for tensor, shard in found.weight_map.items():
            path = f"{folder}/{shard}" if folder else shard
            one.shards.setdefault(path, set()).add(tensor)
        self.indices.append(one)

    def look(self, name: str, source: tensors.Source, head: bytes) -> None:
        """Of a file that is no tensor file itself: which others it needs."""
        path = self.alone or name
        if (shards := tfcheckpoint.shards(path, source)) is not None:
            self.promised[name] = Promised.of(shards)
        elif path.rpartition("/")[2] == "saved_model.pb":
            folder = f"{path.removesuffix('saved_model.pb')}assets/"
            assets = filter(is_below, tfgraph.assets(source))
            self.promised[name] = Promised.of(f"{folder}{one}" for one in assets)
        elif (reader := beside.reader(path)) and source.size <= MAX_FILE:
            data = source.read(0, source.size)
            self.promised[name] = beside.read(path, data, reader, self.folders)
        elif openvino.is_graph(path, head) and (end := openvino.weights_end(source)):
            self.graphs[name] = end

    def header(self, name: str, read: tensors.TensorFile) -> None:
        """Raises VerificationFailed, reason "missing-shard", where an index promises more."""
        self.headers.add(name)
        self.externals += [(name, external) for external in read.externals]
        split = tensors.gguf_split(read) if read.format == "gguf" else None
        if split is not None:
            self.splits.append((name, split, len(read.tensors)))
        names = {tensor.name for tensor in read.tensors}
        for index in self.indices:
            missing = index.shards.get(name, set()) - names
            if missing and not read.unknown:
                raise VerificationFailed(
                    f"it lacks the tensor {min(missing)[:80]!r}",
                    why=f"{index.name[:160]!r} says that it is there",
                    fix=_AGAIN,
                    reason="missing-shard",
                )

    def check(self) -> None:
        """Raises VerificationFailed, reasons "missing-shard", "missing-external", of a pointer."""
        for name, pointer in self.pointers:
            if not self.is_there(name, pointer.target or ""):
                raise refused(self.shown(name), pointer)
        for index in self.indices:
            self.check_index(index)
        there = self.sizes.keys() | set(_folders(self.sizes))
        for name, promised in self.promised.items():
            self.check_promised(name, promised.needs, there)
            if promised.lack is not None:
                raise _lacking(self.shown(name), promised.lack)
        self.check_variables()
        for absent in numbered.companions(self.folders):
            raise _alone(absent)
        for name, end in self.graphs.items():
            self.check_graph(name, end)
        names = [self.shown(name) for name in self.sizes if name not in self.strays]
        named = {shard for index in self.indices for shard in index.shards}
        harmless = [name for name in names if parts.is_other(name) and name not in named]
        for gap in parts.gaps(set(names) - set(harmless)):
            raise _gap(gap)
        for gap in parts.gaps(harmless):
            for name in harmless:
                if parts.is_sibling(name, gap):
                    self.strays[name] = f"its name says that it is one of {gap.count}"
        for absent in numbered.gaps(self.folders):
            raise _numbered(absent)
        for group in _groups(self.splits):
            self.check_split(group)
        for name, external in self.externals:
            self.check_external(name, external)

    def shown(self, name: str) -> str:
        """A model that is one file has a name only outside of itself."""
        return self.alone or name

    def is_there(self, name: str, target: str) -> bool:
        path, below = standins.targets(name, target)
        return path in self.sizes or any(one.startswith(below) for one in self.sizes)

    def check_index(self, index: _Index) -> None:
        missing = sorted(shard for shard in index.shards if shard not in self.sizes)
        others = [name for name in self.sizes if index.stray(name, read=name in self.headers)]
        absent = len(missing) == len(index.shards)
        if absent and (self.other_weights(index.name) or self.other_format(index)):
            self.strays[index.name] = "it names no file that is there"
            return
        if missing:
            raise VerificationFailed(
                f"the model's index names {missing[0][:160]!r}, which is not there",
                why=None if self.alone else f"the index is {index.name[:160]!r}",
                fix=_AGAIN,
                reason="missing-shard",
            )
        known = {shard for one in self.indices for shard in one.shards}
        for name in others:
            if name not in known:
                self.strays[name] = f"{index.name[:160]!r} does not name it"

    def other_weights(self, index: str) -> bool:
        """Whether beside an index without any of its files there are whole weights of a kind."""
        folder = index.rpartition("/")[0]
        return any(
            name.rpartition("/")[0] == folder and name in self.headers for name in self.sizes
        )

    def other_format(self, index: _Index) -> bool:
        """Whether the model is there in another format than that of an index without its files."""
        folder, slash, _ = index.name.rpartition("/")
        above = folder + slash
        endings = {shard.rpartition(".")[2].lower() for shard in index.shards}
        return any(
            size > 0
            and name.startswith(above)
            and standins.is_model(name[len(above) :])
            and ("/" in name[len(above) :] or name.rpartition(".")[2].lower() not in endings)
            for name, size in self.sizes.items()
        )

    def check_promised(self, name: str, others: Sequence[Needs], there: Set[str]) -> None:
        missing = [one for one in others if one.path not in there]
        short = [one for one in others if self.sizes.get(one.path, one.size) < one.size]
        if missing and len(missing) == len(others) and self.other_weights(name):
            self.strays[name] = "it names no file that is there"
        elif missing or short:
            lacking = (missing or short)[0]
            raise VerificationFailed(
                f"{self.shown(name)[:160]!r} names {lacking.path[:160]!r}, which "
                + ("is not there" if missing else f"is shorter than {lacking.size} bytes"),
                why="the numbers of the model lie in what it names",
                fix=_WHOLE,
                reason="missing-shard",
            )

    def check_variables(self) -> None:
        """A SavedModel finds what lies in its variables by their index."""
        for name in sorted(self.sizes):
            index = tfcheckpoint.index_of(name)
            folder, slash, base = (index or "").rpartition("/")
            above = folder.removesuffix("variables")
            if base != "variables.index" or not slash or above == folder or index in self.sizes:
                continue
            if any(f"{above}saved_model.{ending}" in self.sizes for ending in ("pb", "pbtxt")):
                raise VerificationFailed(
                    f"the SavedModel lacks {index!r}",
                    why=f"without it nobody finds what lies in {name[:160]!r}",
                    fix=_WHOLE,
                    reason="missing-shard",
                )

    def check_graph(self, name: str, end: int) -> None:
        """Of OpenVINO: the weights lie beside it, by its own name, or by one that nobody claims."""
        stem = name.rpartition(".")[0] if self.alone is None else self.alone.rpartition(".")[0]
        path = f"{stem}.bin"
        if path in self.sizes:
            if self.sizes[path] == 0 or self.sizes[path] >= end:
                return
        else:
            folder = name.rpartition("/")[0]
            for other, size in self.sizes.items():
                free = f"{other.removesuffix('.bin')}.xml" not in self.sizes
                beside = other.endswith(".bin") and other.rpartition("/")[0] == folder
                if beside and free and size >= end:
                    return
        raise VerificationFailed(
            f"{self.shown(name)[:160]!r} keeps its weights in {path[:160]!r}, which is not there "
            "or short",
            why=f"the graph of OpenVINO needs {end} bytes of it",
            fix=f"put {path.rpartition('/')[2]!r} beside it, as the tool that wrote both left it",
            reason="missing-external",
        )

    def check_split(self, group: Sequence[tuple[str, tensors.Split, int]]) -> None:
        name, first, _ = group[0]
        there = {split.number for _, split, _ in group}
        if len(there) < len(group):
            numbers = [split.number for _, split, _ in group]
            twice = next(number for number in numbers if numbers.count(number) > 1)
            one, other = [who for who, split, _ in group if split.number == twice][:2]
            raise VerificationFailed(
                f"{one[:160]!r} and {other[:160]!r} say that they are the same part of a model",
                why="names that llama.cpp reads would tell two models apart, and these do not",
                fix="remove one of them; if they are of two models, give the parts such names "
                f"(NAME-00001-of-{first.count:05d}.gguf), or each model a folder of its own",
                reason="missing-shard",
            )
        for number in range(first.count):
            if number not in there:
                raise VerificationFailed(
                    f"{self.shown(name)[:160]!r} is part {first.number + 1} of {first.count} of a "
                    f"model, and part {number + 1} is not there",
                    fix=f"{_AGAIN}, and name the folder that holds all parts",
                    reason="missing-shard",
                )
        held = sum(count for _, _, count in group)
        if first.tensors is not None and held != first.tensors:
            raise VerificationFailed(
                f"the parts of {self.shown(name)[:160]!r} hold {held} tensors",
                why=f"they say that there are {first.tensors}",
                fix=_AGAIN,
                reason="missing-shard",
            )

    def check_external(self, name: str, external: tensors.External) -> None:
        folder = name.rpartition("/")[0]
        path = f"{folder}/{external.location}" if folder else external.location
        if self.sizes.get(path, -1) < external.end:
            raise VerificationFailed(
                f"{self.shown(name)[:160]!r} keeps tensors in {path[:160]!r}, which is not there "
                "or short",
                fix="name the folder that holds both, and save the model again if it does",
                reason="missing-external",
            )


def _groups(
    splits: Sequence[tuple[str, tensors.Split, int]],
) -> Iterator[list[tuple[str, tensors.Split, int]]]:
    """Parts of one set: those whose names say so, else those of one folder and number."""
    groups: dict[tuple[object, ...], list[tuple[str, tensors.Split, int]]] = {}
    for item in sorted(splits, key=lambda item: item[0]):
        name, split, _ = item
        own = parts.part(name)
        key = own.group if own is not None else (name.rpartition("/")[0],)
        groups.setdefault((*key, split.count, split.tensors), []).append(item)
    yield from groups.values()


def _folders(names: Iterable[str]) -> Iterator[str]:
    """Every folder with something in it."""
    for name in names:
        while name := name.rpartition("/")[0]:
            yield name


def _lacking(name: str, lack: Lack) -> VerificationFailed:
    return VerificationFailed(
        f"{name[:160]!r} {lack.what}", why=lack.why, fix=lack.fix, reason="missing-shard"
    )


def _alone(absent: numbered.Absent) -> VerificationFailed:
    hidden = absent.name.rpartition("/")[2].startswith(".")
    return VerificationFailed(
        f"{absent.name[:160]!r} is not there, and {absent.other[:160]!r} is",
        why="without the one nobody can read the other",
        fix="copy the whole folder, also names with a dot: cp -r FOLDER MODEL, not cp FOLDER/*"
        if hidden
        else _WHOLE,
        reason="missing-shard",
    )


def _numbered(absent: numbered.Absent) -> VerificationFailed:
    return VerificationFailed(
        f"the model's parts name {absent.name[:160]!r}, which is not there",
        why=f"parts of a set are counted from 0, and {absent.other[:160]!r} is there",
        fix=f"{_WHOLE}; if each of the files is whole, give them other names",
        reason="missing-shard",
    )


def _gap(gap: parts.Gap) -> VerificationFailed:
    if gap.extra:
        return VerificationFailed(
            f"{gap.name[:160]!r} is one part more than there should be",
            why=f"the parts say that there are {gap.count}",
            fix=_TAKE_OUT,
            reason="missing-shard",
        )
    return VerificationFailed(
        f"the model's parts name {gap.name[:160]!r}, which is not there",
        why=f"the names of the others say that there are {gap.count}",
        fix=_TAKE_OUT,
        reason="missing-shard",
    )


def refused(name: str | None, found: standins.StandIn) -> VerificationFailed:
    """RULES 38: a stand-in is not the file that it stands for. `name` None: the caller adds it."""
    return VerificationFailed(
        f"{'this' if name is None else repr(name[:160])} is {found.what}, not the file itself",
        why=found.why,
        fix=found.fix,
        reason=found.reason,
    )
