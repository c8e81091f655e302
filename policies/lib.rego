# What several rules ask. Everything here is a positive statement: a field that is not there makes
# it undefined, and the rules deny on `not`.
package sovgate.lib

import rego.v1

# Of these classes no data set's content can be read back, so that restrictions on data sets do not
# travel with them; `border` still has to name them. Any other class, a project's own too, is
# treated as bearing data.
bears_no_data if input.subject.class in {
	"metadata",
	"telemetry",
	"trace",
	"inference-request",
	"inference-response",
}

# Data itself is not the work of a model, so what is asked of a trained model is not asked of it.
is_data if input.subject.class in {"dataset", "synthetic"}

# In the order in which a model meets them. A gate `before` one counts from there on.
stages := {"train": 0, "transfer": 1, "deploy": 2, "serve": 3, "observe": 4}

not_yet(before) if {
	is_string(input.action)
	is_string(before)
	stages[input.action] < stages[before]
}

# A base that a file of the model names and no record does; where is that file. Any other unknown is
# a record that is missing.
claimed(origin) if {
	origin.kind == "unknown"
	is_string(origin.name)
	is_string(origin.where)
}

# Evidence about exactly this subject.
fits(evidence) if {
	is_string(input.subject.manifest)
	evidence.manifest == input.subject.manifest
	same_release(evidence)
}

same_release(evidence) if evidence.release == null

same_release(evidence) if {
	is_string(evidence.release)
	evidence.release == input.subject.release
}

# Asked without a release (`check` before a name is given): then the manifest alone decides.
same_release(evidence) if {
	is_string(evidence.release)
	input.subject.release == null
}

# Passes of gates, with the threshold that each was held to. A set, so that it is made once.
passes contains [e.gate, e.threshold] if {
	is_array(input.evidence)
	some e in input.evidence
	e.role == "gate"
	e.result == "pass"
	fits(e)
}

# One failure outweighs every pass: whoever may ask again until it passes measures nothing. What was
# not measured on what the project pins is no evidence here, a pass or a failure.
unfailed(gate) if {
	is_array(input.evidence)
	is_string(gate.name)
	not unreadable
	not gate.name in failed
}

failed contains e.gate if {
	some e in suspects
	is_string(e.gate)
}

# A failure that does not say of which gate spoils all of them.
unreadable if {
	some e in suspects
	not is_string(object.get(e, "gate", null))
}

# All evidence that does not itself say that it is no failure of a gate.
suspects contains e if {
	some e in input.evidence
	not sound(e)
}

sound(e) if {
	is_string(e.role)
	e.role != "gate"
}

sound(e) if {
	e.role == "gate"
	e.result in {"pass", "inconclusive"}
}

# Gates of the project that passed at the project's own threshold. A pass of a laxer one, or of a
# gate that the project does not declare, is none of these.
passed contains gate.name if {
	is_array(input.project.gates)
	some gate in input.project.gates
	gate.dataset == null
	[gate.name, gate.threshold] in passes
	unfailed(gate)
}

# Where weights that derive from this may be: `groups` are those of a place.
free_in(origin, _) if {
	known_origin(origin)
	origin.stays_in == []
}

free_in(origin, groups) if {
	known_origin(origin)
	is_array(origin.stays_in) # null is no list, and engines differ on what that means
	some place in origin.stays_in
	place in groups
}

free_in(origin, _) if {
	known_origin(origin)
	is_array(origin.stays_in)
	some gate in origin.lifts
	gate in passed
}

known_origin(origin) if origin.kind in {"dataset", "base-model"}
