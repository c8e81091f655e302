# METADATA
# title: Nothing crosses without the name of its release
# description: An example of a rule of your own. It can only deny; docs/policy.md says how to write one.
# custom:
#   id: named-release
#   severity: error
#   fix: name it, --release NAME/VERSION
package user.named_release

import rego.v1

deny contains "no release is named, so nobody could find it again" if not named

named if input.action != "transfer"

named if is_string(input.subject.release)
