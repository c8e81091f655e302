# METADATA
# title: What may move at all
# description: A line of `border`, or a place that is source and destination at once.
package sovgate.permit

import rego.v1

allow contains {"id": "border", "where": crossing.where} if {
	some crossing in input.project.border
	crossing.class == input.subject.class
	crossing.from == input.source.zone
	crossing.to == input.destination.zone
}

allow contains {"id": "same-zone", "where": null} if {
	input.source.zone == input.destination.zone
	input.source.region == input.destination.region
}
