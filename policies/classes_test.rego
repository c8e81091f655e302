package sovgate.rules.classes_test

import data.sovgate.rules.classes.deny
import rego.v1

import data.sovgate.testing

test_standard if count(deny) == 0 with input as testing.case

test_the_projects_own if count(deny) == 0 with input as testing.of_class(testing.case, "activations")

test_nobodys if count(deny) == 1 with input as testing.of_class(testing.case, "weight")

test_null if count(deny) == 1 with input as testing.of_class(testing.case, null)

test_missing if count(deny) == 1 with input as json.remove(testing.case, ["subject/class"])

test_missing_subject if count(deny) == 1 with input as json.remove(testing.case, ["subject"])

test_action_nobody_knows if count(deny) == 1 with input as object.union(testing.case, {"action": "teleport"})

test_missing_action if count(deny) == 1 with input as json.remove(testing.case, ["action"])

test_every_standard_class if {
	every class in ["dataset", "synthetic", "aggregate", "gradient", "weights", "metadata", "telemetry", "trace", "inference-request", "inference-response"] {
		count(deny) == 0 with input as testing.of_class(testing.case, class)
	}
}
