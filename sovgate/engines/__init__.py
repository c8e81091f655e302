"""Policy engines: one adapter a file, found by name through `registry`; `_api` is the contract."""
