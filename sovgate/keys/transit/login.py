"""A token for a server of Vault's protocol: from the environment, or by a login of our own.

Reads the variables and files that docs/vault.md names. A token of a login lives in memory alone, is
never renewed, and is given back (revoke-self) when the run ends.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sovgate import notices, strict
from sovgate.clouds import github
from sovgate.errors import (
    ConfigError,
    KeyServiceError,
    Malformed,
    SovgateError,
    workflow_permissions,
)
from sovgate.keys import _secret
from sovgate.keys.transit.place import PAGE, Login, Place
from sovgate.keys.transit.server import Call, Said, Server
from sovgate.transport import runs

#: Where Kubernetes puts a service account's token, unless a variable names a projected one.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_TOKEN = re.compile(r"[!-~]{1,16384}", re.ASCII)
_JWT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]*", re.ASCII)
#: Seconds before its end in which a token begins nothing, and of one that says no end.
_EARLY, _LIFE = 20.0, 3600.0
#: The server that each variable's credential goes to in this run.
_sent: dict[str, str] = {}
#: Wrapping tokens that this run opened, and what was in them: they open once.
_unwrapped: dict[str, str] = {}
#: For whom a wrapped secret id was made. A namespace may stand before it.
_WRAPPED = re.compile(r"(?:[\w./-]+/)?auth/[\w./-]+/role/[\w.-]+/secret-id", re.ASCII)


class Tokens:
    """The token of one place and way to log in, for all threads. Its repr tells none of it."""

    def __init__(self, server: Server, clock: Callable[[], float] = time.monotonic) -> None:
        self._server, self._clock = server, clock
        self._login: Login = server.at.login
        self._lock = threading.Lock()
        self._token = ""
        self._ends = 0.0
        self._uses: int | None = None
        self._typed = self._batch = False

    def __repr__(self) -> str:
        return f"Tokens({self._server!r})"

    def __call__(self) -> str:
        """A token that is good for one more request. Raises KeyServiceError."""
        if (found := self._given("TOKEN", "the token")) is not None:
            return _checked(found, f"the token in {self._source('TOKEN')}")
        with self._lock:
            if self._token and (self._uses == 0 or self._ends <= self._clock()):
                self._give_back()
            if not self._token:
                self._fetch()
            if self._uses is not None:
                self._uses -= 1
            return self._token

    def ours(self, token: str) -> bool:
        """Whether it is of a login that this run made, and so is known to be good."""
        return token == self._token and not self._typed

    def _fetch(self) -> None:
        how = self._login.how
        if how is None and self._given("ROLE_ID", "the AppRole's id") is not None:
            how = "approle"
        if how in (None, "token"):
            self._token, self._typed, self._ends = self._asked(), True, float("inf")
            runs.at_end(self._end)
            return
        self._log_in(str(how), self._approle() if how == "approle" else self._with_jwt(str(how)))

    # -- what the environment gives

    def _given(self, name: str, what: str) -> str | None:
        """What a variable or its file holds. Raises ConfigError, "two-servers"."""
        for variable in self._login.variables(name):
            found = _secret.maybe(f"{what} for {self._server.at.address}", variable)
            if found is not None:
                self._for_one_server(variable)
                return found.strip()
        return None

    def _for_one_server(self, variable: str) -> None:
        """A credential shows who one is: the server that gets it could use it at another."""
        address = self._server.at.address
        if not runs.running():
            return  # nobody says where it would end
        if not _sent:
            runs.at_end(_sent.clear)
        other = _sent.setdefault(variable, address)
        if other != address:
            raise ConfigError(
                f"{variable} would go to two servers, {other} and {address}",
                why="each could use at the other what it gets here",
                fix="write profile: NAME beside the keys of one of them, and set "
                f"NAME_{variable.removeprefix(self._login.profile)} for it; where only a public "
                "half is needed, name its file (sovgate keys show URI -o FILE)",
                reason="two-servers",
            )

    def _source(self, name: str) -> str:
        return next(
            (v for v in self._login.variables(name) if _secret.maybe("", v) is not None), name
        )

    def _asked(self) -> str:
        """The token of somebody who sits there; else the error that says how one logs in."""
        at, names = self._server.at, self._login.variables
        try:
            return _checked(_secret.secret(f"a token for {at.address}", names("TOKEN")[0]), "it")
        except KeyServiceError as error:
            if error.reason != "secret-missing":
                raise
        raise KeyServiceError(
            f"there are no credentials for {at.address}",
            why=f"{' and '.join(names('TOKEN'))} {'are' if len(names('TOKEN')) > 1 else 'is'} not "
            "set, and the key names no login; no file of a login at a desk is looked at",
            fix=f"set {names('TOKEN')[0]}, or {names('TOKEN')[0]}_FILE=$HOME/.vault-token after a "
            f"login there; in a job set {names('ROLE_ID')[0]} and {names('SECRET_ID')[0]}, or "
            f"write login: kubernetes or login: jwt, with a role, beside the key ({PAGE})",
            reason="no-credentials",
        )

    def _approle(self) -> dict[str, str]:
        role = self._given("ROLE_ID", "the AppRole's id")
        if role is None:
            variable = self._login.variables("ROLE_ID")[0]
            raise _lacking(self._server.at, f"{variable} is not set", f"set {variable}")
        secret = self._given("SECRET_ID", "the AppRole's secret id")
        if secret is None:
            wrapping = self._given("WRAPPED_SECRET_ID", "the wrapped secret id")
            if wrapping is None:
                variable = self._login.variables("SECRET_ID")[0]
                raise _lacking(
                    self._server.at,
                    f"{variable} is not set",
                    f"set {variable}, or {self._login.variables('WRAPPED_SECRET_ID')[0]} to a "
                    "wrapping token that holds it",
                )
            if wrapping not in _unwrapped:
                _unwrapped[wrapping] = self._unwrap(_checked(wrapping, "the wrapping token"))
            secret = _unwrapped[wrapping]
        return {"role_id": role, "secret_id": secret}

    def _with_jwt(self, how: str) -> dict[str, str]:
        token = self._given("JWT", "the workload's token")
        if token is None and how == "kubernetes" and SERVICE_ACCOUNT.exists():
            self._for_one_server(self._login.variables("JWT")[0])
            token = _secret.secret("the service account's token", "", file=SERVICE_ACCOUNT)
        if token is None and how == "jwt":
            token = github.job_token(self._login.audience, KeyServiceError)
        if token is None:
            variable = self._login.variables("JWT")[0]
            error = _lacking(
                self._server.at,
                f"neither {variable} nor {variable}_FILE is set"
                + (f", and there is no {SERVICE_ACCOUNT}" if how == "kubernetes" else ""),
                f"set {variable}_FILE to the file that the workload's token is projected into"
                + ("" if how == "kubernetes" else "; in GitHub Actions let the job ask for one"),
            )
            error.details = workflow_permissions("id-token: write", "contents: read")
            raise error
        if not _JWT.fullmatch(token):
            raise _lacking(self._server.at, "the workload's token is no JWT", "see what wrote it")
        return {"role": self._login.role or "", "jwt": token}

    # -- at the server

    @property
    def _wrap_anew(self) -> str:
        return (
            f"make a new one: {self._server.at.tool} write -wrap-ttl=120s -f "
            f"auth/{self._login.mount}/role/ROLE/secret-id"
        )

    def _unwrap(self, wrapping: str) -> str:
        """RULES 31: a wrapping token that holds anything else than a secret id was swapped."""

        def used(said: Said) -> SovgateError | None:
            if said.status not in (400, 403):
                return None
            return KeyServiceError(
                f"the wrapped secret id does not open at {self._server.at.address}",
                why="it ran out, or was opened before; if that was not your own run, somebody else "
                "has the secret id",
                fix=f"if so, destroy that secret id; {self._wrap_anew}",
                reason="wrapping-token",
            )

        def asked(path: str, body: Mapping[str, str], token: str | None) -> dict[str, Any]:
            call = Call(
                method="POST",
                path=f"sys/wrapping/{path}",
                doing="open the wrapped secret id for",
                body=body,
                meant=used,
                secrets=(wrapping,),
            )
            # Once only: a second try would find it used.
            return _object(self._server.once(call, token=token, namespace=self._login.namespace))

        made = asked("lookup", {"token": wrapping}, None).get("creation_path")
        if not isinstance(made, str) or not _WRAPPED.fullmatch(made):
            raise KeyServiceError(
                "the wrapping token holds no secret id",
                why="it was made for something else, so somebody may have put it in the place of "
                "the right one",
                fix=self._wrap_anew,
                reason="wrapping-token",
            )
        secret = asked("unwrap", {}, wrapping).get("secret_id")
        if not isinstance(secret, str) or not _TOKEN.fullmatch(secret):
            raise _lacking(self._server.at, "it gave no secret id", "see which server answers")
        return secret

    def _log_in(self, how: str, body: dict[str, str]) -> None:
        at, login = self._server.at, self._login
        call = Call(
            method="POST",
            path=f"auth/{login.mount}/login",
            doing="log in for",
            body=body,
            meant=lambda said: self._not_let_in(how, body, said),
            secrets=tuple(body.values()),
        )
        answer = self._server.ask(call, token=None, namespace=login.namespace)
        auth = answer.get("auth")
        auth = auth if isinstance(auth, dict) else {}
        token = auth.get("client_token")
        if auth.get("mfa_requirement"):
            raise _lacking(
                at,
                "the login asks for a second factor, and nobody is there to give it",
                "log in with a role for machines, or set a token",
            )
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _lacking(at, "its answer to the login has no token", "see which server answers")
        life, uses = auth.get("lease_duration"), auth.get("num_uses")
        life = float(life) if isinstance(life, int) and 0 < life <= 31_536_000 else _LIFE
        self._token, self._typed = token, False
        self._ends = self._clock() + life - min(_EARLY, life / 4)
        self._uses = uses if isinstance(uses, int) and uses > 0 else None
        self._batch = auth.get("token_type") == "batch"  # those cannot be given back
        runs.at_end(self._end)

    def _not_let_in(self, how: str, body: Mapping[str, str], said: Said) -> SovgateError | None:
        """What a refused login means, as far as the server's words tell it."""
        login, at = self._login, self._server.at
        where = f"auth/{login.mount}" + (
            f" of the namespace {login.namespace}" if login.namespace else ""
        )
        if said.status not in (400, 401, 403, 404, 500) or "namespace not found" in said.text:
            return None
        why, fix = said.shown, "see that role, credentials and login-mount belong together"
        if how == "approle" and "invalid role or secret id" in said.text:
            why = "the server knows no such pair of role id and secret id, or not any more"
            fix = f"make a new one: {at.tool} write -f auth/{login.mount}/role/ROLE/secret-id"
        elif "jwt" in body and ("audience" in said.text or "(aud)" in said.text):
            why = f"the workload's token is for {_audiences(body['jwt'])}, and the role for another"
            fix = (
                f"let the token be made for the audience that the role {login.role} is bound to"
                if how == "kubernetes"
                else f"write audience beside the key, or bound_audiences into the role {login.role}"
            )
        elif "jwt" in body and ("is expired" in said.text or "(exp)" in said.text):
            why = "the workload's token has run out"
            fix = "have it written anew, and check this machine's clock"
        elif login.role and ("could not be found" in said.text or "invalid role" in said.text):
            why = f"there is no role {login.role!r} at {where}"
            fix = "correct role beside the key, or make it"
        elif said.status in (403, 404):
            why = f"refused at {where}: nothing is mounted there, or it lets nobody in so"
            fix = "correct login-mount and namespace beside the key, and see whom the role lets in"
        return KeyServiceError(
            f"could not log in to {at.address} by {how}",
            why=why,
            fix=f"{fix} ({PAGE})",
            reason="bad-credentials",
        )

    # -- after use

    def _end(self) -> None:
        with self._lock:
            self._give_back()
            _unwrapped.clear()

    def _give_back(self) -> None:
        """It is forgotten whatever the server says; what is not revoked ends by itself."""
        token, kept = self._token, self._typed or self._batch or self._uses == 0
        self._token, self._typed, self._batch, self._uses = "", False, False, None
        left = int(self._ends - self._clock()) if token and not kept else 0
        if left <= 0:  # one whose uses are used up is revoked already
            return
        call = Call(method="POST", path="auth/token/revoke-self", doing="give back the token for")
        try:
            self._server.once(call, token=token, namespace=self._login.namespace)
        except SovgateError as error:
            with contextlib.suppress(Warning):
                notices.note(
                    f"the token of the login to {self._server.at.address} could not be given back "
                    f"({error.why or error.what}); it ends by itself in {left} s"
                )


def _checked(text: str, what: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise KeyServiceError(
            f"{what} is no token",
            why="it is empty, or holds spaces or line breaks",
            fix="set it to the token alone",
            reason="bad-credentials",
        )
    return text


def _lacking(at: Place, why: str, fix: str) -> KeyServiceError:
    return KeyServiceError(
        f"could not log in to {at.address}", why=why, fix=f"{fix} ({PAGE})", reason="no-credentials"
    )


def _object(answer: Mapping[str, Any]) -> dict[str, Any]:
    data = answer.get("data")
    return data if isinstance(data, dict) else {}


def _audiences(token: str) -> str:
    """For whom a JWT says that it is. That is no secret, and is shown."""
    import base64

    try:
        body = _JWT.fullmatch(token).group(1)  # type: ignore[union-attr]
        claims = strict.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), floats=True)
        aud = claims["aud"]
        listed = [aud] if isinstance(aud, str) else aud
        return " and ".join(json.dumps(str(one)[:80]) for one in listed[:4]) or "nobody"
    except (Malformed, ValueError, LookupError, TypeError):
        return "an audience that cannot be read"
