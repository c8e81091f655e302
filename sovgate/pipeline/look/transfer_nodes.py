"""A transfer as a node of a release's history, with what came along below it. Reads a store.

What does not verify or is not there becomes a node, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sovgate.errors import NotFound, VerificationFailed
from sovgate.pipeline.look.evidence_nodes import by_name, evidence
from sovgate.pipeline.look.node import MISSING, STATED, VERIFIED, Node, failed, when
from sovgate.stages.trust import Trusted

if TYPE_CHECKING:
    from sovgate.formats.transfer import Transfer
    from sovgate.stages.record import DatasetFacts
    from sovgate.stages.transfer import Record
    from sovgate.stores._api import Store


def transfer(
    store: Store,
    record: Record,
    trusted: Sequence[Trusted],
    datasets: Mapping[str, DatasetFacts],
) -> Node:
    told = record.transfer
    children = [
        Node(kind="model", what=f"manifest sha256:{told.manifest.sha256}", status=STATED),
        _signature(store, told, trusted),
        *(evidence(store, told, ref, trusted, datasets) for ref in told.evidence),
        _weights(store, told),
    ]
    where = told.destination
    return Node(
        kind="transfer",
        what=f"number {told.sequence}, from {told.source.zone} ({told.source.provider_region}) to "
        f"{where.zone} ({where.provider_region}), for key {told.key_id[:16]}…",
        status=VERIFIED,
        by=record.signer.name,
        when=when(told.created),
        sha256=record.sha256,
        children=tuple(children),
    )


def _signature(store: Store, told: Transfer, trusted: Sequence[Trusted]) -> Node:
    from sovgate.formats.manifest import Manifest
    from sovgate.pipeline.move.pushing.outgoing import check_signed
    from sovgate.stages.transfer import get_object

    digest = told.signature.sha256
    try:
        manifest = Manifest.parse(get_object(store, told.manifest, "manifest"))
        bundle = get_object(store, told.signature, "signature")
        if manifest.digest != told.manifest.sha256:
            raise VerificationFailed("the manifest is another one", reason="wrong-manifest")
        signer = check_signed(bundle, manifest, trusted)
    except NotFound as error:
        return Node(
            kind="signature", what="of the model", status=MISSING, sha256=digest, why=error.what
        )
    except VerificationFailed as error:
        return failed("signature", "of the model", error, digest)
    count = len(manifest.resources)
    files = f"{count} file{'s' * (count != 1)}, {manifest.total} bytes"
    return Node(
        kind="signature",
        what=f"of the model: {files}",
        status=VERIFIED,
        by=by_name(signer),
        sha256=digest,
    )


def _weights(store: Store, told: Transfer) -> Node:
    """All chunks and key tables, by their sizes: whoever pulls it reads them whole."""
    from sovgate.formats.transfer import chunk_name, object_name
    from sovgate.stages.transfer import chunks_of

    table = told.parts[0].keytable.sha256
    try:
        chunks = chunks_of(store, told)
        sizes = {chunk_name(one.sha256): one.size for one in chunks}
        sizes |= {object_name(p.keytable.sha256): p.keytable.size for p in told.parts}
        count = f"{len(chunks)} chunk{'s' * (len(chunks) != 1)}"
        what = f"{count}, {sum(sizes.values())} bytes of ciphertext"
        missing = []
        for name, size in sizes.items():
            stat = store.stat(name)
            if stat is None or stat.size != size:
                missing.append(name.rpartition("/")[2])
    except NotFound as error:
        return Node(
            kind="weights",
            what="their list of chunks",
            status=MISSING,
            sha256=told.parts[0].list.sha256,
            why=error.what,
        )
    except VerificationFailed as error:
        return failed("weights", "their list of chunks", error, table)
    if missing:
        return Node(
            kind="weights",
            what=what,
            status=MISSING,
            sha256=missing[0],
            why=f"{len(missing)} of them are not there, or of another size: "
            + ", ".join(missing[:5])
            + (", …" if len(missing) > 5 else ""),
        )
    return Node(kind="weights", what=what, status=STATED)
