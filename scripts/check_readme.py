"""Compares each help text that README.md shows with what the command prints now.

Reads README.md and runs `sovgate … --help`; with --write it puts README.md right instead.

A help text is a fenced block below a comment that names its command:

    <!-- output of: sovgate sign --help -->
    ```text
    …
    ```
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"(?P<head><!-- output of: sovgate(?P<args>(?: [a-z-]+)*) --help -->\n```[a-z]*\n)"
    r"(?P<text>.*?)(?P<tail>^```$)",
    re.DOTALL | re.MULTILINE,
)


def help_text(args: list[str]) -> str:
    # A fixed width and no colour: the text must not depend on who looks at it.
    env = {k: v for k, v in os.environ.items() if not k.startswith("SOVGATE_")}
    env |= {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "sovgate", *args, "--help"],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"error: `sovgate {' '.join(args)} --help` failed:\n{done.stderr}")
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines()) + "\n"


def main() -> None:
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    shown = len(BLOCK.findall(before))
    # Every marker must be a block that we read, or a typo would switch the check off.
    if shown != before.count("<!-- output of:"):
        sys.exit("error: README.md has an `output of:` comment without a fenced block below it")
    after = BLOCK.sub(
        lambda block: block["head"] + help_text(block["args"].split()) + block["tail"], before
    )
    if after == before:
        print(f"README.md: {shown} help texts, as the commands print them")
    elif "--write" in sys.argv[1:]:
        readme.write_text(after, encoding="utf-8")
    else:
        sys.exit(
            "error: README.md shows a help text that the command no longer prints\n"
            "fix: python scripts/check_readme.py --write"
        )


if __name__ == "__main__":
    main()
