"""`sovgate data key|commit`."""

from __future__ import annotations

from pathlib import Path

import click

from sovgate.cli._base import LocalPath, argument, declare, option, output_options, project_option
from sovgate.cli._emit import Report
from sovgate.cli._group import Group
from sovgate.cli._keyfile import KeyFile
from sovgate.cli._progress import human_bytes, progress


@click.group(
    "data",
    cls=Group,
    example="""
sovgate data key -o keys/kyc-eu.key
sovgate data commit /data/kyc --dataset kyc-eu --epoch 2026-10 --key keys/kyc-eu.key""",
)
def command() -> None:
    """Commit to regulated data without moving it."""


@declare(
    "key",
    path="data key",
    help="Make a zone's commitment key: 32 secret random bytes. It never overwrites a file.",
    example="sovgate data key -o keys/kyc-eu.key",
)
@option(
    "-o",
    "--output",
    type=KeyFile(),
    required=True,
    metavar="FILE",
    help="Where to write the key (mode 0600).",
)
@output_options
def _make_key(output: Path, format_: str) -> Report:
    from sovgate.git.ignored import keep_out
    from sovgate.pipeline.look.data import make_key

    make_key(output)
    left = keep_out(output)
    return Report(
        command="data key",
        headline="made a commitment key",
        rows=(("secret", f"{output}  (keep it in this zone, out of Git)"),),
        data={"key": str(output)},
        notes=(left,) if left else (),
    )


@declare(
    "commit",
    path="data commit",
    help="Write a data set's commitment into its manifest. The data stays where it is.",
    example="""
sovgate data key -o keys/kyc-eu.key
sovgate data commit /data/kyc --dataset kyc-eu --epoch 2026-10 --key keys/kyc-eu.key""",
)
@argument("path", type=LocalPath(), metavar="PATH", help="The data: a folder or a file.")
@option("--dataset", required=True, metavar="NAME", help="The data set, as sovgate.yaml names it.")
@option("--epoch", required=True, metavar="TEXT", help="Which state of the data, e.g. 2026-10.")
@option(
    "--key",
    type=KeyFile(),
    required=True,
    metavar="FILE",
    help="The zone's commitment key; a secret.",
)
@project_option
@output_options
def _commit(
    path: Path, dataset: str, epoch: str, key: Path, project: Path | None, format_: str
) -> Report:
    from sovgate.pipeline.look.data import commit_data

    with progress("reading the data") as advance:
        made = commit_data(
            path, name=dataset, epoch=epoch, key=key, project=project, advance=advance
        )
    return Report(
        command="data commit",
        headline=f"committed to {made.dataset}, epoch {made.epoch}"
        + ("" if made.changed else "; the manifest says so already"),
        rows=(
            ("commitment", made.value),
            ("covers", f"{made.files} file{'s' * (made.files != 1)}, {human_bytes(made.bytes)}"),
            ("manifest", str(made.manifest)),
        ),
        outputs={"commitment": made.value},
        data={
            "dataset": made.dataset,
            "commitment": made.value,
            "epoch": made.epoch,
            "files": made.files,
            "bytes": made.bytes,
            "manifest": str(made.manifest),
            "changed": made.changed,
        },
        notes=("commit the manifest to Git; the data and the key stay here",),
    )


command.add_command(_make_key)
command.add_command(_commit)
