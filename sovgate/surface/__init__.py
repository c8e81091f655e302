"""Generates actions, Tasks and reference pages from the commands; `python -m sovgate.surface`.

Imports the command line and writes beside it; nothing imports this.
"""
