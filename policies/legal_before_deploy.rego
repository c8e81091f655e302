# METADATA
# title: A zone deploys only models that a legal attestation for that zone covers
# custom:
#   id: legal-before-deploy
#   severity: error
#   stage: validation
#   fix: have a signer that is trusted for `legal` attest that data set, at its present commitment, for that zone
package sovgate.rules.legal_before_deploy

import rego.v1

import data.sovgate.lib

deny contains {"message": message, "dataset": gate.dataset, "where": object.get(gate, "where", null)} if {
	not lib.bears_no_data
	is_array(input.project.gates)
	some gate in input.project.gates
	is_string(gate.dataset)
	not settled(gate)
	message := sprintf("no legal attestation for %v covers %v at its present commitment", [
		object.get(destination, "zone", "?"),
		gate.dataset,
	])
}

deny contains "the legal gates of the project are not known" if {
	not lib.bears_no_data
	not readable
}

default destination := {}

destination := input.destination if is_object(input.destination)

readable if {
	is_array(input.project.gates)
	every gate in input.project.gates {
		object.get(gate, "dataset", false) != false
	}
}

settled(gate) if lib.not_yet(gate.before)

settled(gate) if gate.dataset in covered

# Data sets each state of which, as it is behind the model, somebody attested for this zone. There are
# several where a base model was trained on an older one.
covered contains name if {
	all_named
	some [name, commitment] in attested
	[name, commitment] in behind
	not name in uncovered
}

uncovered contains origin.name if {
	some origin in input.subject.derived_from
	not in_attested_state(origin)
}

in_attested_state(origin) if {
	is_string(origin.commitment)
	[origin.name, origin.commitment] in attested
}

all_named if {
	every origin in input.subject.derived_from { is_string(origin.name) }
}

attested contains [e.dataset, e.commitment] if {
	some e in input.evidence
	e.role == "legal"
	e.about_zone == input.destination.zone
	lib.fits(e)
}

behind contains [origin.name, origin.commitment] if {
	some origin in input.subject.derived_from
	is_string(origin.commitment)
}

# A gate for a data set that is not behind this model.
settled(gate) if {
	count(input.subject.derived_from) > 0
	every origin in input.subject.derived_from {
		origin.kind in {"dataset", "base-model"}
		is_string(origin.name)
		origin.name != gate.dataset
	}
}
