"""The one place where stages are put in order and adapters are opened and handed on."""
