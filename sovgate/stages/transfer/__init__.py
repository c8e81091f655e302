"""Moves a sealed release through a Store. The rules are here; touches stores, and no other place.

Push, in this order (pipeline/move/push.py follows it; what is marked * is here):

 1. The model verifies against its signature; evidence is read, each statement against its signer.
 2. * The store says where it lies. Another place than the zone's is 12, before anything else.
 3. * Create-only is shown to hold there (RULES 13). A dry run stops before this and after 4.
 4. Policy decides. A denial is written down (`denied`), and nothing reaches the destination.
 5. An audit `intent` is durable before the first effect.
 6. The model is encrypted into the outbox, or what lies there complete is verified and used again
    (RULES 9).
 7. * Blobs go first. One that is there already is passed over only after it was read again
    (RULES 14): size is nothing.
 8. * A sequence number is claimed, above those of all signed records (RULES 37), and once more
    just before the record. A run that goes on after a crash finds its own claim.
 9. Location and key are asked again, and policy too if its decision has run out.
10. * The record is written last, create-only: a release is there whole or not at all. Where the
    name is taken, the record there is read: same manifest, zones and policy, and it verifies:
    success. Anything else: 21, and the old bytes stay (RULES 13).
11. An audit `outcome`; then the outbox is emptied.

Pull: * the record is read, closed and bounded; its signer must be trusted for `transfer` from the
source that it names; zone, region, release and pin must be ours; * signature and evidence are read
by digest; our own policy decides; an audit `intent`; then keys, bytes, a private staging folder,
location and policy once more where their answers have run out,
one rename; * a receipt; an audit `outcome`.
"""

from sovgate.stages.transfer.fetch import (
    Fetched,
    as_sealed,
    fetch_documents,
    fetch_record,
    find_receipt,
    open_blob,
    open_receipt,
    put_receipt,
    receipt_statement,
)
from sovgate.stages.transfer.location import Located, locate
from sovgate.stages.transfer.objects import get_blob, names_the_way_out, put_blob, put_document
from sovgate.stages.transfer.publish import (
    Document,
    Draft,
    Final,
    Published,
    Wanted,
    existing,
    payload,
    publish,
    record_payload,
)
from sovgate.stages.transfer.records import Record, open_record, read_record
from sovgate.stages.transfer.sequence import claim, newer, predecessor

__all__ = [
    "Document",
    "Draft",
    "Fetched",
    "Final",
    "Located",
    "Published",
    "Record",
    "Wanted",
    "as_sealed",
    "claim",
    "existing",
    "fetch_documents",
    "fetch_record",
    "find_receipt",
    "get_blob",
    "locate",
    "names_the_way_out",
    "newer",
    "open_blob",
    "open_receipt",
    "open_record",
    "payload",
    "predecessor",
    "publish",
    "put_blob",
    "put_document",
    "put_receipt",
    "read_record",
    "receipt_statement",
    "record_payload",
]
