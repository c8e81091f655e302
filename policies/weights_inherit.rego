# METADATA
# title: Weights go only where every data set behind them may go
# custom:
#   id: weights-inherit
#   severity: error
#   stage: replication
#   fix: retrain without that data set, or pass a gate that its `lifts` names
package sovgate.rules.weights_inherit

import rego.v1

import data.sovgate.lib

deny contains culprit if {
	not lib.bears_no_data
	some culprit in culprits
}

# Where no data set can be named as the cause, it is still denied.
deny contains "the evidence does not say in full what the model derives from" if {
	not lib.bears_no_data
	not all_free
	count(culprits) == 0
}

all_free if {
	count(input.subject.derived_from) > 0 # no record behind it is not freedom
	every origin in input.subject.derived_from { spoken_for(origin) }
}

spoken_for(origin) if free(origin)

# record-required speaks of these.
spoken_for(origin) if unknown(origin)

unknown(origin) if {
	origin.kind == "unknown"
	origin.stays_in == null
}

free(origin) if lib.free_in(origin, input.destination.groups)

culprits contains {"message": message, "dataset": origin.name, "where": origin.where} if {
	some origin in input.subject.derived_from
	not spoken_for(origin)
	message := sprintf("%v, and %v", [may_go(origin), destination])
}

may_go(origin) := sprintf("%v may go only to %v", [origin.name, concat(", ", origin.stays_in)]) if {
	is_array(origin.stays_in)
	count(origin.stays_in) > 0
} else := sprintf("nobody said where %v may go", [origin.name])

destination := text if {
	count(input.destination.groups) > 0
	text := sprintf("%v is in %v", [input.destination.zone, concat(", ", input.destination.groups)])
} else := "nobody said where the destination is"
