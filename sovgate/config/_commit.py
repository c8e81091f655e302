"""`gitops.commit` of a project file: how commits are to look. No I/O."""

from __future__ import annotations

import re

from sovgate.config._records import CommitStyle
from sovgate.formats.sections import Section

#: What a commit may be made to say: one line, with no control characters, and no trailer of ours.
MAX_TEXT = 200
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
MESSAGE = re.compile(
    rf"(?!Sovgate-)(?:[^{_CONTROL}{{}} #]|\{{(?:release|zone|subject)\}})"
    rf"(?:[^{_CONTROL}{{}}]|\{{(?:release|zone|subject)\}})*"
)
#: Git strips what stands in front of a name without meaning anything.
AUTHOR = re.compile(
    rf"([^{_CONTROL}<> .,:;\"'\\][^{_CONTROL}<>]*) <([^{_CONTROL}<>@ ]+@[^{_CONTROL}<>@ ]+)>"
)


def read_commit(section: Section) -> CommitStyle:
    """Raises ConfigError."""
    if section.has("sign"):
        section.refuse(
            "sign",
            "gitops.commit.sign is not supported: sovgate does not sign Git commits",
            fix="remove it; message and author are supported. Where only signed commits may reach "
            "the branch, set gitops.via: pull-request, and let the Git server sign the merge",
        )
    message = author = None
    if section.has("message"):
        message = section.text("message")
        if len(message) > MAX_TEXT or not MESSAGE.fullmatch(message):
            section.refuse(
                "message",
                "gitops.commit.message is not one line of at most 200 characters",
                fix="write it as in OPS-17: {subject}; {release}, {zone} and {subject} are filled "
                "in, and no other braces, no # in front and no Sovgate- in front are possible",
            )
    if section.has("author"):
        text = section.text("author")
        found = AUTHOR.fullmatch(text)
        if len(text) > MAX_TEXT or found is None:
            section.refuse(
                "author",
                "gitops.commit.author is not a name and an address",
                fix="write it as in Release Bot <release-bot@bank.example>",
            )
        author = (found[1], found[2])
    section.done()
    return CommitStyle(message=message, author=author)
