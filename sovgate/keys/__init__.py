"""Keys: one adapter a file, found by URI scheme through `registry`; `_api` is the contract."""
