"""What a job of a generated workflow gets to reach keys and stores: by OIDC at AWS, else secrets.

Each step of ours gets its zone's credentials by name in its own `env`, and nothing by way of the
job, so that a job that sends to another provider cannot mix up the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sovgate.pipeline.look.answers import Answers, ZoneAnswer, has_kms
from sovgate.pipeline.look.scaffold.template import fill

#: Variables that an action hands over without being told to.
_PASSED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_PERMISSION = "      id-token: write # to ask for credentials by OIDC\n"


@dataclass(frozen=True, kw_only=True)
class Access:
    """Credentials for one provider.

    login      steps that get them, "" where secrets are the credentials
    variables  (name in the environment, expression) of each
    """

    login: str
    variables: tuple[tuple[str, str], ...]


def secret(zone: ZoneAnswer) -> str:
    """What the names of a zone's secrets and variables begin with."""
    return zone.name.upper().replace("-", "_")


def own(answers: Answers, zone: ZoneAnswer) -> Access | None:
    """For a zone's own store, and for its keys where they are in a KMS."""
    return None if answers.local else _access(zone, step="credentials", name=secret(zone))


def toward(answers: Answers, zone: ZoneAnswer, to: ZoneAnswer) -> Access | None:
    """For the store of another zone, as `zone` may write there; None where its own are enough."""
    if answers.local or to.region.provider == zone.region.provider:
        return None
    return _access(to, step=f"to-{to.name}", name=f"{secret(zone)}_TO_{secret(to)}")


def _access(zone: ZoneAnswer, *, step: str, name: str) -> Access:
    provider = zone.region.provider.upper().replace("-", "_")
    if not has_kms(zone.region):
        return Access(
            login="",
            variables=tuple(
                (f"{provider}_{end}", f"secrets.{name}_{end}")
                for end in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
            ),
        )
    return Access(
        login=fill("step-login.yml", step=step, name=name, region=zone.region.region),
        variables=tuple(
            (f"{provider}_{end}", f"steps.{step}.outputs.aws-{end.lower().replace('_', '-')}")
            for end in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
        ),
    )


def given(*accesses: Access | None) -> tuple[str, str]:
    """(`env:` of a step, its input `pass-env`), each whole lines or nothing."""
    pairs = [pair for access in accesses if access is not None for pair in access.variables]
    if not pairs:
        return "", ""
    env = "        env:\n" + "".join(f"          {name}: ${{{{ {of} }}}}\n" for name, of in pairs)
    named = [name for name, _ in pairs if name not in _PASSED]
    return env, f"          pass-env: {' '.join(named)}\n" if named else ""


def job(
    answers: Answers,
    zone: ZoneAnswer,
    *,
    base: str,
    decrypts: bool = False,
    to: Sequence[ZoneAnswer] = (),
) -> dict[str, str]:
    """The fields of a zone's job: permission, login, key files, and what its steps get.

    decrypts  it opens models; else it signs alone
    to        where it pushes
    """
    mine = own(answers, zone)
    kms = answers.in_kms(zone)
    used = mine if decrypts or kms or to else None
    asks = [used, *(toward(answers, zone, there) for there in to)]
    stores, storespass = given(mine)
    signs, signspass = given(mine if kms else None)
    key = {"zone": zone.name, "secret": secret(zone), "base": base}
    files = fill("step-keys.yml" if decrypts else "step-sign-key.yml", **key)
    return {
        **key,
        "token": _PERMISSION if any(one is not None and one.login for one in asks) else "",
        "login": "" if used is None else used.login,
        "keyfiles": "" if kms else files,
        "stores": stores,
        "storespass": storespass,
        "signs": signs,
        "signspass": signspass,
    }


def forget(answers: Answers, zone: ZoneAnswer, *, base: str, decrypts: bool = False) -> str:
    """The last step of a job that wrote key files."""
    if answers.in_kms(zone):
        return ""
    keys = f"{base}keys/{zone.name}-sign.pem"
    return fill("step-forget.yml", keys=keys + (f" {base}keys/{zone.name}.pem" if decrypts else ""))


def push(answers: Answers, zone: ZoneAnswer, to: ZoneAnswer) -> dict[str, str]:
    """The fields of the step that pushes to one zone."""
    there = toward(answers, zone, to)
    pushes, pushespass = given(own(answers, zone), there)
    return {
        "login": "" if there is None else there.login,
        "pushes": pushes,
        "pushespass": pushespass,
    }
