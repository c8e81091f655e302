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
