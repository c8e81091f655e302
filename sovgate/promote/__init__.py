"""Rolls a release out by a Git commit. This is the rulebook; touches Git, and a Store for records.

In this order (pipeline/promote.py walks it; what is marked * is here):

 1. The release record is read from the zone's own store and verified; the pin must fit.
 2. The zone's own receipt for that very record must be there: it pulled, verified and opened it.
 3. * The signed promotion records are read. A lower sequence than theirs needs a signed rollback
    (RULES 27); what the overlay claims can only raise that bar, since anybody may have written it.
 4. * The target is fetched into a private folder and looked at. Where it pins this release and a
    promotion record says so, all is done.
 5. Policy decides the action `deploy`. A dry run stops here and shows the difference.
 6. An audit `intent` is durable before the first effect; its head goes into the commit.
 7. * The commit is made and pushed; location and key are asked again just before each commit
    object. A lost race is run again on what the other left, unless the zone's release changed.
 8. * The promotion record is written create-only, under the next number, naming the one before. A
    run that died before this is finished by the next one: it finds the overlay as it should be.
 9. An audit `outcome`.
"""

from sovgate.promote.checkout import (
    Checkout,
    GitTarget,
    Look,
    Plan,
    Pushed,
    opened,
)
from sovgate.promote.ledger import Ledger, append, is_recorded, open_promotion, read_ledger
from sovgate.promote.words import commit_message, proposal_branch

__all__ = [
    "Checkout",
    "GitTarget",
    "Ledger",
    "Look",
    "Plan",
    "Pushed",
    "append",
    "commit_message",
    "is_recorded",
    "open_promotion",
    "opened",
    "proposal_branch",
    "read_ledger",
]
