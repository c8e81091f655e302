package sovgate.rules.no_secrets_test

import data.sovgate.rules.no_secrets.deny
import rego.v1

import data.sovgate.testing

holding(count) := object.union(testing.case, {"facts": {"secrets": count}})

at(case, action) := object.union(case, {"action": action})

unopened := holding("unopened")

test_none if count(deny) == 0 with input as testing.case

test_one if deny == {"it holds a secret, id.pem, line 1: a private key, and whoever receives the model would have it"} with input as object.union(holding(1), {"facts": {"secret": "id.pem, line 1: a private key"}})

test_several if deny == {"it holds 2 secrets, the first of them .env, line 1: a token, and whoever receives the model would have it"} with input as object.union(holding(2), {"facts": {"secret": ".env, line 1: a token"}})

test_several_without_a_name if count(deny) == 1 with input as holding(2)

test_nobody_looked if count(deny) == 1 with input as holding(null)

test_not_opened_yet if count(deny) == 0 with input as unopened

test_what_is_here_has_crossed if {
	some action in {"train", "deploy", "serve", "observe"}
	count(deny) == 0 with input as at(holding(1), action)
}

test_text_is_no_count if count(deny) == 1 with input as holding("0")

test_false_is_no_count if count(deny) == 1 with input as holding(false)

test_less_than_none_is_no_count if count(deny) == 1 with input as holding(-1)

test_no_word_of_the_project_lifts_it if count(deny) == 1 with input as object.union(holding(1), {"facts": {"pickles_allowed": true, "secrets_allowed": true}})

test_missing_count if count(deny) == 1 with input as json.remove(testing.case, ["facts/secrets"])

test_missing_facts if count(deny) == 1 with input as json.remove(testing.case, ["facts"])

test_missing_action if count(deny) == 1 with input as json.remove(unopened, ["action"])

test_metadata_holds_none if count(deny) == 0 with input as testing.of_class(holding(null), "metadata")

test_data_is_not_a_model if count(deny) == 0 with input as testing.of_class(holding(null), "dataset")

test_missing_class if count(deny) == 1 with input as json.remove(holding(1), ["subject/class"])
