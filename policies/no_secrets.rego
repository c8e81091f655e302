# METADATA
# title: A model holds no secret
# custom:
#   id: no-secrets
#   severity: error
#   stage: replication
#   fix: take it out of the model, replace that key or token wherever it is used, and sign the model again
package sovgate.rules.no_secrets

import rego.v1

import data.sovgate.lib

deny contains message if {
	not lib.bears_no_data
	not lib.is_data
	not harmless
	message := finding
}

harmless if {
	is_number(input.facts.secrets)
	input.facts.secrets == 0
}

# What is here has crossed. A zone asks about the transfer again when it has opened a model, before
# that gets its name.
harmless if input.action in {"train", "deploy", "serve", "observe"}

harmless if {
	input.action == "transfer"
	input.facts.secrets == "unopened"
}

finding := sprintf("it holds %v, and whoever receives the model would have it", [named]) if {
	is_number(input.facts.secrets)
	input.facts.secrets > 0
} else := "nobody that is trusted for it said whether it holds secrets"

named := sprintf("a secret, %v", [input.facts.secret]) if {
	input.facts.secrets == 1
	is_string(input.facts.secret)
} else := sprintf("%v secrets, the first of them %v", [input.facts.secrets, input.facts.secret]) if {
	is_string(input.facts.secret)
} else := sprintf("secrets (%v)", [input.facts.secrets])
