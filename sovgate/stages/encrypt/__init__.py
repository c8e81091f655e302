"""Encrypts a signed model for zones, and decrypts it inside one; no network, one read of the bytes.

`seal_model` reads a model and writes a folder; `open_model` reads blobs and writes into a private
folder. Neither knows where keys or stores are: it is given protocol objects.
"""

from sovgate.stages.encrypt.maker import SIGNATURE_NAME, check_maker
from sovgate.stages.encrypt.seal import SEALED_NAME, ZoneKey, blob_path, seal_model
from sovgate.stages.encrypt.unseal import ReadBlob, open_keys, open_model

__all__ = [
    "SEALED_NAME",
    "SIGNATURE_NAME",
    "ReadBlob",
    "ZoneKey",
    "blob_path",
    "check_maker",
    "open_keys",
    "open_model",
    "seal_model",
]
