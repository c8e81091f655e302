# METADATA
# title: A model that leaves a zone was trained there on data that may be there
# custom:
#   id: trained-in-place
#   severity: error
#   stage: training
#   fix: train it in a zone where that data may be, and record it with that zone's key
package sovgate.rules.trained_in_place

import rego.v1

import data.sovgate.lib

deny contains culprit if {
	not lib.bears_no_data
	not in_place
	some culprit in culprits
}

# Where no data set can be named as the cause, it is still denied.
deny contains "the evidence does not say in full where the model was trained, and on what" if {
	not lib.bears_no_data
	not in_place
	count(culprits) == 0
}

# Within one zone weights-inherit asks the same.
in_place if input.source.zone == input.destination.zone

in_place if {
	is_array(input.evidence)
	every e in input.evidence { elsewhere(e) }
}

in_place if {
	is_array(input.subject.derived_from)
	every origin in input.subject.derived_from { spoken_for(origin) }
}

elsewhere(e) if {
	is_string(e.role)
	e.role != "provenance"
}

# A record of another zone is that zone's own word. A signer of no zone may be in any.
elsewhere(e) if {
	is_string(e.zone)
	e.zone != input.source.zone
}

spoken_for(origin) if lib.free_in(origin, input.source.groups)

# weights-inherit and record-required speak of these.
spoken_for(origin) if origin.stays_in == null

culprits contains {"message": message, "dataset": origin.name, "where": origin.where} if {
	some origin in input.subject.derived_from
	not spoken_for(origin)
	is_array(origin.stays_in)
	message := sprintf("%v may be only in %v, and %v, which recorded a training on it, is in %v", [
		origin.name,
		concat(", ", origin.stays_in),
		input.source.zone,
		concat(", ", input.source.groups),
	])
}
