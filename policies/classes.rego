# METADATA
# title: What moves is of a class that somebody declared
# custom:
#   id: classes
#   severity: error
#   stage: source
#   fix: name one of the standard classes, or a class that `border` of sovgate.yaml names
package sovgate.rules.classes

import rego.v1

deny contains message if {
	not known
	message := sprintf("the class %v is not declared, or the action %v is not known", [
		object.get(subject, "class", "?"),
		object.get(input, "action", "?"),
	])
}

default subject := {}

subject := input.subject if is_object(input.subject)

known if {
	input.action in {"transfer", "deploy", "train", "serve", "observe"}
	declared
}

declared if input.subject.class in {
	"dataset",
	"synthetic",
	"aggregate",
	"gradient",
	"weights",
	"metadata",
	"telemetry",
	"trace",
	"inference-request",
	"inference-response",
}

declared if input.subject.class in input.project.classes
