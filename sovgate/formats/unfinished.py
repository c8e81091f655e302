"""What tools call a file or a folder until it is whole: of downloads, copies and checkpoints.

By names alone. A tool is one line of `_TOOLS`. No I/O.
"""

from __future__ import annotations

import re

from sovgate.formats.endings import WEIGHTS

#: Behind an ending of weights: what browsers call a file until it is whole.
_UNTIL_WHOLE = (".part", ".tmp", ".download")
#: (what of the path is asked, how it looks). "file": the last part of it; "folder": any other.
_TOOLS: tuple[tuple[str, str], ...] = (
    # downloads and copies
    ("file", r".*\.(?:incomplete|crdownload|aria2|partial|filepart|opdownload|!ut|!qb)"),
    ("folder", r".*\.incomplete|\.~tmp~|\.rsync-partial"),
    ("file", r".*_\.gstmp"),  # gsutil, gcloud
    ("file", r"\.azdownload-[0-9a-f-]{36}-.*"),  # azcopy
    ("file", r"sha256-[0-9a-f]{64}-partial(?:-[0-9]{1,4})?"),  # Ollama
    ("file", r".*\.WEIGHTS[a-z0-9_]{8}\.part"),  # gdown
    # checkpoints that are being written
    ("folder", r".*\.orbax-checkpoint-tmp(?:-.*)?"),
    ("folder", r".*\.tmp-[0-9]{6,20}"),  # T5X
    ("folder", r"tmp-checkpoint-[0-9]{1,12}"),  # Trainer of transformers
    ("folder", r".*_temp_[0-9a-f]{32}|variables_temp"),  # TensorFlow
    ("file", r".*\.tempstate[0-9]{6,25}"),
    ("file", r"(?:__[0-9]+)?\.metadata\.tmp|.*\.distcp\.tmp"),  # torch.distributed.checkpoint
    ("file", r".*-unfinished"),  # NeMo
)
_WEIGHTS = f"(?:{'|'.join(sorted(WEIGHTS))})"
#: With capitals and small letters by chance, as rsync and the AWS CLI make names.
_RANDOM = re.compile(
    rf"(?:\..*\.(?i:{_WEIGHTS})\.(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[0-9a-zA-Z]{{6}}"
    rf"|.*\.(?i:{_WEIGHTS})\.(?=[^a-f]*[a-f])(?=[^A-F]*[A-F])[0-9a-fA-F]{{8}})",
    re.ASCII | re.DOTALL,
)


def _compiled(place: str) -> re.Pattern[str]:
    rows = (f"(?:{row.replace('WEIGHTS', _WEIGHTS)})" for of, row in _TOOLS if of == place)
    return re.compile("|".join(rows), re.ASCII | re.DOTALL | re.IGNORECASE)


_FILE, _FOLDER = _compiled("file"), _compiled("folder")


def is_unfinished(name: str) -> bool:
    """By the name that a tool gives a file, or a folder above it, until it is whole."""
    *folders, base = name.split("/")
    if _FILE.fullmatch(base) or _RANDOM.fullmatch(base) or any(map(_FOLDER.fullmatch, folders)):
        return True
    for one in (base, *folders[-1:]):  # Safari downloads into a folder
        plain, _, ending = one.lower().rpartition(".")
        if f".{ending}" in _UNTIL_WHOLE and plain.rpartition(".")[2] in WEIGHTS:
            return True
    return False
