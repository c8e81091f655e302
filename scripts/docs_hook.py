"""mkdocs: adds generated pages to the navigation, and follows links that leave docs/.

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
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*?$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<to>(?!https?:|mailto:|#|/)[^()\s#]+)(?P<anchor>#[^()\s]*)?\)")


def on_config(config: Any) -> Any:
    """Commands: docs/reference. Decisions: docs/adr. More: pages that mkdocs.yml leaves out."""
    for title, folder, first in (("Commands", "reference", "index.md"), ("Decisions", "adr", "")):
        names = sorted(path.name for path in (ROOT / "docs" / folder).glob("*.md"))
        names.sort(key=lambda name: name != first)
        config.nav.append({title: [f"{folder}/{name}" for name in names]})
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    more = sorted({path.name for path in (ROOT / "docs").glob("*.md")} - named)
    if more:
        config.nav.append({"More": more})
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    here = page.file.src_uri

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
