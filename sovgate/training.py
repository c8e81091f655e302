"""Records a training run from inside it: a context manager around the training loop.

    from sovgate import training

    with training.record("build/kyc-risk", datasets=["kyc-eu"], base="base/kyc-risk") as run:
        run.parameter("epochs", 3)
        run.metric("auc", fit_and_save("build/kyc-risk"))

The record is written when the block ends well; if it raises, nothing is. Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import UsageError
from sovgate.records import Options

if TYPE_CHECKING:
    from sovgate.formats.provenance import Environment
    from sovgate.pipeline.make.record import Recorded

__all__ = ["Run", "record"]

Text = str | os.PathLike[str]
_MAX_VALUE = 4096


class Run:
    """What is known of a run so far. `result` is there once the block ended well."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.metrics: dict[str, str] = {}
        self.commit: str | None = None
        self.result: Recorded | None = None

    def parameter(self, name: str, value: object) -> None:
        """A hyper-parameter. Raises UsageError: a name given twice, a value that is not plain."""
        self._add(self.parameters, name, value)

    def metric(self, name: str, value: object) -> None:
        """A metric of the trained model; the last value counts. Raises UsageError, as for NaN."""
        self.metrics.pop(name, None)
        self._add(self.metrics, name, value)

    def _add(self, values: dict[str, str], name: str, value: object) -> None:
        if not name or not name.isascii() or name in values:
            raise UsageError(
                f"the name {name[:80]!r} is empty, not ASCII, or given twice",
                fix="give each value a name of its own, in ASCII",
            )
        text = _text(value)
        if text is None or len(text) > _MAX_VALUE:
            raise UsageError(
                f"{name}: {str(value)[:80]!r} cannot be recorded",
                why="a value is text, a truth value, or a finite number, "
                f"of at most {_MAX_VALUE} characters",
                fix="leave it out, or record text that says it",
            )
        values[name] = text


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value or None
    # numpy's and torch's numbers are no int and no float, but tell what they are.
    if hasattr(value, "__index__"):
        with contextlib.suppress(TypeError):
            return str(operator.index(value))
    if hasattr(value, "__float__"):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            number = float(value)
            return repr(number) if math.isfinite(number) else None
    return None


@contextlib.contextmanager
def record(
    model: Text,
    *,
    datasets: Sequence[str] = (),
    base: Text | Sequence[Text] = (),
    no_dataset: bool = False,
    commit: str | None = None,
    project: Text | None = None,
    key: str | None = None,
    environment: bool = True,
) -> Iterator[Run]:
    """Write the training record of `model`, which the block trains and saves there.

    datasets     as sovgate.yaml names them; looked up before the block runs
    base         the model, or models, that this one is made from: paths, or their evidence folders;
                 read before the block runs
    no_dataset   that the block adds no data set to those of the base
    key          URI of the key that signs; without one the record goes to `unsigned/`
    environment  whether to keep names and versions of the packages of this Python

    Raises what `sovgate record` ends with: UsageError, ConfigError, VerificationFailed.
    """
    from sovgate.pipeline.make.record import Training, open_base, own_datasets
    from sovgate.pipeline.make.record import record as write
    from sovgate.pipeline.project import open_project

    folder = None if project is None else Path(project)
    opened = open_project(folder)
    own_datasets(opened, datasets, no_dataset, commit)
    bases = [base] if isinstance(base, (str, os.PathLike)) else list(base)
    found = [open_base(Path(one), opened) for one in bases]
    run = Run()
    run.commit = commit
    yield run
    run.result = write(
        Path(model),
        Training(
            datasets=datasets,
            no_dataset=no_dataset,
            bases=found,
            commit=run.commit,
            parameters=run.parameters,
            metrics=run.metrics,
            environment=_environment() if environment else None,
        ),
        key=key,
        options=Options(project=folder),
    )


def _environment() -> Environment:
    """Of this very Python: names and versions, no paths."""
    import platform
    from importlib import metadata

    from sovgate.formats.provenance import Environment

    packages: dict[str, str] = {}
    for distribution in metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        if name and version and name.isascii():
            packages.setdefault(name.lower().replace("_", "-"), version)
    return Environment(python=platform.python_version(), packages=dict(sorted(packages.items())))
