package sovgate.rules.trained_in_place_test

import data.sovgate.rules.trained_in_place.deny
import rego.v1

import data.sovgate.testing

inward := testing.derived(testing.case, [testing.public, testing.kyc])

mia := {"name": "membership-inference", "before": "observe", "threshold": "0.6", "dataset": null, "where": null}

recorded_by(zone) := object.union(inward, {"evidence": [testing.signature, testing.evidence("provenance", {"zone": zone})]})

test_free_data_may_be_anywhere if count(deny) == 0 with input as testing.case

test_recorded_where_the_data_may_not_be if deny == {{"message": "kyc-eu may be only in EU, and us-train, which recorded a training on it, is in US", "dataset": "kyc-eu", "where": "sovgate.yaml:17"}} with input as inward

test_recorded_elsewhere if count(deny) == 0 with input as recorded_by("eu")

test_recorded_by_a_signer_of_no_zone if count(deny) == 1 with input as recorded_by(null)

test_within_a_zone if count(deny) == 0 with input as object.union(inward, {"destination": object.union(testing.us, {"require": 1})})

test_freed if count(deny) == 0 with input as testing.proven(testing.gated(inward, [mia]), [testing.passes("membership-inference", "0.6")])

test_metadata_is_not_the_data if count(deny) == 0 with input as testing.of_class(inward, "metadata")

test_of_unknown_data_others_speak if count(deny) == 0 with input as testing.derived(testing.case, [testing.unknown])

test_missing_zone_of_a_record_denies if count(deny) == 1 with input as json.remove(recorded_by("eu"), ["evidence/1/zone"])

test_missing_role_denies if count(deny) == 1 with input as json.remove(recorded_by("eu"), ["evidence/0/role", "evidence/0/zone"])

test_missing_evidence_denies if count(deny) == 1 with input as json.remove(inward, ["evidence"])

test_missing_source_zone_denies if count(deny) == 1 with input as json.remove(recorded_by("eu"), ["source/zone"])

test_missing_source_groups_deny if count(deny) == 1 with input as json.remove(inward, ["source/groups"])

test_missing_ancestry_denies if count(deny) == 1 with input as json.remove(inward, ["subject/derived_from"])

test_missing_stays_in_denies if count(deny) == 1 with input as json.remove(testing.case, ["subject/derived_from/0/stays_in"])
