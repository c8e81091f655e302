"""`make bench`, or `python -m bench [--quick] [NAME…]`: runs the measurements of this folder."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path


def main() -> None:
    names = sorted(
        module.name
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
        if not module.name.startswith("_")
    )
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the bytes, fewer runs")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args()
    for name in arguments.names or names:
        importlib.import_module(f"bench.{name}").main(arguments.quick)


if __name__ == "__main__":
    main()
