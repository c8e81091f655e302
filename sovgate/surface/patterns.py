"""patterns/: what `init` writes for one bank, for each pattern. Pure: answers to text."""

from __future__ import annotations

from sovgate.pipeline.look import init, scaffold
from sovgate.pipeline.look.init import PATTERNS

REPOSITORY = "https://git.example.eu/ml/serving.git"


def answers(pattern: str) -> init.Answers:
    """A bank in the EU that trains in the US and serves at home; its keys are in a KMS."""
    data = (init.data_answer("kyc=EU"),) if pattern == "hybrid" else ()
    return init.check(
        init.Answers(
            pattern=pattern,
            model="kyc-risk",
            train=init.zone_answer("us-train=aws:us-east-1"),
            serve=(init.zone_answer("eu=aws-eusc:eusc-de-east-1"),),
            data=data,
            gitops=REPOSITORY,
        )
    )


def command(pattern: str) -> str:
    """The same answers as a person gives them."""
    made = answers(pattern)
    words = ["sovgate init", f"--pattern {pattern}", f"--model {made.model}"]
    words += [f"--train {made.train.name}={made.train.region.id}"]
    words += [f"--serve {zone.name}={zone.region.id}" for zone in made.serve]
    words += [f"--data {data.name}={','.join(data.stays_in)}" for data in made.data]
    return " ".join([*words, f"--gitops {made.gitops}"])


def files(schema: str) -> dict[str, str]:
    """Path from the root -> text. `schema`: of sovgate.yaml, newer perhaps than that on disk."""
    made = {
        f"patterns/{pattern}/{path.removeprefix('/')}": data.decode()
        for pattern in PATTERNS
        for path, data in scaffold.files(answers(pattern)).items()
    }
    return made | {f"patterns/{pattern}/{scaffold.SCHEMA}": schema for pattern in PATTERNS}
