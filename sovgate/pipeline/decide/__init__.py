"""Whether a thing may happen: the question to policy, and what is checked before anybody asks."""
