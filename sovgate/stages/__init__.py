"""The steps of the chain, each on its own: none imports another, and none opens an adapter."""
