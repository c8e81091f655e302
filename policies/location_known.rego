# METADATA
# title: The destination lies where its zone says, and that is known as well as the zone requires
# custom:
#   id: location-known
#   severity: error
#   stage: replication
#   fix: "use a store whose provider can say where it is, or change in `require` how well its place has to be known"
package sovgate.rules.location_known

import rego.v1

deny contains {"message": message, "dataset": null, "where": object.get(lines, key, null)} if {
	not known_well_enough
	key := sprintf("zones.%v", [object.get(destination, "zone", "?")])
	message := sprintf("%v is declared as %v, but %v", [
		object.get(destination, "zone", "?"),
		object.get(destination, "region", "?"),
		finding,
	])
}

default destination := {}

destination := input.destination if is_object(input.destination)

default lines := {}

lines := input.project.lines if is_object(input.project.lines)

known_well_enough if {
	is_number(input.destination.location.grade)
	is_number(input.destination.require)
	input.destination.require >= 1
	input.destination.location.grade >= input.destination.require
	as_declared
}

# Nobody but the declaration was asked.
as_declared if {
	input.destination.location.grade == 1
	input.destination.location.value == null
	is_string(input.destination.region)
}

as_declared if {
	is_string(input.destination.location.value)
	input.destination.location.value == input.destination.region
}

names := {0: "not at all", 1: "by declaration", 2: "by its provider's word", 3: "by attestation"}

finding := sprintf("it was found in %v", [input.destination.location.value]) if {
	is_string(input.destination.location.value)
	input.destination.location.value != input.destination.region
} else := sprintf("its location is known %v and must be known %v", [
	names[input.destination.location.grade],
	names[input.destination.require],
]) if {
	input.destination.location.grade < input.destination.require
} else := "its location is not known"
