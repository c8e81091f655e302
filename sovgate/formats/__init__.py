"""Formats: bytes <-> records, no I/O. One format a module; docs/formats.md is the specification."""
