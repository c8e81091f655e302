# METADATA
# title: Everything that carries data has a record of what it derives from
# custom:
#   id: record-required
#   severity: error
#   stage: training
#   fix: "record what it was trained on, with a key that `trust` allows to write records: sovgate record MODEL --dataset NAME --key URI"
package sovgate.rules.record_required

import rego.v1

import data.sovgate.lib

deny contains {"message": message, "dataset": null, "where": null} if {
	not lib.bears_no_data
	not recorded
	message := "it derives from unknown data: there is no training record by a signer trusted for it"
}

recorded if {
	count(input.subject.derived_from) > 0
	every origin in input.subject.derived_from { spoken_for(origin) }
}

spoken_for(origin) if origin.kind in {"dataset", "base-model"}

# base-known speaks of these.
spoken_for(origin) if lib.claimed(origin)
