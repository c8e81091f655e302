"""Generates actions, Tasks and reference pages from the commands."""
