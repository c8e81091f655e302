# METADATA
# title: All evidence is about this model and this release
# custom:
#   id: evidence-fits
#   severity: error
#   stage: signing
#   fix: take the evidence of the other model or release out of the evidence folder
package sovgate.rules.evidence_fits

import rego.v1

import data.sovgate.lib

deny contains message if {
	some e in input.evidence
	not lib.fits(e)
	message := sprintf("the %v %v is about another model or release", [
		object.get(e, "role", "evidence"),
		substring(object.get(e, "sha256", "?"), 0, 16),
	])
}

deny contains "the evidence cannot be told apart" if not readable

# Where no release was asked for, the evidence may still not mix two.
deny contains message if {
	count(releases) > 1
	message := sprintf("the evidence mixes the releases %v", [concat(", ", sort(releases))])
}

readable if {
	is_array(input.evidence)
	every e in input.evidence {
		lib.fits(e)
		is_string(e.role)
	}
}

readable if {
	is_array(input.evidence)
	count(misfits) > 0
}

misfits contains e if {
	some e in input.evidence
	not lib.fits(e)
}

releases contains e.release if {
	some e in input.evidence
	is_string(e.release)
	not e.role in of_movements
}

# Left beside a model each time it moved. No rule grants anything for them.
of_movements := {"decision", "transfer", "receipt", "promotion"}
