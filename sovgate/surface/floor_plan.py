"""Draws docs/floor-plan.svg from the sources: folders by floor, and which imports which.

Reads pyproject.toml, which has the floors, and parses every module; runs none.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

CONTRACT = "floors"
PACKAGE = "sovgate"

# Sizes in pixels of the picture.
WIDTH, MARGIN, GAP, FLOOR_GAP = 1280, 24, 18, 58
TITLE, LINE, PADDING, LETTER = 20, 15, 12, 6.45

#: (importing, imported)
Pair = tuple[str, str]

#: One colour for the arrows of each folder, readable on white and on black.
COLOURS = (
    "#3b82f6",
    "#d97706",
    "#059669",
    "#db2777",
    "#7c3aed",
    "#0891b2",
    "#dc2626",
    "#65a30d",
    "#c026d3",
    "#64748b",
    "#ea580c",
    "#0d9488",
    "#a16207",
    "#4f46e5",
    "#be185d",
)

STYLE = """
  svg { --paper: #ffffff; --room: #f4f6f8; --wall: #9aa5b1; --ink: #1f2933; --soft: #52606d;
        font-family: ui-sans-serif, system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #14181d; --room: #1f252c; --wall: #52606d; --ink: #e4e7eb; --soft: #9aa5b1; }
  }
  .paper { fill: var(--paper); }
  .room { fill: var(--room); stroke: var(--wall); stroke-width: 1.2; }
  .inner { fill: var(--paper); stroke: var(--wall); stroke-width: 0.8; }
  .name { fill: var(--ink); font-size: 14px; font-weight: 650; }
  .module { fill: var(--soft); font: 10.5px ui-monospace, SFMono-Regular, Menlo, monospace; }
  .note { fill: var(--soft); font-size: 11px; }
  .count { font-size: 11px; font-weight: 650; paint-order: stroke; stroke: var(--paper);
           stroke-width: 4px; stroke-linejoin: round; }
  .way { fill: none; stroke-linecap: round; opacity: 0.75; }
"""


@dataclass(frozen=True, kw_only=True)
class Room:
    """One folder: the modules right in it, and the folders in it with theirs."""

    name: str
    modules: tuple[str, ...]
    folders: tuple[Room, ...] = ()

    @property
    def lone(self) -> bool:
        """A module that is a folder's equal: `training.py` on the floor of the commands."""
        return not self.modules and not self.folders


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`floors` from the top; `imports`: (importing, imported) -> in how many lines.

    `onto_ground`: how often each room imports the ground floor, which all of them stand on.
    """

    floors: tuple[tuple[Room, ...], ...]
    ground: Room
    imports: Mapping[Pair, int]
    onto_ground: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where a room is drawn."""

    room: Room
    x: float
    y: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.y + self.height


def floor_plan(root: Path) -> str:
    """The SVG, for the checkout that lies at `root`."""
    return draw(read(root))


# --- what there is ------------------------------------------------------------------------------


def read(root: Path) -> Plan:
    layers = _layers(root)
    package = root / PACKAGE
    *upper, lowest = layers
    known = {name for layer in upper for name in layer}
    floors = tuple(tuple(_room(package, name) for name in layer) for layer in upper)
    imports: Counter[Pair] = Counter()
    onto_ground: Counter[str] = Counter()
    for importing, imported in _imports(package):
        if importing in known and imported in known and importing != imported:
            imports[importing, imported] += 1
        elif importing in known and imported in lowest:
            onto_ground[importing] += 1
    ground = Room(name="ground floor", modules=tuple(sorted(lowest)))
    return Plan(floors=floors, ground=ground, imports=imports, onto_ground=onto_ground)


def _layers(root: Path) -> list[list[str]]:
    """The floors that import-linter holds, from the top."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["id"] == CONTRACT)
    named = [layer.replace("|", ":").split(":") for layer in layers]
    return [[name.strip().strip("()") for name in layer] for layer in named]


def _room(folder: Path, name: str) -> Room:
    here = folder / name
    if not here.is_dir():
        return Room(name=name, modules=())
    modules = sorted(path.stem for path in here.glob("*.py") if path.stem != "__init__")
    inside = sorted(path.parent.name for path in here.glob("*/__init__.py"))
    return Room(
        name=name,
        modules=tuple(modules),
        folders=tuple(_room(here, one) for one in inside),
    )


def _imports(package: Path) -> list[tuple[str, str]]:
    """(top-level part that imports, part that is imported), once for each line that does."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
                names = [f"{PACKAGE}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            found += [
                (parts[0], name.split(".")[1])
                for name in names
                if name.startswith(f"{PACKAGE}.") and not name.startswith(f"{PACKAGE}._")
            ]
    return found


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Each statement, at any depth; no expressions, which are nearly all of a tree."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            below = getattr(node, name, ())
            waiting += below if isinstance(below, list) else ()  # a lambda's body is no list


# --- where it goes ------------------------------------------------------------------------------


def _wrapped(names: tuple[str, ...], width: float) -> list[str]:
    lines: list[str] = []
    for name in names:
        if lines and (len(lines[-1]) + len(name) + 1) * LETTER <= width - 2 * PADDING:
            lines[-1] += f" {name}"
        else:
            lines.append(name)
    return lines


def _height(room: Room, width: float) -> float:
    height = float(2 * PADDING + TITLE) + LINE * len(_wrapped(room.modules, width))
    if room.folders:
        inner = _inner_width(room, width)
        height += GAP / 2 + max(_height(one, inner) for one in room.folders)
    return height


def _inner_width(room: Room, width: float) -> float:
    count = len(room.folders)
    return (width - 2 * PADDING - (count - 1) * GAP / 2) / count


def _share(room: Room) -> float:
    """How wide a room is among its neighbours: by what has to be written in it."""
    if room.lone:
        return 0.7
    letters = sum(len(name) + 1 for name in room.modules)
    letters += sum(len(name) + 1 for one in room.folders for name in one.modules)
    return 1.0 + float((letters / 60) ** 0.8)


def _boxes(plan: Plan) -> list[list[Box]]:
    rows: list[list[Box]] = []
    y = 96.0
    for floor in (*plan.floors, (plan.ground,)):
        shares = [_share(room) for room in floor]
        room_width = WIDTH - 2 * MARGIN - GAP * (len(floor) - 1)
        widths = [room_width * share / max(sum(shares), 4.2) for share in shares]
        if plan.ground in floor:
            widths = [room_width]
        left = (WIDTH - sum(widths) - GAP * (len(floor) - 1)) / 2
        height = max(_height(room, width) for room, width in zip(floor, widths, strict=True))
        row = []
        for room, width in zip(floor, widths, strict=True):
            row.append(Box(room=room, x=left, y=y, width=width, height=height))
            left += width + GAP
        rows.append(row)
        y += height + (FLOOR_GAP if len(rows) < len(plan.floors) else GAP)
    return rows


# --- the picture --------------------------------------------------------------------------------


def draw(plan: Plan) -> str:
    rows = _boxes(plan)
    boxes = {box.room.name: box for row in rows for box in row}
    importing = [name for name in boxes if any(pair[0] == name for pair in plan.imports)]
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(importing)}
    height = rows[-1][0].bottom + MARGIN
    lines = [
        "<!-- Generated from sovgate/ and pyproject.toml by `python -m sovgate.surface`. "
        "Do not edit. -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        'role="img" aria-labelledby="title about">',
        '<title id="title">The floor plan of the package sovgate</title>',
        '<desc id="about">Each box is a folder. Arrows are imports, and go down only.</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height:.0f}"/>',
        f'<text class="name" x="{MARGIN}" y="38" font-size="18">Floors of the package: '
        "imports go down, never up</text>",
        f'<text class="note" x="{MARGIN}" y="60">An arrow has the colour of the folder that '
        "imports, and the number of its import lines. “ground” counts the imports of the ground "
        "floor.</text>",
    ]
    ways, counts = _ways(plan, boxes, colours)
    lines += ways
    for row in rows:
        for box in row:
            lines += _drawn(box, plan.onto_ground.get(box.room.name), colours.get(box.room.name))
    lines += [*counts, "</svg>", ""]
    return "\n".join(lines)


def _drawn(box: Box, onto_ground: int | None, colour: str | None) -> list[str]:
    lines = [_rect(box.x, box.y, box.width, box.height, "room", 8)]
    lines += _lettering(box.room, box.x, box.y, box.width)
    if colour:
        lines.append(
            f'<rect x="{box.x:.0f}" y="{box.bottom - 4:.0f}" width="{box.width:.0f}" height="4" '
            f'rx="2" fill="{colour}"/>'
        )
    if onto_ground:
        lines.append(
            f'<text class="note" x="{box.x + box.width - PADDING:.0f}" y="{box.y + 26:.0f}" '
            f'text-anchor="end">ground {onto_ground}</text>'
        )
    room = box.room
    if room.folders:
        width = _inner_width(room, box.width)
        tall = max(_height(one, width) for one in room.folders)
        y = box.bottom - PADDING - tall
        for index, one in enumerate(room.folders):
            x = box.x + PADDING + index * (width + GAP / 2)
            lines.append(_rect(x, y, width, tall, "inner", 5))
            lines += _lettering(one, x, y, width)
    return lines


def _rect(x: float, y: float, width: float, height: float, kind: str, round_: int) -> str:
    return (
        f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" rx="{round_}"/>'
    )


def _lettering(room: Room, x: float, y: float, width: float) -> list[str]:
    left, top = x + PADDING, y + PADDING + 14
    name = room.name if not room.lone else f"{room.name}.py"
    lines = [f'<text class="name" x="{left:.0f}" y="{top:.0f}">{escape(name)}</text>']
    for number, text in enumerate(_wrapped(room.modules, width), 1):
        lines.append(
            f'<text class="module" x="{left:.0f}" y="{top + 4 + number * LINE:.0f}">'
            f"{escape(text)}</text>"
        )
    return lines


def _ways(
    plan: Plan, boxes: Mapping[str, Box], colours: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """The arrows, and the numbers beside their heads."""
    ways, counts = [], []
    middle = {name: box.x + box.width / 2 for name, box in boxes.items()}
    for name, box in boxes.items():
        into = sorted((pair for pair in plan.imports if pair[1] == name), key=_by(middle, 0))
        for index, pair in enumerate(into):
            start, count, colour = boxes[pair[0]], plan.imports[pair], colours[pair[0]]
            out = sorted((p for p in plan.imports if p[0] == pair[0]), key=_by(middle, 1))
            x1 = start.x + start.width * (out.index(pair) + 1) / (len(out) + 1)
            x2 = box.x + box.width * (index + 1) / (len(into) + 1)
            if start.y == box.y:  # neighbours on one floor
                y1 = y2 = start.bottom
                path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + 40:.0f} {x2:.0f},{y2 + 40:.0f} "
                path += f"{x2:.0f},{y2 + 8:.0f}"
                head, at = f"{x2:.0f},{y2 + 1:.0f}", y2 + 24
                sign = -1
            else:
                y1, y2, sign = start.bottom, box.y, 1
                bend = min((y2 - y1) * 0.5, 120)
                path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + bend:.0f} {x2:.0f},{y2 - bend:.0f} "
                path += f"{x2:.0f},{y2 - 8:.0f}"
                head, at = f"{x2:.0f},{y2 - 1:.0f}", y2 - 14
            stroke = 1.2 + min(count, 120) ** 0.5 / 3
            ways.append(
                f'<path class="way" d="{path}" stroke="{colour}" stroke-width="{stroke:.1f}">'
                f"<title>{pair[0]} imports {pair[1]}: {count}</title></path>"
            )
            counts.append(_head(head, sign, colour))
            counts.append(
                f'<text class="count" x="{x2 + 5:.0f}" y="{at:.0f}" fill="{colour}">{count}</text>'
            )
    return ways, counts


def _head(tip: str, sign: int, colour: str) -> str:
    x, y = (float(part) for part in tip.split(","))
    back = y - sign * 9
    points = f"{x:.0f},{y:.0f} {x - 4.5:.1f},{back:.0f} {x + 4.5:.1f},{back:.0f}"
    return f'<polygon points="{points}" fill="{colour}"/>'


def _by(middle: Mapping[str, float], end: int) -> Callable[[Pair], tuple[float, Pair]]:
    """Sorts arrows by where they end or begin, so that few of them cross."""
    return lambda pair: (middle[pair[end]], pair)
