"""Our blobs are Tink's: tink-py opens what we encrypt, and we open what it does."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random

import pytest

from sovgate.formats import chunk, stream
from sovgate.keys import registry
from sovgate.stages.encrypt import open_keys
from tests.sealing import FILES, in_memory, make_desk, memory_reader

SIZES = [
    0,
    1,
    stream.SEGMENT - 57,
    stream.SEGMENT - 56,
    stream.SEGMENT - 55,
    stream.CHUNK - 40 - 8 * 16,
    stream.CHUNK - 40 - 8 * 16 + 1,
    2 * stream.CHUNK + 4321,
]


def streaming_aead(tink, key: bytes):
    """The primitive of a JSON keyset that holds one RAW AesGcmHkdfStreamingKey."""
    from tink import json_proto_keyset_format, secret_key_access
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2
    from tink.streaming_aead import StreamingAead

    value = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(key_value=key)
    value.params.ciphertext_segment_size = stream.SEGMENT
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


class Kept(io.BytesIO):
    """Tink closes what it wrote to; this keeps it."""

    def close(self) -> None:
        pass


@pytest.mark.component
@pytest.mark.parametrize("size", SIZES)
def test_both_ways_at_every_edge(tink, size):
    data, key = random.Random(size).randbytes(size), stream.new_key()
    ad = stream.associated_data("eu", "ab" * 32, size)
    primitive = streaming_aead(tink, key)
    with primitive.new_decrypting_stream(io.BytesIO(stream.seal(key, ad, data)), ad) as opened:
        assert opened.read() == data
    sink = Kept()
    with primitive.new_encrypting_stream(sink, ad) as sealing:
        sealing.write(data)
    assert stream.unseal(key, ad, sink.getvalue()) == data


@pytest.mark.component
def test_tink_opens_each_blob_of_a_whole_copy_with_the_key_from_its_table(tink, tmp_path):
    desk = make_desk(tmp_path / "desk")
    sealed = desk.seal(tmp_path / "out", "eu")["eu"]
    blobs = in_memory(tmp_path / "out" / "eu")
    identity = registry.open_identity("keys/eu.pem", desk.base)
    opened = set()
    for entry in open_keys(sealed, memory_reader(blobs), identity).values():
        primitive = streaming_aead(tink, entry.key)
        source = io.BytesIO(blobs[entry.blob])
        with primitive.new_decrypting_stream(source, entry.associated_data) as plain:
            opened.add(plain.read())
    assert opened == set(FILES.values())


def chunk_aead(tink, key: bytes):
    """The primitive of a JSON keyset that holds one RAW AesGcmKey."""
    from tink import aead, json_proto_keyset_format, secret_key_access
    from tink.proto import aes_gcm_pb2

    aead.register()
    value = aes_gcm_pb2.AesGcmKey(key_value=key)
    keyset = {
        "primaryKeyId": 1,
        "key": [
            {
                "keyData": {
                    "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
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
    return handle.primitive(aead.Aead)


@pytest.mark.component
@pytest.mark.parametrize("size", [1, 4096, chunk.SIZE])
def test_a_chunk_is_tinks_both_ways(tink, size):
    data, key = random.Random(size).randbytes(size), chunk.new_key()
    ad, primitive = chunk.associated_data("eu"), chunk_aead(tink, key)
    made, out = bytearray(size + chunk.OVERHEAD), bytearray(size)
    chunk.seal_into(key, chunk.new_iv(), ad, memoryview(data), memoryview(made))
    assert primitive.decrypt(bytes(made), ad) == data
    theirs = primitive.encrypt(data, ad)
    digest = hashlib.sha256(theirs).digest()
    chunk.open_into(key, ad, memoryview(theirs), digest, memoryview(out))
    assert out == data
