"""release: the other pipelines in their order, from a model on disk to the zones where it goes.

No logic of its own: each step asks whether it is done, does it by the pipeline of that name, and
says so. Run again after any failure or kill, it goes on where it stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import SovgateError, UsageError, disk_error
from sovgate.git.ignored import OPENED, keep_state_out
from sovgate.pipeline.decide.admission import admit
from sovgate.pipeline.foreseen import Planned, destinations
from sovgate.pipeline.own_roles import require_maker, require_release
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import Project, open_project
from sovgate.pipeline.steps import ALREADY, DENIED, LEFT, WOULD, Log, Step, StepResult, aside
from sovgate.records import DEFAULTS, Options, Release
from sovgate.staging import alone

if TYPE_CHECKING:
    from sovgate.formats.manifest import Manifest
    from sovgate.pipeline.already import Already


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What the own job of a zone has to do, since its keys are not here. `commands` in order."""

    zone: str
    why: str
    commands: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Released:
    """`heads`: (zone, head) of each audit log that was written to, as to be noted, in order.
    `kept`: models that were opened where nobody said, which stay there. `missing`: what a dry run
    would write before it could ask `push`."""

    release: Release
    manifest: str
    zone: str
    to: tuple[str, ...]
    steps: tuple[Step, ...]
    left: tuple[Handover, ...]
    heads: tuple[tuple[str, str], ...]
    kept: tuple[Path, ...]
    dry_run: bool
    missing: tuple[str, ...]

    @property
    def pinned(self) -> str:
        return self.release.pinned(self.manifest)


@dataclass(frozen=True, kw_only=True)
class Route:
    """From `zone` to the zones of `to`; `through` "promote" goes on there, opening in `output`."""

    zone: str
    to: Sequence[str]
    through: str = "push"
    output: Path | None = None


@reads_model
def release(
    model: Path,
    *,
    release: Release,
    route: Route,
    datasets: Sequence[str] = (),
    key: str | None = None,
    options: Options = DEFAULTS,
) -> Released:
    """Sign (or verify), record, list, ask about and push a model; or go on to promote it.

    `key` signs model, record and SBOM, by default the zone's own. Policy is asked for every zone
    before anything goes to one. Where the keys of a destination resolve in this project, "promote"
    pulls there, into `output`/<zone>/<name>-<version>, and promotes; else it is left to that zone.

    Raises what its steps raise, `data` with the steps that were done. Run it again after any.
    """
    opened = open_project(options.project)
    to = destinations(opened, release, route.zone, route.to, route.through)
    run = _ReleaseRun(opened, model, release, route.zone, key, options)
    require_release(opened, route.zone, key, datasets=datasets, signed=run.evidence.signed)
    folder = route.output if route.output is not None else opened.base / OPENED
    if not options.dry_run:
        try:
            keep_state_out(opened.base)
        except OSError as error:
            raise disk_error(error, "make the folder .sovgate") from error
    # One release at a time from one project, so that the second finds done what the first did.
    with (
        contextlib.nullcontext() if options.dry_run else alone(opened.base / ".sovgate" / "release")
    ):
        run.run(to, datasets, folder if route.through == "promote" else None)
    return Released(
        release=run.release,
        manifest=run.manifest,
        zone=route.zone,
        to=tuple(to),
        steps=tuple(run.log.steps),
        left=tuple(run.left),
        heads=tuple(run.log.heads),
        kept=tuple(run.models) if route.output is None else (),
        dry_run=options.dry_run,
        missing=() if run.planned is None else tuple(run.planned.missing),
    )


class _ReleaseRun:
    """One release under way: what is known of it so far."""

    manifest: str = ""

    def __init__(
        self,
        opened: Project,
        model: Path,
        release: Release,
        zone: str,
        key: str | None,
        options: Options,
    ) -> None:
        self.opened, self.model, self.zone = opened, model, zone
        self.release, self.pin = Release(model=release.model, version=release.version), release.pin
        self.key = key
        self.options = replace(options, project=opened.config.path.parent)
        self.evidence = evidence_of(model, options, opened)
        self.log, self.dry_run = Log(), options.dry_run
        self.left: list[Handover] = []
        self.already: Already | None = None  # known once the model is
        self.models: list[Path] = []
        self.listed: Manifest | None = None
        self.planned: Planned | None = None  # what a dry run would have to write before it went on

    def run(self, to: Sequence[str], datasets: Sequence[str], folder: Path | None) -> None:
        """All steps; on in the destinations where there is a `folder` to open the model in."""
        self.make(datasets)
        for destination in to:
            self.check(destination) if self.planned is None else self.foresee(destination)
        if self.planned is None:
            self.push(*to)
        if folder is not None and not self.dry_run:
            for destination in to:
                self.continue_in(destination, folder)

    # -- what lies beside the model

    def make(self, datasets: Sequence[str]) -> None:
        admit(self.model, self.opened)
        if self.evidence.signed:
            self._verify(anew=bool(datasets))
        else:
            self._sign()
        if self.pin not in (None, self.manifest):
            raise UsageError(
                f"the model is not the one that {self.release} is pinned to",
                why=f"its manifest is sha256:{self.manifest}",
                fix="remove the pin, or name the model that it belongs to",
                reason="wrong-pin",
            )
        if datasets:
            self._record(datasets)
        self._sbom()

    def _verify(self, *, anew: bool) -> None:
        """Verify; and sign where another did, but for another zone's model that is passed on."""
        from sovgate.pipeline.already import Already
        from sovgate.pipeline.move.verify import verify

        with self.log.step("verify") as say:
            found, _ = verify(self.model, options=self.options)
            self.listed, self.manifest = found.manifest, found.manifest.digest
            self.already = Already.of(self.evidence, self.manifest, self.opened, self._key)
            own, zone = self.already.signed(), found.signer.zone
            say.said = f"signed by {found.signer.name} already{aside(found.left_out)}"
            say.outcome = ALREADY
        if not own and (anew or zone in (None, self.zone)):
            self._sign(before=found.signer.name)

    def _sign(self, before: str | None = None) -> None:
        from sovgate.pipeline.already import Already
        from sovgate.pipeline.make.sign import sign
        from sovgate.stages import inventory

        with self.log.step("sign") as say:
            if before is not None:  # at the start it was not known that it would be signed anew
                require_maker(self.opened, self.zone, self.key, ("signature",))
            if self.dry_run:
                self._would(say, "sign the model").roles.append("signature")
                if before is None:
                    taken = inventory.take(self.model, advance=self.options.progress)
                    self.listed, self.manifest = taken.manifest, taken.manifest.digest
                return
            zone = None if self.key else self.zone
            made = sign(self.model, key=self.key, zone=zone, options=self.options)
            self.manifest = made.manifest.digest
            self.already = Already.of(self.evidence, self.manifest, self.opened, self._key)
            other = "" if before is None else f"; {before} had signed it, which is kept"
            say.said = f"by the key {made.by.key_id[:16]}…{other}{aside(made.left_out)}"

    def _would(self, say: StepResult, what: str) -> Planned:
        say.outcome, say.said = WOULD, f"would {what}"
        if self.planned is None:
            self.planned = Planned(opened=self.opened, key=self._key, missing=[], roles=[])
        self.planned.missing.append(what)
        return self.planned

    @property
    def _key(self) -> str:
        return self.key if self.key is not None else self.opened.sign_uri(self.zone)

    def _record(self, datasets: Sequence[str]) -> None:
        from sovgate.pipeline.make.record import Training, own_datasets, record

        names = ", ".join(datasets)
        with self.log.step("record") as say:
            now = own_datasets(self.opened, datasets, no_dataset=False, commit=None)
            if self.already is not None and self.already.recorded(now):
                say.outcome, say.said = ALREADY, f"a record by this key names {names} already"
                return
            if self.dry_run:
                self._would(say, f"record {names}").record(now)
                return
            told = Training(datasets=datasets)
            made = record(self.model, told, key=self._key, options=self.options)
            say.said = f"trained on {names}{'; earlier records count too' if made.earlier else ''}"

    def _sbom(self) -> None:
        from sovgate.pipeline.make.sbom import sbom

        with self.log.step("sbom") as say:
            if self.already is not None and self.already.listed():
                say.outcome, say.said = ALREADY, "there is one by this key already"
                return
            if self.dry_run:
                self._would(say, "write the SBOM").roles.append("sbom")
                return
            made = sbom(self.model, key=self._key, options=self.options)
            count = len(made.described.manifest.resources)
            say.said = f"{count} file{'s' * (count != 1)} listed"

    # -- over the border

    def check(self, to: str) -> None:
        """Ask before anything goes anywhere. A denial is `push`'s to write down, and to raise."""
        from sovgate.pipeline.decide.check import Asked, check
        from sovgate.pipeline.decide.judge import CLASSES

        with self.log.step("check", to) as say:
            for cls in CLASSES:
                asked = Asked(
                    action="transfer",
                    zone=self.zone,
                    to=to,
                    cls=cls,
                    release=self.release.pinned(self.manifest),
                )
                decision = check(
                    self.model,
                    asked,
                    hashed=self.dry_run,  # else `push` compares the bytes
                    options=self.options,
                ).decision
                if self.dry_run:
                    decision.require()
                by = ", ".join(permit.where or permit.id for permit in decision.permits)
                verdict = "allowed" if decision.allowed else "denied"
                say.said = f"{verdict}; {len(decision.rules)} rules asked"
                line = f"{verdict}: {decision.question}, by {by or 'no permit'}"
                say.decisions = (*say.decisions, line)
                if not decision.allowed:
                    say.outcome = DENIED
                    break
        if not decision.allowed:
            self.push(to)
            decision.require()

    def foresee(self, to: str) -> None:
        """A dry run's question about what is not signed yet, as if it were."""
        from sovgate.pipeline.foreseen import Crossing, ask

        assert self.planned is not None and self.listed is not None  # noqa: S101
        crossing = Crossing(
            release=self.release, manifest=self.listed, zone=self.zone, evidence=self.evidence
        )
        with self.log.step("check", to) as say:
            judged, there = ask(self.planned, crossing, to)
            say.decisions = judged.lines
            say.said = f"allowed once that is signed; {len(judged.first.rules)} rules asked"
            if there is not None:
                say.said += f"; in {to} already, the same"

    def push(self, *to: str) -> None:
        from sovgate.pipeline.move.push import push_each

        with self.log.steps_of("push", to) as says:
            done = push_each(
                self.model, release=self._pinned, zone=self.zone, to=to, options=self.options
            )
            for made in done:
                zone = made.moved.destination.zone
                say = says[zone]
                say.decisions = made.decisions
                self._head(self.zone, made.written.audit_head)
                if made.written.already:
                    say.outcome, say.said = ALREADY, f"in {zone} already, the same and whole"
                elif self.dry_run:
                    say.outcome, say.said = WOULD, f"would write {made.size.objects} objects"
                else:
                    say.said = f"{made.size.objects} objects, {made.size.crossed} bytes"

    @property
    def _pinned(self) -> Release:
        """What was verified at the start is what moves, or nothing does."""
        return Release.parse(self.release.pinned(self.manifest))

    def _head(self, zone: str, head: str | None) -> None:
        if head is not None:
            self.log.heads.append((zone, head))

    # -- in the destination

    def continue_in(self, zone: str, folder: Path) -> None:
        pinned = self.release.pinned(self.manifest)
        pull = f"sovgate pull {pinned} --zone {zone} -o {self.model.resolve().name}"
        promote = f"sovgate promote {pinned} --zone {zone}"
        why = self._unresolved(zone)
        if why is not None:
            self._leave("pull", zone, why, pull, promote)
            return
        self._pull(zone, folder)
        if self.opened.zone(zone).gitops is None:
            self._leave("promote", zone, f"zone {zone} has no gitops in this project", promote)
            return
        self._promote(zone)

    def _unresolved(self, zone: str) -> str | None:
        """Why this project cannot act for `zone`; None where it can."""
        keys = self.opened.zone(zone).keys
        for name, uri in (("sign", keys.sign), ("encrypt", keys.encrypt)):
            if uri is None:
                return f"this project names no {name} key of zone {zone}"
        try:
            self.opened.signer(zone)
            self.opened.identity(zone)
        except SovgateError as error:
            return error.what
        return None

    def _leave(self, step: str, zone: str, why: str, *commands: str) -> None:
        with self.log.step(step, zone) as say:
            say.outcome, say.said = LEFT, why
            self.left.append(Handover(zone=zone, why=why, commands=commands))

    def _pull(self, zone: str, folder: Path) -> None:
        from sovgate.pipeline.move.pull import pull

        output = folder / zone / f"{self.release.model}-{self.release.version}"
        with self.log.step("pull", zone) as say:
            try:
                output.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise disk_error(error, f"make the folder {str(output.parent)!r}") from error
            made = pull(
                self._pinned,
                zone=zone,
                output=output,
                options=replace(self.options, evidence=None),
            )
            say.decisions = made.decisions
            say.said = f"verified and opened at {output}; receipt signed"
            if made.already:
                say.outcome, say.said = ALREADY, f"at {output} already, and has its receipt"
            self.models.append(output)
            self._head(zone, made.proof.audit_head)

    def _promote(self, zone: str) -> None:
        from sovgate.pipeline.rollout.promote import promote

        with self.log.step("promote", zone) as say:
            made = promote(self._pinned, zone=zone, options=self.options)
            say.said = f"commit {made.committed.commit} on {made.committed.branch}"
            if made.permits:
                by = ", ".join(made.permits)
                say.decisions = (f"allowed: deploy of {self.release} in {zone}, by {by}",)
            if made.already:
                say.outcome, say.said = ALREADY, f"promoted in {zone} already"
            if made.proposed:
                say.said = f"proposed for {zone} on {made.committed.branch}; not merged yet"
            self._head(zone, made.committed.audit_head)
