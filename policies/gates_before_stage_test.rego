package sovgate.rules.gates_before_stage_test

import data.sovgate.rules.gates_before_stage.deny
import rego.v1

import data.sovgate.testing

accuracy := {"name": "accuracy", "before": "transfer", "threshold": "0.9", "dataset": null, "where": "sovgate.yaml:33"}

asked := testing.gated(testing.case, [accuracy])

test_no_gates if count(deny) == 0 with input as testing.case

test_passed if count(deny) == 0 with input as testing.proven(asked, [testing.passes("accuracy", "0.9")])

test_not_run if count(deny) == 1 with input as asked

test_of_a_laxer_threshold if count(deny) == 1 with input as testing.proven(asked, [testing.passes("accuracy", "0.1")])

test_of_no_threshold if count(deny) == 1 with input as testing.proven(asked, [testing.passes("accuracy", null)])

test_failed if count(deny) == 1 with input as testing.proven(asked, [object.union(testing.passes("accuracy", "0.9"), {"result": "fail"})])

test_inconclusive if count(deny) == 1 with input as testing.proven(asked, [object.union(testing.passes("accuracy", "0.9"), {"result": "inconclusive"})])

failure := object.union(testing.passes("accuracy", "0.9"), {"result": "fail"})

pass := testing.passes("accuracy", "0.9")

test_a_failure_outweighs_a_pass if count(deny) == 1 with input as testing.proven(asked, [pass, failure])

test_a_failure_at_another_threshold_outweighs_a_pass if count(deny) == 1 with input as testing.proven(asked, [object.union(failure, {"threshold": "0.1"}), pass])

test_an_inconclusive_result_does_not_outweigh_a_pass if count(deny) == 0 with input as testing.proven(asked, [object.union(pass, {"result": "inconclusive"}), pass])

test_a_failure_of_another_gate_does_not_outweigh_a_pass if count(deny) == 0 with input as testing.proven(asked, [object.union(failure, {"gate": "regression"}), pass])

test_a_failure_of_a_gate_that_is_not_named if count(deny) == 1 with input as testing.proven(asked, [json.remove(failure, ["gate"]), pass])

test_a_failure_of_no_gate if count(deny) == 1 with input as testing.proven(asked, [object.union(failure, {"gate": null}), pass])

test_a_result_that_says_nothing if count(deny) == 1 with input as testing.proven(asked, [object.union(pass, {"result": null}), pass])

test_a_result_without_its_result if count(deny) == 1 with input as testing.proven(asked, [json.remove(failure, ["result"]), pass])

test_evidence_without_a_role if count(deny) == 1 with input as testing.proven(asked, [json.remove(failure, ["role"]), pass])

test_what_is_known_of_it_is_told if {
	some one in deny with input as object.union(asked, {"facts": {"gate.accuracy": "it failed: 5 of 142 right"}})
	one.message == "the gate accuracy has to pass before transfer, and it failed: 5 of 142 right"
}

test_of_another_model if count(deny) == 1 with input as testing.proven(asked, [object.union(testing.passes("accuracy", "0.9"), {"manifest": testing.other})])

test_not_yet if count(deny) == 0 with input as testing.gated(testing.case, [object.union(accuracy, {"before": "deploy"})])

test_still if count(deny) == 1 with input as object.union(asked, {"action": "serve"})

test_legal_is_anothers if count(deny) == 0 with input as testing.gated(testing.case, [object.union(accuracy, {"dataset": "kyc-eu"})])

test_stage_nobody_knows if count(deny) == 1 with input as testing.gated(testing.case, [object.union(accuracy, {"before": "never"})])

test_missing_before if count(deny) == 1 with input as json.remove(asked, ["project/gates/0/before"])

test_missing_dataset if count(deny) == 1 with input as json.remove(asked, ["project/gates/0/dataset"])

test_missing_name if count(deny) == 1 with input as json.remove(asked, ["project/gates/0/name"])

test_missing_gates if count(deny) == 1 with input as json.remove(asked, ["project/gates"])

test_null_gates if count(deny) == 1 with input as testing.gated(testing.case, null)

test_missing_action if count(deny) == 1 with input as json.remove(asked, ["action"])

test_metadata_is_not_gated if count(deny) == 0 with input as testing.of_class(asked, "metadata")

test_data_is_not_gated if count(deny) == 0 with input as testing.of_class(asked, "dataset")

test_a_class_nobody_knows_is_gated if count(deny) == 1 with input as testing.of_class(asked, null)
