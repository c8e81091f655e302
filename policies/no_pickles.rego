# METADATA
# title: A model holds no pickle
# custom:
#   id: no-pickles
#   severity: error
#   stage: validation
#   fix: "save it in a format that runs no code when it is loaded (safetensors, ONNX, GGUF); or, where you know what is in it and trust who made it, say `pickles: allow` under `policy`"
package sovgate.rules.no_pickles

import rego.v1

import data.sovgate.lib

deny contains message if {
	not lib.bears_no_data
	not lib.is_data
	not harmless
	message := finding
}

harmless if {
	is_number(input.facts.pickles)
	input.facts.pickles == 0
}

# A zone cannot look into what it has not opened yet. It asks again when it has, before the model
# gets its name.
harmless if {
	input.action == "transfer"
	input.facts.pickles == "unopened"
}

# The project's own word.
harmless if input.facts.pickles_allowed == true

finding := sprintf("it holds %v, and loading a pickle runs whatever program is in it", [named]) if {
	is_number(input.facts.pickles)
	input.facts.pickles > 0
} else := "nobody that is trusted for it said whether it holds pickles"

named := sprintf("a pickle, %v", [input.facts.pickle]) if {
	input.facts.pickles == 1
	is_string(input.facts.pickle)
} else := sprintf("%v pickles, the first of them %v", [input.facts.pickles, input.facts.pickle]) if {
	is_string(input.facts.pickle)
} else := sprintf("pickles (%v)", [input.facts.pickles])
