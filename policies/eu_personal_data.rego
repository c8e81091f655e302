# METADATA
# title: Personal data stays in a place, and every data set says whether it is personal
# custom:
#   id: eu-personal-data
#   preset: eu-personal-data
#   severity: error
#   stage: source
#   fix: "write in the data set's manifest which category it has and, if it is personal, where it stays: stays-in: [EU]"
package sovgate.rules.eu_personal_data

import rego.v1

import data.sovgate.lib

deny contains culprit if {
	not lib.bears_no_data
	some culprit in culprits
}

deny contains "nothing says which category the data has" if {
	not lib.bears_no_data
	not all_placed
	count(culprits) == 0
}

all_placed if {
	count(input.subject.derived_from) > 0
	every origin in input.subject.derived_from { placed(origin) }
}

# Any other word, however it is spelled, may mean personal data, and is treated as if it did.
not_personal := {"aggregate", "anonymous", "non-personal", "none", "public", "synthetic"}

# record-required speaks of these.
placed(origin) if {
	origin.kind == "unknown"
	origin.stays_in == null
}

placed(origin) if origin.category in not_personal

placed(origin) if {
	is_string(origin.category)
	count(origin.category) > 0
	is_array(origin.stays_in)
	count(origin.stays_in) > 0
}

culprits contains {"message": message, "dataset": origin.name, "where": origin.where} if {
	some origin in input.subject.derived_from
	not placed(origin)
	message := sprintf("%v %v", [origin.name, lack(origin)])
}

lack(origin) := sprintf("is of category %v, and its stays-in names no place", [origin.category]) if {
	is_string(origin.category)
	count(origin.category) > 0
} else := "does not say of which category it is"
