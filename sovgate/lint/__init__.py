"""Readers of what people write, one a kind, and the rules over them."""
