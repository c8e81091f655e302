package user.named_release_test

import rego.v1

import data.user.named_release.deny

asked := {"action": "transfer", "subject": {"release": "m/1.0.0"}}

test_named if count(deny) == 0 with input as asked

test_not_named if count(deny) == 1 with input as object.union(asked, {"subject": {"release": null}})

test_within_its_zone if count(deny) == 0 with input as {"action": "deploy", "subject": {"release": null}}

# A field that is missing must deny, never allow.
test_missing_release if count(deny) == 1 with input as json.remove(asked, ["subject/release"])

test_missing_action if count(deny) == 1 with input as json.remove(asked, ["action", "subject/release"])
