"""Rolls a release out by a Git commit. The rules are here; touches Git, and a Store for records.

In this order (pipeline/rollout/promote.py follows it; what is marked * is here):

 1. The release record is read from the zone's own store and verified; the pin must fit.
 2. The zone's own receipt for that very record must be there: it pulled, verified and opened it.
 3. * The signed promotion records are read; one that the audit log says was written, but is not
    there, stops it (RULES 28). A lower sequence than theirs needs a signed rollback
    (RULES 27); what the overlay claims can only raise that bar, since anybody may have written it.
 4. * The target is fetched into a private folder and looked at. Where it pins this release and a
    promotion record says so, all is done. Proposals that were merged, and a run that died after
    its push, are recorded first where the release file is the very one that they wrote (RULES 41);
    where the branch says what no record does, it stops.
 5. Policy decides the action `deploy`. A dry run stops here and shows the difference.
 6. An audit `intent` is durable before the first effect; its head goes into the commit.
 7. * The commit is planned: what is there pins nothing of another model, zone or workload, and the
    overlay with the pin builds and says what the pin says (RULES 42). Then it is made and pushed;
    location and key are asked again just before each commit object. A lost race is run again on
    what the other left, unless the zone's release changed; the records tell of it where it changed
    back.
 8. * The promotion record, or that of a proposal, is written create-only, under the next number,
    naming the promotion before. A run that died before this is finished by the next one: it finds
    the overlay as it should be.
 9. An audit `outcome`.

Rollback (pipeline/rollout/rollback.py follows it) goes the same way from 4 on, and before that:

 a. * The overlay is looked at, then the promotion records are read as in 3, whole and chained.
 b. * Candidates are the releases that were promoted before with a lower sequence than the zone has
    now, the last one first; one that the zone was rolled back from only where it is named.
 c. Each must still stand today: record, receipt, signature, evidence and key as in 1 and 2, the
    same bytes as then, promoted by a decision of this zone that held then; and policy, asked again,
    allows `deploy`. A store or key service that does not answer ends the run: it is no reason to go
    back further.
 d. The record is of kind `rollback` with its reason. It starts the count of 3 anew, so a newer
    release can be promoted again. The same rollback for the same reason once more is done already.
"""

from sovgate.stages.promote.asked import GitTarget
from sovgate.stages.promote.checkout import Checkout, opened
from sovgate.stages.promote.description import commit_message, proposal_branch, rollback_branch
from sovgate.stages.promote.ledger import (
    Ledger,
    append,
    is_recorded,
    open_promotion,
    read_ledger,
    read_since,
)
from sovgate.stages.promote.planning import Plan
from sovgate.stages.promote.state import OverlayState, Pushed

__all__ = [
    "Checkout",
    "GitTarget",
    "Ledger",
    "OverlayState",
    "Plan",
    "Pushed",
    "append",
    "commit_message",
    "is_recorded",
    "open_promotion",
    "opened",
    "proposal_branch",
    "read_ledger",
    "read_since",
    "rollback_branch",
]
