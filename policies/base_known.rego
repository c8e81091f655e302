# METADATA
# title: Every base that the model's own files name stands in a record
# custom:
#   id: base-known
#   severity: error
#   stage: training
#   fix: "record the model with --base-model PATH (NAME=PATH where its files call the base NAME), or with --public-base NAME@REVISION where anybody may have that base, by a key that is trusted for it"
package sovgate.rules.base_known

import rego.v1

import data.sovgate.lib

deny contains {"message": message, "dataset": null, "where": origin.where} if {
	not lib.bears_no_data
	some origin in input.subject.derived_from
	lib.claimed(origin)
	message := sprintf("%v says that the model was made from %v, and no record that counts names that base", [origin.where, origin.name])
}

# Where no base can be named as the cause, it is still denied.
deny contains {"message": "the evidence does not say in full what the model derives from", "dataset": null, "where": null} if {
	not lib.bears_no_data
	not all_known
	count(claims) == 0
}

claims contains origin if {
	some origin in input.subject.derived_from
	lib.claimed(origin)
}

all_known if {
	is_array(input.subject.derived_from)
	every origin in input.subject.derived_from { spoken_for(origin) }
}

spoken_for(origin) if origin.kind in {"dataset", "base-model"}

# record-required speaks of these.
spoken_for(origin) if {
	origin.kind == "unknown"
	origin.where == null
}
