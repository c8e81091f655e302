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
	count(unclear) == 0
	message := "it derives from unknown data: there is no training record by a signer trusted for it"
}

# Records that cannot be counted bind all the same. What they would say is not known.
deny contains {"message": message, "dataset": null, "where": null} if {
	not lib.bears_no_data
	some text in unclear
	message := sprintf("it derives from unknown data: %v", [text])
}

unclear contains origin.name if {
	some origin in input.subject.derived_from
	origin.kind == "unknown"
	origin.where == null
	is_string(origin.name)
	origin.name != "unknown"
}

recorded if {
	count(input.subject.derived_from) > 0
	every origin in input.subject.derived_from { spoken_for(origin) }
}

spoken_for(origin) if origin.kind in {"dataset", "base-model"}

# base-known speaks of these.
spoken_for(origin) if lib.claimed(origin)
