"""A push from its audit intents to the outcomes: chunks, policy's last word, and only then key
tables and the record (RULES 44), zone by zone.

Writes the audit log, the stores and the evidence beside the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import disk_error
from sovgate.git.ignored import keep_state_out
from sovgate.pipeline.decide.judge import confirm
from sovgate.pipeline.move.movement import PATIENCE, announced, note, place, refuse
from sovgate.pipeline.move.pushing.asked import Admitted, Call, Delivered, other_key
from sovgate.pipeline.move.pushing.bring import Brought, Lane, bring
from sovgate.pipeline.move.pushing.outgoing import total
from sovgate.pipeline.move.pushing.resuming import Keeping
from sovgate.pipeline.move.pushing.reusing import Reusing, find, packs
from sovgate.pipeline.move.pushing.told import pushed
from sovgate.pipeline.move.results import Pushed
from sovgate.records import Advance, ByZone
from sovgate.stages import audit

if TYPE_CHECKING:
    from sovgate.formats.part import Closed
    from sovgate.keys._api import Signer
    from sovgate.stages import transfer


@dataclass(frozen=True, kw_only=True)
class Announced:
    """One zone of a push, and its run in the log; `head` is that of its intent."""

    admitted: Admitted
    kept: Keeping
    run: audit.Run
    head: str


def deliver(
    admitted: Mapping[str, Admitted], kept: Mapping[str, Keeping], evidence: Path, call: Call
) -> tuple[Pushed, ...]:
    """Bring the release to each zone, unless one was denied. `evidence`: the model's own folder."""
    denied = [one for one in admitted.values() if one.judged.denial is not None]
    if not denied:
        call.refusals.require_none()
    asked = next(iter(admitted.values())).asked
    call.options.expect(total([one.asked.outgoing for one in admitted.values()]))
    signer = asked.opened.signer(asked.zone.name)
    if asked.zone.store is None:  # its log is kept in the project's folder
        keep_log_out(asked.opened.base)
    log = audit.Log(asked.opened.audit_store(asked.zone.name), signer, trusted=asked.trusted)
    if denied:
        _refuse(denied, log, call)
    with call.refusals.telling(), _announced(admitted, kept, log, call) as zones:
        found = _found(zones, call)
        lacking = {to: one for to, one in zones.items() if found[to] is None}
        reusing = _reusing(lacking, call)
        brought = _brought(lacking, reusing, signer, call)
        done: list[tuple[Delivered, str]] = []
        for to, one in zones.items():
            with call.refusals.by(to):
                there = found[to]
                delivered = (
                    _finish(one, reusing[to], brought[to], signer, call)
                    if there is None
                    else Delivered.before(one.admitted, there)
                )
                if asked.outgoing.copy is None:
                    _keep_evidence(evidence, delivered)
                done.append((delivered, _note_end(one, delivered)))
    return tuple(pushed(one, head, call.timer) for one, head in done)


def keep_log_out(base: Path) -> None:
    try:
        keep_state_out(base)
    except OSError as error:
        raise disk_error(error, "make the folder .sovgate") from error


def _refuse(denied: list[Admitted], log: audit.Log, call: Call) -> None:
    """Write down each denial, and raise all of them."""
    runs = log.begin_several(len(denied))
    call.refusals.ask(
        {
            one.asked.to.name: partial(refuse, one.judged, run, one.asked.about, one.judged.refs)
            for one, run in zip(denied, runs, strict=True)
        }
    )
    call.refusals.require_none()


@contextlib.contextmanager
def _announced(
    admitted: Mapping[str, Admitted], kept: Mapping[str, Keeping], log: audit.Log, call: Call
) -> Iterator[dict[str, Announced]]:
    """All intents are durable before the first effect; each run that is open then ends as this."""
    with contextlib.ExitStack() as open_runs:
        zones = {}
        runs = log.begin_several(len(admitted))
        for (to, one), run in zip(admitted.items(), runs, strict=True):
            intent = announced(
                run,
                one.asked.about,
                one.judged.refs,
                mine=partial(call.refusals.concerns, to),
                patience=PATIENCE / len(admitted),
            )
            head = open_runs.enter_context(intent)
            zones[to] = Announced(admitted=one, kept=kept[to], run=run, head=head)
        yield zones


def _found(zones: Mapping[str, Announced], call: Call) -> dict[str, transfer.Record | None]:
    """The release where it is already, the same and whole: that zone takes no chunk."""
    with call.timer.step("look at the store"):
        found = call.refusals.ask({to: one.admitted.existing for to, one in zones.items()})
    call.refusals.require_none()
    for to, record in found.items():
        if record is not None:
            zones[to].kept.done()
            call.refusals.arrived(to)
    return found


def _reusing(zones: Mapping[str, Announced], call: Call) -> dict[str, Reusing]:
    """What each zone has from earlier releases, where it says so."""
    if not zones:
        return {}
    state = call.options.state
    asks = any(one.admitted.asked.to.reuse for one in zones.values())
    with call.timer.step("look for earlier chunks") if asks else contextlib.nullcontext():
        found = call.refusals.ask(
            {
                to: partial(find, one.admitted.asked, state, dry_run=False)
                for to, one in zones.items()
            }
        )
    call.refusals.require_none()
    return found


def _brought(
    zones: Mapping[str, Announced],
    reusing: Mapping[str, Reusing],
    signer: Signer,
    call: Call,
) -> dict[str, Brought]:
    """The chunks, in each zone that has not got the release."""
    if not zones:
        return {}
    if call.refusals.several:  # those that have the release already take none
        call.options.expect(total([one.admitted.asked.outgoing for one in zones.values()]))
    rows = _rows(zones, reusing, call)
    lanes = [
        Lane(asked=one.admitted.asked, kept=one.kept, reuse=reusing[to].found, row=rows.get(to))
        for to, one in zones.items()
    ]
    with call.timer.step("encrypt and send"):
        brought = bring(lanes, signer, call.refusals, call.options.advance)
    return dict(zip(zones, brought, strict=True))


def _rows(
    zones: Mapping[str, Announced], reusing: Mapping[str, Reusing], call: Call
) -> dict[str, Advance]:
    """Who shows how far each zone is; of one zone what is read shows it."""
    progress = call.options.progress
    if not call.refusals.several or not isinstance(progress, ByZone):
        return {}
    rows: dict[str, Advance] = {}
    for to, one in zones.items():
        rows[to] = row = progress.of_zone(to)
        row.expect(reusing[to].found.plan(one.admitted.asked.outgoing.manifest).size)
    return rows


def _finish(
    one: Announced, reusing: Reusing, brought: Brought, signer: Signer, call: Call
) -> Delivered:
    """Policy's last word for this zone, its key tables, and the record."""
    from sovgate.stages import transfer

    admitted, asked = one.admitted, one.admitted.asked
    draft = transfer.Draft(
        release=asked.release,
        manifest=asked.outgoing.manifest.canonical(),
        signature=asked.outgoing.signature,
        source=place(asked.zone),
        evidence=asked.outgoing.documents,
        policy=admitted.judged.policy,
        project=asked.opened.digest,
        audit_head=one.head,
    )
    last: list[Admitted] = []
    made: list[Closed] = []

    def closed() -> Closed:
        made.append(brought.closed())
        return made[-1]

    def recheck() -> transfer.Final:
        again, moment = confirmed(admitted)
        last.append(again)
        return transfer.Final(
            destination=place(again.asked.to, again.located),
            decisions=again.judged.documents,
            decision=again.judged.decision,
            created=moment,
        )

    of_zone = f" of zone {asked.to.name}" if call.refusals.several else ""
    with call.timer.step(f"write the record{of_zone}"):
        done = transfer.publish(
            asked.store, draft, recheck, closed, signer=signer, trusted=asked.trusted
        )
        if call.refusals.arrived(asked.to.name):
            call.timer.keep()
        reusing.remember(done.record, made[-1].parts, brought.carried)
        one.kept.done()
    return Delivered(
        admitted=last[-1],
        record=done.record,
        already=done.already,
        written=brought.written + done.written,
        resumed=brought.written.skipped,
        reused=reusing.found.taken,
        packs=packs(reusing.found.plan(asked.outgoing.manifest)) if asked.outgoing.root else (0, 0),
    )


def confirmed(admitted: Admitted) -> tuple[Admitted, datetime]:
    """Location, key and policy again, now that all bytes are known, and before a key table is.

    Raises what a denial is; KeyServiceError, "wrong-key".
    """
    asked = admitted.asked
    located = asked.locate()
    now = asked.opened.recipient(asked.to.name).key_id
    if now != asked.recipient.key_id:
        raise other_key(asked.recipient.key_id, now, asked.to.name)
    again, moment = confirm(
        admitted.judged,
        located,
        lambda: asked.judge(located, sign=True),
        anew=asked.seen is not None,
    )
    return Admitted(asked=asked, located=located, judged=again), moment


def _keep_evidence(folder: Path, done: Delivered) -> None:
    """Decisions and the record also go to the evidence beside the model."""
    from sovgate.stages import attest

    for item in done.admitted.judged.documents:
        attest.add(folder, item.role, item.data)
    attest.add(folder, "transfer", done.record.data)


def _note_end(one: Announced, done: Delivered) -> str:
    refs = (*done.admitted.judged.refs, ("transfer", done.record.sha256))
    return note(one.run, "outcome", one.admitted.asked.about, exit_code=0, refs=refs)
