package sovgate.rules.eu_personal_data_test

import data.sovgate.rules.eu_personal_data.deny
import rego.v1

import data.sovgate.testing

of(changes) := testing.derived(testing.case, [object.union(testing.kyc, changes)])

test_held if count(deny) == 0 with input as of({})

test_public_is_free if count(deny) == 0 with input as testing.case

test_personal_and_free if count(deny) == 1 with input as of({"stays_in": []})

test_special_category if count(deny) == 1 with input as of({"category": "special-category", "stays_in": []})

test_personal_and_unknown if count(deny) == 1 with input as of({"stays_in": null})

test_category_in_another_spelling if count(deny) == 1 with input as of({"category": "Personal", "stays_in": []})

test_category_nobody_knows if count(deny) == 1 with input as of({"category": "pii", "stays_in": []})

test_category_nobody_knows_that_stays if count(deny) == 0 with input as of({"category": "pii", "stays_in": ["EU"]})

test_category_unknown if count(deny) == 1 with input as of({"category": null})

test_category_empty if count(deny) == 1 with input as of({"category": ""})

test_missing_category if count(deny) == 1 with input as json.remove(of({}), ["subject/derived_from/0/category"])

test_missing_where if count(deny) == 1 with input as json.remove(of({"category": null}), ["subject/derived_from/0/where"])

test_metadata if count(deny) == 0 with input as testing.of_class(of({"stays_in": []}), "metadata")

test_unknown_is_recorded_first if count(deny) == 0 with input as testing.derived(testing.case, [testing.unknown])

test_unknown_with_places_is_not_placed if count(deny) == 1 with input as testing.derived(testing.case, [object.union(testing.unknown, {"stays_in": []})])

test_empty_ancestry if count(deny) == 1 with input as testing.derived(testing.case, [])
