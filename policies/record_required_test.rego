package sovgate.rules.record_required_test

import data.sovgate.rules.record_required.deny
import rego.v1

import data.sovgate.testing

test_recorded if count(deny) == 0 with input as testing.case

test_unknown if count(deny) == 1 with input as testing.derived(testing.case, [testing.unknown])

test_one_unknown_among_known if count(deny) == 1 with input as testing.derived(testing.case, [testing.public, testing.unknown])

# A record that cannot be counted is named.
unclear := object.union(testing.unknown, {"name": "provenance-1 cannot be counted: malformed"})

test_unclear if deny == {{"message": "it derives from unknown data: provenance-1 cannot be counted: malformed", "dataset": null, "where": null}} with input as testing.derived(testing.case, [testing.public, unclear])

test_unclear_alone if count(deny) == 1 with input as testing.derived(testing.case, [testing.unknown, unclear])

test_unclear_without_a_name if count(deny) == 1 with input as json.remove(testing.derived(testing.case, [testing.public, unclear]), ["subject/derived_from/1/name"])

test_empty if count(deny) == 1 with input as testing.derived(testing.case, [])

test_missing if count(deny) == 1 with input as json.remove(testing.case, ["subject/derived_from"])

test_metadata_needs_none if count(deny) == 0 with input as testing.of_class(testing.derived(testing.case, [testing.unknown]), "metadata")
