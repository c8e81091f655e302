package sovgate.rules.legal_before_deploy_test

import data.sovgate.rules.legal_before_deploy.deny
import rego.v1

import data.sovgate.testing

legal := {"name": "legal", "before": "deploy", "threshold": null, "dataset": "kyc-eu", "where": "sovgate.yaml:35"}

word := testing.evidence("legal", {"dataset": "kyc-eu", "commitment": "c3", "about_zone": "eu"})

deploy := testing.gated(object.union(testing.derived(testing.case, [testing.public, testing.kyc]), {"action": "deploy", "source": testing.eu}), [legal])

test_attested if count(deny) == 0 with input as testing.proven(deploy, [word])

test_not_attested if count(deny) == 1 with input as deploy

test_of_older_data if count(deny) == 1 with input as testing.proven(deploy, [object.union(word, {"commitment": "c4"})])

test_for_another_zone if count(deny) == 1 with input as testing.proven(deploy, [object.union(word, {"about_zone": "us-train"})])

test_of_another_data_set if count(deny) == 1 with input as testing.proven(deploy, [object.union(word, {"dataset": "public"})])

test_of_another_model if count(deny) == 1 with input as testing.proven(deploy, [object.union(word, {"manifest": testing.other})])

test_a_gate_is_no_legal_word if count(deny) == 1 with input as testing.proven(deploy, [object.union(word, {"role": "gate"})])

test_no_commitment_is_none_to_match if count(deny) == 1 with input as testing.derived(testing.proven(deploy, [object.union(word, {"commitment": null})]), [object.union(testing.kyc, {"commitment": null})])

twice := testing.derived(deploy, [testing.kyc, object.union(testing.kyc, {"commitment": "c4"})])

test_one_state_of_two_is_not_enough if count(deny) == 1 with input as testing.proven(twice, [word])

test_both_states if count(deny) == 0 with input as testing.proven(twice, [word, object.union(word, {"commitment": "c4"})])

test_a_state_nobody_committed_to if count(deny) == 1 with input as testing.derived(testing.proven(deploy, [word]), [testing.kyc, object.union(testing.kyc, {"commitment": null})])

test_not_yet if count(deny) == 0 with input as object.union(deploy, {"action": "transfer"})

test_data_set_is_not_behind_it if count(deny) == 0 with input as testing.derived(deploy, [testing.public])

test_unknown_ancestry_may_hide_it if count(deny) == 1 with input as testing.derived(deploy, [testing.unknown])

test_empty_ancestry_may_hide_it if count(deny) == 1 with input as testing.derived(deploy, [])

test_missing_name if count(deny) == 1 with input as json.remove(deploy, ["subject/derived_from/1/name"])

test_missing_gates if count(deny) == 1 with input as json.remove(deploy, ["project/gates"])

test_missing_dataset if count(deny) == 1 with input as json.remove(deploy, ["project/gates/0/dataset"])

test_another_gate_is_not_legal if count(deny) == 0 with input as testing.gated(deploy, [object.union(legal, {"dataset": null})])

test_metadata_is_not_attested if count(deny) == 0 with input as testing.of_class(deploy, "metadata")

test_null_name_may_hide_it if count(deny) == 1 with input as testing.derived(deploy, [object.union(testing.kyc, {"name": null})])

test_gates_that_are_no_list if count(deny) == 1 with input as testing.gated(deploy, "none")
