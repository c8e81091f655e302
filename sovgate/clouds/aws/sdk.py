"""AWS's SDK itself: found, imported, and given nothing to read but its own files.

boto3's clients are botocore's, with helpers for uploads of files on top. Those are not used here,
so that only botocore is imported. Imports it inside its functions.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from sovgate.errors import ConfigError

_MODULES = ("config", "exceptions", "httpsession", "loaders", "parsers", "session")
_SCHEMA = 3


def botocore(service: str) -> Any:
    """The SDK's core. Raises ConfigError, reason "missing-package"."""
    try:
        for name in _MODULES:
            importlib.import_module(f"botocore.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{'an s3:// store' if service == 's3' else 'an awskms:// key'} needs a package that "
            "is not installed",
            why=str(error),
            fix="pip install 'sovgate[aws]'",
            reason="missing-package",
        ) from error
    return importlib.import_module("botocore")


@functools.cache
def loader() -> Any:
    """Reads the data of the installed package alone, once a process.

    AWS_DATA_PATH and ~/.aws/models could put other service models in their place.
    """
    loaders = importlib.import_module("botocore.loaders")

    class Loader(loaders.Loader):  # type: ignore[misc,name-defined]
        def load_data_with_path(self, name: str) -> tuple[Any, str]:
            if name != "endpoints":
                return super().load_data_with_path(name)  # type: ignore[no-any-return]
            found, path = super().load_data_with_path("partitions")
            return endpoints(found), path

    built_in = [loaders.Loader.BUILTIN_DATA_PATH]
    return Loader(extra_search_paths=built_in, include_default_search_paths=False)


def endpoints(partitions: Any) -> dict[str, Any]:
    """The SDK's list of partitions in the form of its list of every service's endpoints.

    That one takes 7 MiB and, of each run, a twentieth of a second. All that is asked of it is a
    region's partition and the pattern of its hosts: an address is always given, and where the SDK
    makes one itself, to fetch credentials, it goes by the rules that lie beside each service.
    """
    return {
        "version": _SCHEMA,
        "partitions": [
            {
                "partition": partition["id"],
                "dnsSuffix": partition["outputs"]["dnsSuffix"],
                "regionRegex": partition["regionRegex"],
                "regions": partition["regions"],
                "defaults": {
                    "hostname": "{service}.{region}.{dnsSuffix}",
                    "protocols": ["https"],
                    "signatureVersions": ["v4"],
                },
                "services": {},
            }
            for partition in partitions["partitions"]
        ],
    }
