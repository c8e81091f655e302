"""mkdocs: adds generated pages to the navigation, and pictures and links from outside of docs/.

A link to a file of this repository becomes one to its page at the host; a link to none is an error.
Reads docs/ and looks whether files are there; writes nothing.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import mkdocs.exceptions

ROOT = Path(__file__).resolve().parent.parent
PICTURE, DEMO = "<!-- picture: border -->", "<!-- demo -->"
_BLOCK = re.MULTILINE | re.DOTALL
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*?$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<to>(?!https?:|mailto:|#|/)[^()\s#]+)(?P<anchor>#[^()\s]*)?\)")


def on_config(config: Any) -> Any:
    """Commands by the headings of --help, decisions, and pages that mkdocs.yml leaves out."""
    docs = ROOT / "docs"
    tabs = {title: pages for entry in config.nav for title, pages in entry.items()}
    tabs["Commands"] += _commands((docs / "reference" / "index.md").read_text(encoding="utf-8"))
    maintainers = tabs["Maintainers"]
    names = sorted(path.name for path in (docs / "adr").glob("*.md"))
    maintainers.append({"Decisions": [f"adr/{name}" for name in names]})
    maintainers.append({"Contributing": f"{config.repo_url}/blob/main/CONTRIBUTING.md"})
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    more = sorted({path.name for path in docs.glob("*.md")} - named)
    if more:
        config.nav.append({"More": more})
    return config


def _commands(index: str) -> list[Any]:
    """The navigation of docs/reference/index.md: its headings, and the pages below each."""
    found: list[Any] = [{"All commands": "reference/index.md"}]
    for part in index.split("\n## ")[1:]:
        pages = re.findall(r"^\| \[`([\w-]+)`\]\(([\w-]+\.md)\)", part, re.MULTILINE)
        heading = part.split("\n", 1)[0]
        found.append({heading: [{name: f"reference/{path}"} for name, path in pages]})
    return found


def _pictures(markdown: str) -> str:
    """`<!-- picture: border -->`: both drawings, inline, so that they know light from dark."""
    if PICTURE in markdown:
        drawn = [
            (ROOT / "docs/assets" / f"border-{shape}.svg").read_text(encoding="utf-8").strip()
            for shape in ("wide", "tall")
        ]
        inline = "".join(line for one in drawn for line in one.splitlines())
        markdown = markdown.replace(PICTURE, f'<div class="picture">{inline}</div>')
    if DEMO in markdown:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        printed = re.findall(r"^```text\nA model crosses a border.*?^```$", readme, _BLOCK)
        block = f'<div class="terminal" markdown="1">\n\n{printed[0]}\n\n</div>'
        markdown = markdown.replace(DEMO, block)
    return markdown


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    here = page.file.src_uri
    if here == "index.md":
        page.meta["hide"] = ["navigation"]  # the tabs are enough, and the picture gets the room
    markdown = _pictures(markdown)

    def follow(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(here), match["to"]))
        if path.startswith("docs/") and not (ROOT / path).is_dir():
            return match[0]  # mkdocs looks whether that is there
        if path.startswith("..") or not (ROOT / path).exists():
            raise mkdocs.exceptions.PluginError(f"{here}: no such file: {match['to']}")
        return f"]({config.repo_url.rstrip('/')}/blob/main/{path}{match['anchor'] or ''})"

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(follow, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(follow, markdown[end:])])
