"""pull: the rules of `sovgate.stages.transfer`, followed on the destination's side.

Everything is checked before a key is unwrapped, and all bytes before the model has its name. A
chain of frozen values: recorded, arrived, judged, opened, each made from the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.pipeline.deadline import in_time
from sovgate.pipeline.decide import contents
from sovgate.pipeline.decide.judge import Judged, confirm
from sovgate.pipeline.move.arrived import Arrived, Target, arrive, find
from sovgate.pipeline.move.movement import (
    LOOK,
    Timer,
    announced,
    note,
    place,
    refuse,
)
from sovgate.pipeline.move.pushing import outgoing as outgoings
from sovgate.pipeline.move.results import Moved, Proof, Pulled, Size
from sovgate.pipeline.named_keys import refuse_misused
from sovgate.pipeline.own_roles import LOGGED, require_zone_key
from sovgate.pipeline.places import evidence_of_output
from sovgate.pipeline.project import open_project
from sovgate.records import DEFAULTS, Advance, Options, Release
from sovgate.stages import attest, audit
from sovgate.staging import Staging, is_free, require_writable, sweep

if TYPE_CHECKING:
    from sovgate.formats.part import Listed
    from sovgate.keys._api import Signer
    from sovgate.pipeline.decide.contents import Contents
    from sovgate.stages import transfer
    from sovgate.stages.encrypt import Opened

#: What a receipt says was checked, in this order.
CHECKS = ("record", "sequence", "signature", "evidence", "policy", "key", "plaintext")


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Policy's last word, about a model that is open: what was found in it, and where it lies."""

    judged: Judged
    contents: Contents
    located: transfer.Located


@in_time
def pull(
    release: Release,
    *,
    zone: str,
    output: Path,
    options: Options = DEFAULTS,
) -> Pulled:
    """Bring a release from the zone's store to `output`, verified and decrypted, with a receipt.

    Raises UsageError ("output-exists"), ConfigError, NotFound, VerificationFailed,
    ResidencyMismatch, PolicyDenied, Inconclusive, KeyServiceError, StoreError, DiskError. After a
    crash at any step run it again: there is the old state or the new one, and it finishes.
    """
    from sovgate.stages import transfer

    options.refuse_dry_run("pull")
    opened = open_project(options.project)
    timer = Timer(options.deadline)
    here = opened.zone(zone)
    target = Target(
        output=output,
        evidence=evidence_of_output(output, options, opened),
        named=options.evidence is not None,
    )
    _require_place(target)
    refuse_misused(opened.config)
    trusted = opened.trusted(zone)
    require_zone_key(opened, trusted, zone, ("receipt", *LOGGED))
    with timer.step("check the record"):
        recorded = find(opened, release, zone)
    record, store = recorded.record, recorded.store
    with timer.step("check signature and evidence"):
        arrived = arrive(recorded)
        already = arrived.is_there(target)
    with timer.step("decide"):
        judged = arrived.judge(contents.UNOPENED, recorded.located)
    options.expect(arrived.manifest.total)
    receipt, head, judged = _run(arrived, target, judged, timer, already, options.advance)
    source = opened.zone(record.transfer.source.zone)  # our catalogue's, not its own
    return Pulled(
        moved=Moved(
            release=recorded.release,
            manifest=arrived.manifest.digest,
            source=place(source),
            destination=place(here, recorded.located),
            store=store.uri,
            run_by=source.place.run_by,
        ),
        size=Size(files=len(arrived.manifest.resources), bytes=arrived.manifest.total),
        proof=Proof(
            sequence=record.transfer.sequence,
            record=record.sha256,
            receipt=receipt,
            audit_head=head,
            evidence=target.evidence,
        ),
        already=already,
        signers=(("transfer", record.signer.name), ("signature", arrived.signer.name)),
        output=output,
        pinned=release.pin is not None,
        newer=transfer.newer(store, release.model, record.transfer.sequence, trusted),
        decisions=judged.lines,
        steps=tuple(timer.steps),
    )


def _require_place(target: Target) -> None:
    """Before anything is fetched: model and evidence can be written where they are to lie.

    What is there already is only looked at. Raises DiskError, UsageError.
    """
    if is_free(target.output):
        require_writable(target.output, f"write the model to {str(target.output)!r}")
    if not target.evidence.is_dir():
        require_writable(target.evidence, f"write the evidence to {str(target.evidence)!r}")


def _run(
    arrived: Arrived,
    target: Target,
    judged: Judged,
    timer: Timer,
    already: bool,
    advance: Advance | None,
) -> tuple[str, str, Judged]:
    """From the audit intent to the outcome. Returns the receipt's SHA-256, the last head, and the
    decision that was acted on."""
    at, about = arrived.recorded, arrived.about
    signer = at.opened.signer(at.zone)
    log = audit.Log(at.opened.audit_store(at.zone), signer, trusted=at.trusted)
    refs = (*judged.refs, ("transfer", at.record.sha256))
    run = log.begin()
    refuse(judged, run, about, refs)
    with announced(run, about, refs) as head:
        if already:
            sweep(target.output)  # what a killed run left
            # What is left to show is that our key opens the key tables.
            with timer.step("open the keys"):
                open_keys(arrived, arrived.listed)
            accepted = _accept(arrived, judged, target.output, timer, private=False)
            _keep_evidence(arrived, target, accepted.judged)
        else:
            accepted = _open(arrived, target, judged, timer, advance)
        with timer.step("receipt"):
            receipt, data = _receipt(arrived, accepted, signer, head)
            timer.keep()
            attest.add(target.evidence, "receipt", data)
        refs = (*accepted.judged.refs, ("transfer", at.record.sha256), ("receipt", receipt))
        end = note(run, "outcome", about, exit_code=0, refs=refs)
    return receipt, end, judged


def open_keys(arrived: Arrived, listed: Sequence[Listed]) -> tuple[Opened, ...]:
    """The opened key tables of some of the release's parts."""
    from sovgate.stages import transfer
    from sovgate.stages.encrypt import open_parts

    at = arrived.recorded
    return open_parts(
        listed,
        arrived.context,
        at.opened.identity(at.zone),
        partial(transfer.get_object, at.store),
    )


def _open(
    arrived: Arrived, target: Target, judged: Judged, timer: Timer, advance: Advance | None
) -> Accepted:
    """Decrypt into a private folder; only what verified whole gets its name. RULES 11."""
    from sovgate.stages import transfer
    from sovgate.stages.encrypt import receive

    at = arrived.recorded
    with Staging(target.output) as staging:
        with timer.step("decrypt and verify"):
            with transfer.names_the_way_out():
                model = receive(
                    arrived.manifest,
                    at.zone,
                    open_keys(arrived, arrived.listed),
                    partial(transfer.get_chunk, at.store),
                    staging.path,
                    advance=advance,
                )
            if not outgoings.tells_all(arrived.fetched.signature, at.trusted):
                # Another tool's signature: it is compared with the bytes, not with the manifest.
                arrived.require_signed(model)
        accepted = _accept(arrived, judged, model, timer, private=True)
        with timer.step("give it its name"):
            _keep_evidence(arrived, target, accepted.judged)
            staging.commit(model.name)
    return accepted


def _accept(
    arrived: Arrived, judged: Judged, model: Path, timer: Timer, *, private: bool
) -> Accepted:
    """Just before the model gets its name: location and policy again, now that it is open.

    Before, policy could not know what is in it. `private`: it lies in our own staging folder, and
    was verified as it was written there; what others can write to is looked into, and then hashed.
    """
    at = arrived.recorded
    with timer.step(LOOK):
        seen = contents.look_into(model, arrived.manifest, at.opened)
    if not private:
        with timer.step("verify what is there"):
            seen.require_signed()
    with timer.step("decide once more"):
        found = seen.contents
        located = at.locate()
        final, _ = confirm(judged, located, lambda: arrived.judge(found, located), anew=True)
    return Accepted(judged=final, contents=found, located=located)


def _keep_evidence(arrived: Arrived, target: Target, judged: Judged) -> None:
    """What came along, the record and our decision, beside the model; the same twice is one."""
    folder = target.evidence
    if not attest.add_signature(folder, arrived.fetched.signature):
        arrived.is_there(target)  # another run wrote there meanwhile
    for ref, data in arrived.fetched.evidence:
        attest.add(folder, ref.role, data)
    attest.add(folder, "transfer", arrived.recorded.record.data)
    for item in judged.documents:
        attest.add(folder, item.role, item.data)


def _checks(found: Contents) -> tuple[str, ...]:
    """What a model did not pass, although the project let it in, is no check of the receipt."""
    passed = CHECKS if found["pickles"] else (*CHECKS, contents.NO_PICKLES)
    return passed if found["remote_code"] else (*passed, contents.NO_REMOTE_CODE)


def _receipt(arrived: Arrived, accepted: Accepted, signer: Signer, head: str) -> tuple[str, bytes]:
    """Our word that it was opened here, its SHA-256 and bytes. An earlier run's receipt for this
    record is kept.
    """
    from sovgate.formats.receipt import Check, Receipt
    from sovgate.formats.statement import PREDICATE_TYPES
    from sovgate.stages import transfer

    at = arrived.recorded
    found = transfer.find_receipt(at.store, at.record, at.trusted, zone=at.zone, by=signer)
    if found is not None:
        data, digest = found
        return digest, data
    receipt = Receipt(
        release=at.release,
        record=at.record.sha256,
        manifest=arrived.manifest.digest,
        zone=at.zone,
        location=accepted.located.value,
        grade=accepted.located.grade,
        checks=tuple(Check(id=name, passed=True) for name in _checks(accepted.contents)),
        decision=accepted.judged.decision,
        opened=audit.utc_now().replace(microsecond=0),
        audit_head=head,
    )
    statement = transfer.receipt_statement(receipt, PREDICATE_TYPES["receipt"])
    data = attest.seal(statement, signer)
    for item in accepted.judged.documents:  # what the receipt names can be read where it lies
        transfer.put_object(at.store, item.data)
    return transfer.put_receipt(at.store, at.release, data), data
