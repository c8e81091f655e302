"""sovgate: the gate at the border that a model crosses. Importing it imports nothing else.

What it offers (docs/library.md) is brought in when it is first asked for.
"""

TYPE_CHECKING = False  # as typing has it, which alone would import thirty modules
if TYPE_CHECKING:
    from sovgate.errors import (
        AlreadyExists,
        ConfigError,
        DiskError,
        EngineError,
        GateFailed,
        GitError,
        Inconclusive,
        InternalError,
        KeyServiceError,
        Malformed,
        NotFound,
        PolicyDenied,
        ResidencyMismatch,
        SovgateError,
        StoreError,
        UsageError,
        VerificationFailed,
    )
    from sovgate.library import (
        Checked,
        Model,
        Pulled,
        Pushed,
        Signed,
        Verified,
        check,
        pull,
        push,
        sign,
        verify,
    )

__version__ = "0.2.0"
__all__ = [
    "AlreadyExists",
    "Checked",
    "ConfigError",
    "DiskError",
    "EngineError",
    "GateFailed",
    "GitError",
    "Inconclusive",
    "InternalError",
    "KeyServiceError",
    "Malformed",
    "Model",
    "NotFound",
    "PolicyDenied",
    "Pulled",
    "Pushed",
    "ResidencyMismatch",
    "Signed",
    "SovgateError",
    "StoreError",
    "UsageError",
    "VerificationFailed",
    "Verified",
    "__version__",
    "check",
    "pull",
    "push",
    "sign",
    "verify",
]

# Hidden from type checkers, which would take any name for offered.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'sovgate' has no attribute {name!r}")
        from importlib import import_module

        errors = import_module("sovgate.errors")
        home = errors if hasattr(errors, name) else import_module("sovgate.library")
        globals()[name] = found = getattr(home, name)
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
