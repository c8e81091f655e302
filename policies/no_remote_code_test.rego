package sovgate.rules.no_remote_code_test

import data.sovgate.rules.no_remote_code.deny
import rego.v1

import data.sovgate.testing

asking(count) := object.union(testing.case, {"facts": {"remote_code": count}})

at(case, action) := object.union(case, {"action": action})

unopened := asking("unopened")

test_none if count(deny) == 0 with input as testing.case

test_one if deny == {"it brings or asks for Python code of its own, config.json: modeling_x.Model, which runs when the model is loaded"} with input as object.union(asking(1), {"facts": {"remote_code_file": "config.json: modeling_x.Model"}})

test_one_without_a_name if count(deny) == 1 with input as asking(1)

test_nobody_looked if count(deny) == 1 with input as asking(null)

test_not_opened_yet if count(deny) == 0 with input as unopened

test_deployed_unopened if count(deny) == 1 with input as at(unopened, "deploy")

test_text_is_no_count if count(deny) == 1 with input as asking("0")

test_false_is_no_count if count(deny) == 1 with input as asking(false)

test_missing_count if count(deny) == 1 with input as json.remove(testing.case, ["facts/remote_code"])

test_missing_facts if count(deny) == 1 with input as json.remove(testing.case, ["facts"])

test_missing_action if count(deny) == 1 with input as json.remove(unopened, ["action"])

test_metadata_asks_for_none if count(deny) == 0 with input as testing.of_class(asking(null), "metadata")

test_data_is_not_a_model if count(deny) == 0 with input as testing.of_class(asking(null), "dataset")

test_missing_class if count(deny) == 1 with input as json.remove(asking(1), ["subject/class"])
