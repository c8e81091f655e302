# METADATA
# title: A model is signed
# custom:
#   id: signature-required
#   severity: error
#   stage: signing
#   fix: "sign it with a key that `trust` allows to sign models: sovgate sign MODEL --key URI"
package sovgate.rules.signature_required

import rego.v1

import data.sovgate.lib

deny contains "no signer that is trusted for signatures has signed it" if {
	not lib.bears_no_data
	not lib.is_data
	not signed
}

signed if {
	some e in input.evidence
	e.role == "signature"
	is_string(e.signer)
	lib.fits(e)
}
