"""Gates: one a file."""
