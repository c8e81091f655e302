# METADATA
# title: A model brings no Python code of its own
# custom:
#   id: no-remote-code
#   preset: no-remote-code
#   severity: error
#   stage: validation
#   fix: use a model whose architecture the library knows, and save it without such code (no auto_map or custom_pipelines, no Lambda layer, no py_function)
package sovgate.rules.no_remote_code

import rego.v1

import data.sovgate.lib

deny contains message if {
	not lib.bears_no_data
	not lib.is_data
	not harmless
	message := finding
}

harmless if {
	is_number(input.facts.remote_code)
	input.facts.remote_code == 0
}

# A zone cannot look into what it has not opened yet. It asks again when it has, before the model
# gets its name.
harmless if {
	input.action == "transfer"
	input.facts.remote_code == "unopened"
}

finding := sprintf("it brings or asks for Python code of its own, %v, which runs when the model is loaded", [input.facts.remote_code_file]) if {
	is_number(input.facts.remote_code)
	input.facts.remote_code > 0
	is_string(input.facts.remote_code_file)
} else := "it brings or asks for Python code of its own, which runs when the model is loaded" if {
	is_number(input.facts.remote_code)
	input.facts.remote_code > 0
} else := "nobody that is trusted for it said whether it brings Python code of its own"
