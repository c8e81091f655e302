"""From one zone to another: encrypt, push, pull, decrypt, verify."""
