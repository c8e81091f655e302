# A whole case for the tests beside the rules: weights trained on public data, from the US into the
# EU, signed and recorded, by a line of border. Each test changes it with object.union.
package sovgate.testing

import rego.v1

manifest := "a1"

other := "b2"

case := {
	"action": "transfer",
	"subject": {"class": "weights", "model": "kyc-risk", "release": "kyc-risk/1.0.0", "manifest": manifest, "derived_from": [public]},
	"source": us,
	"destination": object.union(eu, {"require": 2}),
	"evidence": [signature, record],
	"rejected": [],
	"facts": {"pickles": 0, "pickle": null, "pickles_allowed": false, "secrets": 0, "secret": null, "remote_code": 0, "remote_code_file": null},
	"project": {"mode": "enforce", "classes": ["activations"], "border": [{"class": "weights", "from": "us-train", "to": "eu", "where": "sovgate.yaml:24"}], "gates": [], "lines": {"zones.eu": "sovgate.yaml:8"}},
	"now": {"time": "2026-11-24T04:00:00Z", "epoch": 1795492800},
}

us := {"zone": "us-train", "region": "aws:us-east-1", "country": "US", "groups": ["US"], "location": {"value": null, "grade": 1}}

eu := {"zone": "eu", "region": "aws-eusc:eusc-de-east-1", "country": "DE", "groups": ["DE", "EEA", "EU"], "location": {"value": "aws-eusc:eusc-de-east-1", "grade": 2}}

public := {"name": "public", "kind": "dataset", "category": "public", "stays_in": [], "lifts": [], "commitment": null, "where": "sovgate.yaml:14"}

kyc := {"name": "kyc-eu", "kind": "dataset", "category": "personal", "stays_in": ["EU"], "lifts": ["membership-inference"], "commitment": "c3", "where": "sovgate.yaml:17"}

unknown := {"name": "unknown", "kind": "unknown", "category": null, "stays_in": null, "lifts": [], "commitment": null, "where": null}

signature := evidence("signature", {})

record := evidence("provenance", {})

evidence(role, fields) := object.union({"role": role, "manifest": manifest, "release": null, "signer": "us-ci", "zone": "us-train", "gate": null, "result": null, "threshold": null, "dataset": null, "commitment": null, "about_zone": null, "identity": null, "issuer": null, "logged": null, "trusted_root": null, "sha256": "d4"}, fields)

passes(gate, threshold) := evidence("gate", {"gate": gate, "result": "pass", "threshold": threshold})

# The case asked the other way: out of the EU.
outward := object.union(case, {"source": eu, "destination": object.union(us, {"require": 1})})

derived(from, origins) := object.union(from, {"subject": {"derived_from": origins}})

proven(from, more) := object.union(from, {"evidence": array.concat(from.evidence, more)})

of_class(from, class) := object.union(from, {"subject": {"class": class}})

gated(from, gates) := object.union(from, {"project": {"gates": gates}})
