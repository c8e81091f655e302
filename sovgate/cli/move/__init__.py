"""The commands under the heading "move"."""
