"""Azure and the clouds of its technology: credentials. One file serves stores and keys."""
