package sovgate.rules.weights_inherit_test

import data.sovgate.rules.weights_inherit.deny
import rego.v1

import data.sovgate.testing

kyc := testing.kyc

outward := testing.gated(testing.derived(testing.outward, [testing.public, kyc]), [mia])

mia := {"name": "membership-inference", "before": "observe", "threshold": "0.6", "dataset": null, "where": null}

test_free_data_goes_anywhere if count(deny) == 0 with input as testing.outward

test_refused_outside if count(deny) == 1 with input as outward

test_says_which_and_why if deny == {{"message": "kyc-eu may go only to EU, and us-train is in US", "dataset": "kyc-eu", "where": "sovgate.yaml:17"}} with input as outward

test_allowed_inside if count(deny) == 0 with input as testing.derived(testing.case, [kyc])

test_every_culprit_is_said if count(deny) == 2 with input as testing.derived(testing.outward, [kyc, object.union(kyc, {"name": "kyc-fr"})])

test_lifted if count(deny) == 0 with input as testing.proven(outward, [testing.passes("membership-inference", "0.6")])

test_not_lifted_by_another_gate if count(deny) == 1 with input as testing.proven(outward, [testing.passes("accuracy", null)])

test_not_lifted_by_a_laxer_threshold if count(deny) == 1 with input as testing.proven(outward, [testing.passes("membership-inference", "0.9")])

test_not_lifted_by_a_gate_that_nobody_declared if count(deny) == 1 with input as testing.gated(testing.proven(outward, [testing.passes("membership-inference", "0.6")]), [])

test_missing_gates_lift_nothing if count(deny) == 1 with input as json.remove(testing.proven(outward, [testing.passes("membership-inference", "0.6")]), ["project/gates"])

test_not_lifted_by_a_pass_beside_a_failure if count(deny) == 1 with input as testing.proven(outward, [testing.passes("membership-inference", "0.6"), object.union(testing.passes("membership-inference", "0.6"), {"result": "fail"})])

test_not_lifted_by_a_failure if count(deny) == 1 with input as testing.proven(outward, [object.union(testing.passes("membership-inference", "0.6"), {"result": "fail"})])

test_evidence_of_another_model if count(deny) == 1 with input as testing.proven(outward, [object.union(testing.passes("membership-inference", "0.6"), {"manifest": testing.other})])

test_evidence_of_another_release if count(deny) == 1 with input as testing.proven(outward, [object.union(testing.passes("membership-inference", "0.6"), {"release": "kyc-risk/0.9.0"})])

test_legal_word_is_no_gate if count(deny) == 1 with input as testing.proven(outward, [object.union(testing.passes("membership-inference", "0.6"), {"role": "legal"})])

test_null_is_unknown if count(deny) == 1 with input as testing.derived(testing.case, [object.union(kyc, {"stays_in": null})])

test_null_is_not_lifted if count(deny) == 1 with input as testing.derived(testing.proven(testing.gated(testing.case, [mia]), [testing.passes("membership-inference", "0.6")]), [object.union(kyc, {"stays_in": null})])

test_base_model_of_unknown_data if count(deny) == 1 with input as testing.derived(testing.case, [object.union(testing.unknown, {"kind": "base-model"})])

test_metadata_is_not_the_data if count(deny) == 0 with input as testing.of_class(outward, "metadata")

test_a_class_nobody_knows_bears_data if count(deny) == 1 with input as testing.of_class(outward, "activations")

test_missing_ancestry_denies if count(deny) == 1 with input as json.remove(testing.case, ["subject/derived_from"])

test_empty_ancestry_denies if count(deny) == 1 with input as testing.derived(testing.case, [])

test_missing_groups_deny if count(deny) == 1 with input as json.remove(testing.derived(testing.case, [kyc]), ["destination/groups"])

test_missing_stays_in_denies if count(deny) == 1 with input as json.remove(testing.case, ["subject/derived_from/0/stays_in"])

test_missing_name_denies if count(deny) == 1 with input as json.remove(outward, ["subject/derived_from/1/name"])

test_missing_class_denies if count(deny) == 1 with input as json.remove(outward, ["subject/class"])

test_unknown_is_never_free if count(deny) == 1 with input as testing.derived(testing.case, [object.union(testing.unknown, {"stays_in": []})])

test_unknown_is_never_in_place if count(deny) == 1 with input as testing.derived(testing.case, [object.union(testing.unknown, {"stays_in": ["EU"]})])

test_unknown_is_never_lifted if count(deny) == 1 with input as testing.derived(testing.proven(outward, [testing.passes("membership-inference", "0.6")]), [object.union(testing.unknown, {"stays_in": ["EU"], "lifts": ["membership-inference"]})])

test_not_lifted_by_a_legal_gate_of_that_name if count(deny) == 1 with input as testing.gated(testing.proven(outward, [testing.passes("membership-inference", "0.6")]), [object.union(mia, {"dataset": "kyc-eu"})])

test_what_bears_no_data_is_free if {
	every class in ["metadata", "telemetry", "trace", "inference-request", "inference-response"] {
		count(deny) == 0 with input as testing.of_class(outward, class)
	}
}

test_what_bears_data_is_not if {
	every class in ["dataset", "synthetic", "aggregate", "gradient", "weights", null, 1] {
		count(deny) == 1 with input as testing.of_class(outward, class)
	}
}
