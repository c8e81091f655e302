package sovgate.rules.location_known_test

import data.sovgate.rules.location_known.deny
import rego.v1

import data.sovgate.testing

found(value, grade, require) := object.union(testing.case, {"destination": {"location": {"value": value, "grade": grade}, "require": require}})

region := testing.eu.region

test_by_its_providers_word if count(deny) == 0 with input as testing.case

test_declared_suffices_where_it_may if count(deny) == 0 with input as found(null, 1, 1)

test_declared_with_its_value if count(deny) == 0 with input as found(region, 1, 1)

test_declared_where_more_is_asked if count(deny) == 1 with input as found(region, 1, 2)

test_grades_are_ordered_as_numbers if count(deny) == 1 with input as found(region, 2, 3)

test_unknown if count(deny) == 1 with input as found(null, 0, 1)

test_provider_would_not_say if count(deny) == 1 with input as found(null, 2, 2)

test_elsewhere if count(deny) == 1 with input as found("aws:us-east-1", 2, 2)

test_elsewhere_at_any_grade if count(deny) == 1 with input as found("aws:us-east-1", 3, 1)

test_null_grade if count(deny) == 1 with input as found(region, null, 1)

test_null_require if count(deny) == 1 with input as found(region, 2, null)

test_text_is_no_grade if count(deny) == 1 with input as found(region, "declared", 2)

test_text_is_no_requirement if count(deny) == 1 with input as found(region, 1, "api")

test_nothing_required_is_no_requirement if count(deny) == 1 with input as found(region, 1, 0)

test_missing_location if count(deny) == 1 with input as json.remove(testing.case, ["destination/location"])

test_missing_destination if count(deny) == 1 with input as json.remove(testing.case, ["destination"])

test_elsewhere_by_declaration if count(deny) == 1 with input as found("aws:us-east-1", 1, 1)

test_missing_region if count(deny) == 1 with input as json.remove(found(null, 1, 1), ["destination/region"])

test_says_where_it_was_found if {
	some denial in deny with input as found("aws:us-east-1", 2, 2)
	contains(denial.message, "found in aws:us-east-1")
	denial.where == "sovgate.yaml:8"
}

test_says_how_well_it_must_be_known if {
	some denial in deny with input as found(region, 1, 2)
	contains(denial.message, "known by declaration and must be known by its provider's word")
}
