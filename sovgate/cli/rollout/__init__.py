"""The commands under the heading "roll out"."""
