package sovgate.rules.no_pickles_test

import data.sovgate.rules.no_pickles.deny
import rego.v1

import data.sovgate.testing

holding(count) := object.union(testing.case, {"facts": {"pickles": count}})

at(case, action) := object.union(case, {"action": action})

allowed(case) := object.union(case, {"facts": {"pickles_allowed": true}})

unopened := holding("unopened")

test_none if count(deny) == 0 with input as testing.case

test_one if deny == {"it holds a pickle, model.pkl, and loading a pickle runs whatever program is in it"} with input as object.union(holding(1), {"facts": {"pickle": "model.pkl"}})

test_several if deny == {"it holds 2 pickles, the first of them a.pt, and loading a pickle runs whatever program is in it"} with input as object.union(holding(2), {"facts": {"pickle": "a.pt"}})

test_several_without_a_name if count(deny) == 1 with input as holding(2)

test_nobody_looked if count(deny) == 1 with input as holding(null)

test_not_opened_yet if count(deny) == 0 with input as unopened

test_deployed_unopened if count(deny) == 1 with input as at(unopened, "deploy")

test_served_unopened if count(deny) == 1 with input as at(unopened, "serve")

test_text_is_no_count if count(deny) == 1 with input as holding("0")

test_false_is_no_count if count(deny) == 1 with input as holding(false)

test_the_projects_own_word if count(deny) == 0 with input as allowed(holding(3))

test_the_projects_own_word_where_nobody_looked if count(deny) == 0 with input as allowed(holding(null))

test_text_is_no_word if count(deny) == 1 with input as object.union(holding(3), {"facts": {"pickles_allowed": "true"}})

test_missing_word if count(deny) == 1 with input as json.remove(holding(3), ["facts/pickles_allowed"])

test_missing_count if count(deny) == 1 with input as json.remove(testing.case, ["facts/pickles"])

test_missing_facts if count(deny) == 1 with input as json.remove(testing.case, ["facts"])

test_missing_action if count(deny) == 1 with input as json.remove(unopened, ["action"])

test_metadata_holds_none if count(deny) == 0 with input as testing.of_class(holding(null), "metadata")

test_data_is_not_a_model if count(deny) == 0 with input as testing.of_class(holding(null), "dataset")

test_missing_class if count(deny) == 1 with input as json.remove(holding(1), ["subject/class"])
