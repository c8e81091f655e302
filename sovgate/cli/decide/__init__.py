"""The commands under the heading "decide"."""
