"""What is at a fixed place of this machine: programs, and the user's home.

Ground floor: standard library only. No variable of the environment is asked (RULES 21, 36), as
an earlier step may have set it; a program is looked for in folders that the system owns.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: Where programs are looked for: never along PATH, which an earlier CI step can write to.
PROGRAM_DIRS = (
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/run/current-system/sw/bin",
)


#: What changes which files Python takes its modules from, or what it does with them.
_LEADS = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX")


def isolate() -> None:
    """Start anew as `python -I -m sovgate` where pip's script `sovgate` runs and a variable leads
    Python's imports: a module that it plants could answer in the place of ours (RULES 36).

    What was installed into the user's own site is not seen by -I, and is run as it is.
    """
    script = os.path.basename(sys.argv[0]) == "sovgate"  # noqa: PTH119 (start-up, no Path)
    if not script or sys.flags.isolated or not any(os.environ.get(name) for name in _LEADS):
        return
    if "/.local/" in __file__ or not sys.executable:
        return
    line = [sys.executable, "-I", "-m", "sovgate", *sys.argv[1:]]
    os.execv(line[0], line)  # noqa: S606 (itself, by its own path)


def program(name: str, folders: Sequence[str] = PROGRAM_DIRS) -> str | None:
    """The absolute path of a program in one of the folders; None where there is none."""
    for folder in folders:
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112 (hot, no Path)
            return path
    return None


def login_home() -> str | None:
    """The home that the password database names.

    None for a user whom it does not know: containers run as any number, and OpenShift always does.
    """
    import pwd  # not on every system, and the command line says so itself

    try:
        return pwd.getpwuid(os.getuid()).pw_dir or None
    except KeyError:
        return None


def home(instead: str) -> str:
    """The user's home, or `instead`, a folder of one's own, where there is none to use."""
    found = login_home()
    if found is None or not os.path.isdir(found):  # noqa: PTH112 (the same)
        os.makedirs(instead, mode=0o700, exist_ok=True)  # noqa: PTH103
        return instead
    return found
