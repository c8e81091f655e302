package sovgate.rules.evidence_fits_test

import data.sovgate.rules.evidence_fits.deny
import rego.v1

import data.sovgate.testing

of(release) := object.union(testing.signature, {"release": release})

without_release := object.union(testing.case, {"subject": {"release": null}})

test_fits if count(deny) == 0 with input as testing.case

test_none_is_fine if count(deny) == 0 with input as object.union(testing.case, {"evidence": []})

test_another_model if count(deny) == 1 with input as testing.proven(testing.case, [object.union(testing.signature, {"manifest": testing.other})])

test_another_release if count(deny) == 1 with input as testing.proven(testing.case, [of("kyc-risk/0.9.0")])

test_same_release if count(deny) == 0 with input as testing.proven(testing.case, [of("kyc-risk/1.0.0")])

test_asked_without_release if count(deny) == 0 with input as testing.proven(without_release, [of("kyc-risk/1.0.0")])

test_mixes_two_releases if count(deny) == 1 with input as testing.proven(without_release, [of("kyc-risk/1.0.0"), of("kyc-risk/2.0.0")])

moved(release) := object.union(of(release), {"role": "transfer"})

test_a_model_that_moved_twice if count(deny) == 0 with input as testing.proven(without_release, [moved("kyc-risk/1.0.0"), moved("kyc-risk/2.0.0")])

test_missing_evidence if count(deny) == 1 with input as json.remove(testing.case, ["evidence"])

test_missing_manifest if count(deny) > 0 with input as json.remove(testing.case, ["subject/manifest"])

test_missing_role if count(deny) > 0 with input as json.remove(testing.case, ["evidence/0/role"])

test_null_evidence if count(deny) == 1 with input as object.union(testing.case, {"evidence": {}})
