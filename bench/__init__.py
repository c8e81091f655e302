"""Measurements against the tools that people use today; each runs both sides in one go.

Each module but this and `__main__` has `main(quick: bool) -> None` and prints a table of ratios.
"""
