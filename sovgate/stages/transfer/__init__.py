"""Moves a sealed release through a Store. The rules are here; touches stores, and no other place.

Push, in this order (pipeline/move/push.py follows it; what is marked * is here):

 1. The model verifies against its signature; evidence is read, each statement against its signer.
 2. * The store says where it lies. Another place than the zone's is 12, before anything else.
 3. * Create-only is shown to hold there (RULES 13); in a registry whose tags move, a pull needs a
    pin. A dry run stops before this and after 4.
 4. Policy decides, about the signed manifest, the evidence, and what a look into the files found. A
    denial is written down (`denied`), and nothing reaches the destination.
 5. An audit `intent` is durable before the first effect.
 6. Each file is read once: hashed, encrypted, and sent chunk by chunk. Each key is kept on this
    machine before its chunk leaves: a further run makes that very chunk again, or another under a
    new key (RULES 9). * A copy that `encrypt` made is carried as it is. A chunk that is there
    already is passed over only by the store's own SHA-256, or read again (RULES 14): size is
    nothing.
 7. The files are what was signed, and what was looked into. Else their keys are destroyed, and
    nobody can open what lies in the store; a denial destroys all of them.
 8. * A sequence number is claimed, above those of all signed records (RULES 37), and once more
    just before the record.
 9. Location and key are asked again, and policy about all that is known now.
10. * Only now are the keys put into key tables, and these wrapped for the destination; lists and
    documents go out, then the key tables (RULES 44).
11. * The record is written last, create-only: a release is there whole or not at all. Where the
    name is taken, the record there is read: same manifest, zones and policy, and it verifies:
    success. Anything else: 21, and the old bytes stay (RULES 13).
12. An audit `outcome`.

To several zones 1 is done once. 2 to 4 are asked of each, and while one refuses nothing is sent to
any. 5 is a run of the log for each zone, and 6 one read for all. 8 to 12 follow zone by zone, in
the order of the words: what comes later takes back no zone's record.

Pull: * the record is read, closed and bounded; its signer must be trusted for `transfer` from the
source that it names; zone, region, release and pin must be ours; * signature, evidence and chunk
lists are read by digest, and the lists are what the signed files demand; our own policy decides;
an audit `intent`; then keys, bytes, a private staging folder, location and policy once more, now
that it is open, one rename; * a receipt; an audit `outcome`.
"""

from sovgate.stages.transfer.carry import Written, all_there, carry, which_there
from sovgate.stages.transfer.fetch import (
    Fetched,
    fetch_documents,
    fetch_lists,
    fetch_record,
    find_receipt,
    open_receipt,
    put_receipt,
    receipt_statement,
)
from sovgate.stages.transfer.gathered import require_pin, require_room
from sovgate.stages.transfer.location import Located, locate
from sovgate.stages.transfer.objects import (
    get_chunk,
    get_object,
    is_there,
    names_the_way_out,
    put_chunk,
    put_document,
    put_object,
)
from sovgate.stages.transfer.publish import (
    Document,
    Draft,
    Final,
    Published,
    Wanted,
    chunks_of,
    existing,
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
    "Written",
    "all_there",
    "carry",
    "chunks_of",
    "claim",
    "existing",
    "fetch_documents",
    "fetch_lists",
    "fetch_record",
    "find_receipt",
    "get_chunk",
    "get_object",
    "is_there",
    "locate",
    "names_the_way_out",
    "newer",
    "open_receipt",
    "open_record",
    "predecessor",
    "publish",
    "put_chunk",
    "put_document",
    "put_object",
    "put_receipt",
    "read_record",
    "receipt_statement",
    "record_payload",
    "require_pin",
    "require_room",
    "which_there",
]
