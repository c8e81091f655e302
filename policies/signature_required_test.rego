package sovgate.rules.signature_required_test

import data.sovgate.rules.signature_required.deny
import rego.v1

import data.sovgate.testing

only(evidence) := object.union(testing.case, {"evidence": evidence})

test_signed if count(deny) == 0 with input as testing.case

test_unsigned if count(deny) == 1 with input as only([testing.record])

test_signature_of_another_model if count(deny) == 1 with input as only([object.union(testing.signature, {"manifest": testing.other})])

test_a_test_result_is_no_signature if count(deny) == 1 with input as only([testing.passes("accuracy", "0.9")])

test_no_manifest if count(deny) == 1 with input as object.union(only([object.union(testing.signature, {"manifest": null})]), {"subject": {"manifest": null}})

test_missing_evidence if count(deny) == 1 with input as json.remove(testing.case, ["evidence"])

test_metadata_needs_none if count(deny) == 0 with input as testing.of_class(only([]), "metadata")

test_data_needs_none if count(deny) == 0 with input as testing.of_class(only([]), "dataset")

test_nobodys_signature if count(deny) == 1 with input as only([object.union(testing.signature, {"signer": null})])
