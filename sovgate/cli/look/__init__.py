"""The commands under the heading "look"."""
