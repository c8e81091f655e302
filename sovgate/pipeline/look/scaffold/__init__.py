"""What `init` writes, as text: answers in, files out. Reads templates and schema of the package.

Every value that a person gave has passed its check before it gets here, so nothing needs escaping.
"""

from __future__ import annotations

from sovgate import __version__
from sovgate.files import resource_dir
from sovgate.git.ignored import KEYS
from sovgate.pipeline.look.answers import PUBLIC, Answers
from sovgate.pipeline.look.scaffold import actions, tekton
from sovgate.pipeline.look.scaffold.project import project_file
from sovgate.pipeline.look.scaffold.template import fill, place_of

#: The copy of the schema that the first line of sovgate.yaml names, for editors.
SCHEMA = ".sovgate-schema.json"


def files(answers: Answers, *, hosted: bool = False) -> dict[str, bytes]:
    """Path -> content of every file but the keys. The same answers give the same bytes.

    hosted  no workflow but those that a runner at any place may run: none holds a key, a model or
            data. What there is else is the same, so the others can be added later.

    Paths are below the project's folder; those that begin with a slash are below the root of the
    repository, where alone GitHub and pre-commit look.
    """
    made = {
        "sovgate.yaml": project_file(answers),
        SCHEMA: schema(),
        "policies/named_release.rego": fill("named_release.rego"),
        "policies/named_release_test.rego": fill("named_release_test.rego"),
        f"data/{PUBLIC}.yaml": fill(
            "dataset.yaml",
            name=PUBLIC,
            category="public",
            stays="",
            pointer="https://example.org/where-it-is",
            note="free: it may go anywhere",
        ),
        f"/.github/workflows/{actions.named('check', answers)}": actions.check(answers),
        "/.pre-commit-config.yaml": fill("pre-commit.yaml", version=__version__),
        ".gitignore": fill("gitignore") + ("/stores/\n" if answers.local else ""),
        "keys/README.md": fill("keys.md"),
        "keys/.gitignore": KEYS,
        f"{answers.serving}/base/kustomization.yaml": fill("serving-base.yaml"),
        f"{answers.serving}/base/deployment.yaml": fill(
            "serving-deployment.yaml", model=answers.slug
        ),
    }
    made |= tekton.files(answers)
    kind = "policy" if hosted else "release"
    written = actions.policy(answers) if hosted else actions.release(answers)
    made[f"/.github/workflows/{actions.named(kind, answers)}"] = written
    if answers.place:
        made["/.github/workflows/sovgate-guard.yml"] = fill("guard.yml")
    for data in answers.data:
        pointer = f"file:data/{data.name}" if answers.local else f"s3://{data.name}/"
        made[f"data/{data.name}.yaml"] = fill(
            "dataset.yaml",
            name=data.name,
            category="personal",
            pointer=pointer,
            stays=", ".join(data.stays_in),
            note="and so must every model made from it",
        )
    for zone in answers.serve:
        made[f"{answers.serving}/overlays/{zone.name}/kustomization.yaml"] = fill(
            "serving-overlay.yaml", zone=zone.name, model=answers.slug, place=place_of(zone)
        )
    if (answers.hybrid or answers.gitops is not None) and not hosted:
        made[f"/.github/workflows/{actions.named('rollback', answers)}"] = actions.rollback(answers)
    return {path: text.encode() for path, text in made.items()}


def schema() -> str:
    """The JSON Schema of sovgate.yaml, as it came with this version."""
    return (resource_dir("schemas") / "project.json").read_text(encoding="utf-8")


def key_files(answers: Answers) -> tuple[tuple[str, str], ...]:
    """(kind, path) of each private key; the public half stands beside it."""
    if not answers.keys:
        return ()
    return tuple(
        pair
        for zone in answers.zones
        for pair in (("sign", f"keys/{zone.name}-sign.pem"), ("encrypt", f"keys/{zone.name}.pem"))
    )
