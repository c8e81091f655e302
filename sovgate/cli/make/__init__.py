"""The commands under the heading "make"."""
