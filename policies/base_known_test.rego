package sovgate.rules.base_known_test

import data.sovgate.rules.base_known.deny
import data.sovgate.rules.record_required
import data.sovgate.rules.weights_inherit
import rego.v1

import data.sovgate.testing

claimed := object.union(testing.unknown, {"name": "../tuned-1", "where": "adapter_config.json"})

with_claim := testing.derived(testing.case, [testing.public, claimed])

test_none if count(deny) == 0 with input as testing.case

test_claimed if deny == {{"message": "adapter_config.json says that the model was made from ../tuned-1, and no record that counts names that base", "dataset": null, "where": "adapter_config.json"}} with input as with_claim

test_each_is_named if count(deny) == 2 with input as testing.derived(testing.case, [testing.public, claimed, object.union(claimed, {"name": "other"})])

test_the_others_leave_it_to_this_rule if {
	count(record_required.deny) == 0 with input as with_claim
	count(weights_inherit.deny) == 0 with input as with_claim
}

test_without_a_record_two_rules_speak if {
	both := testing.derived(testing.case, [testing.unknown, claimed])
	count(deny) == 1 with input as both
	count(record_required.deny) == 1 with input as both
}

test_unknown_without_a_file_is_the_missing_record if count(deny) == 0 with input as testing.derived(testing.case, [testing.unknown])

test_missing_where if {
	broken := testing.derived(testing.case, [testing.public, json.remove(claimed, ["where"])])
	count(deny) == 1 with input as broken
	count(record_required.deny) == 1 with input as broken
}

test_missing_kind if count(deny) == 1 with input as testing.derived(testing.case, [json.remove(claimed, ["kind"])])

test_missing_name if count(record_required.deny) + count(deny) + count(weights_inherit.deny) > 0 with input as testing.derived(testing.case, [testing.public, json.remove(claimed, ["name"])])

test_missing_ancestry if count(deny) == 1 with input as json.remove(testing.case, ["subject/derived_from"])

test_metadata_bears_no_data if count(deny) == 0 with input as testing.of_class(with_claim, "metadata")

test_missing_class if count(deny) == 1 with input as json.remove(with_claim, ["subject/class"])
