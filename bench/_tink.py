"""Tink's streaming AEAD, which sovgate is measured against."""

from __future__ import annotations

import base64
import json
from typing import Any

SEGMENT = 1024 * 1024


def streaming_aead(tink: Any, key: bytes) -> Any:
    """The primitive of a JSON keyset that holds one RAW AesGcmHkdfStreamingKey."""
    from tink import json_proto_keyset_format, secret_key_access
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2
    from tink.streaming_aead import StreamingAead

    value = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(key_value=key)
    value.params.ciphertext_segment_size = SEGMENT
    value.params.derived_key_size = 32
    value.params.hkdf_hash_type = common_pb2.SHA256
    keyset = {
        "primaryKeyId": 1,
        "key": [
            {
                "keyData": {
                    "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                    "value": base64.b64encode(value.SerializeToString()).decode(),
                    "keyMaterialType": "SYMMETRIC",
                },
                "status": "ENABLED",
                "keyId": 1,
                "outputPrefixType": "RAW",
            }
        ],
    }
    handle = json_proto_keyset_format.parse(json.dumps(keyset), secret_key_access.TOKEN)
    return handle.primitive(StreamingAead)
