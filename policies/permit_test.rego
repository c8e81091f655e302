package sovgate.permit_test

import data.sovgate.permit.allow
import rego.v1

import data.sovgate.testing

test_by_border if allow == {{"id": "border", "where": "sovgate.yaml:24"}} with input as testing.case

test_not_the_other_way if count(allow) == 0 with input as testing.outward

test_not_another_class if count(allow) == 0 with input as testing.of_class(testing.case, "metadata")

test_within_a_zone if allow == {{"id": "same-zone", "where": null}} with input as object.union(testing.case, {"source": testing.eu})

test_same_name_in_another_region if count(allow) == 0 with input as object.union(testing.case, {"source": object.union(testing.us, {"zone": "eu"}), "project": {"border": []}})

test_missing_zones_are_not_one_zone if count(allow) == 0 with input as json.remove(testing.case, ["source/zone", "destination/zone"])

test_no_border if count(allow) == 0 with input as json.remove(testing.case, ["project/border"])

test_not_to_another_zone if count(allow) == 0 with input as object.union(testing.case, {"destination": {"zone": "ch"}})

test_a_region_shared_by_two_zones_is_no_zone if count(allow) == 0 with input as object.union(testing.case, {"source": object.union(testing.eu, {"zone": "eu-two"})})
