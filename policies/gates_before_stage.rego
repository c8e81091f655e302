# METADATA
# title: Every gate that the project puts before this stage has passed
# custom:
#   id: gates-before-stage
#   severity: error
#   stage: validation
#   fix: "run the gate on this model, on what the project pins, and sign its result with a key that is trusted for gates: sovgate gate NAME MODEL --predictions FILE --key URI"
package sovgate.rules.gates_before_stage

import rego.v1

import data.sovgate.lib

deny contains {"message": message, "dataset": null, "where": object.get(gate, "where", null)} if {
	applies
	is_array(input.project.gates)
	some gate in input.project.gates
	not settled(gate)
	name := object.get(gate, "name", "?")
	message := sprintf("the gate %v has to pass before %v, and %v", [name, object.get(gate, "before", "?"), said(name)])
}

deny contains "the gates of the project are not known" if {
	applies
	not readable
}

readable if is_array(input.project.gates)

applies if {
	not lib.bears_no_data
	not lib.is_data
}

# What is known of a gate that did not pass, in words and with its numbers.
said(name) := object.get(input.facts, sprintf("gate.%v", [name]), null) if known(name)

said(name) := "no trusted evidence says that it did" if not known(name)

known(name) if is_string(object.get(input.facts, sprintf("gate.%v", [name]), null))

settled(gate) if lib.not_yet(gate.before)

# legal-before-deploy speaks of these.
settled(gate) if is_string(gate.dataset)

# A pass of a laxer threshold is none of this gate, and one failure outweighs every pass.
settled(gate) if {
	gate.dataset == null
	[gate.name, gate.threshold] in lib.passes
	lib.unfailed(gate)
}
