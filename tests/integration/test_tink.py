"""Our chunks are Tink's: tink-py opens what we encrypt, and we open what it does."""

from __future__ import annotations

import base64
import hashlib
import json
import random

import pytest

from sovgate.formats import chunk
from tests.sealing import FILES, make_desk, objects


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


@pytest.mark.component
def test_tink_opens_each_chunk_of_a_whole_copy_with_the_key_from_its_table(tink, tmp_path):
    desk = make_desk(tmp_path / "desk")
    sealed = desk.seal(tmp_path / "out", "eu")["eu"]
    (opened,) = desk.keys(sealed, tmp_path / "out" / "eu")
    found, ad = objects(tmp_path / "out" / "eu"), chunk.associated_data("eu")
    plain = b"".join(
        chunk_aead(tink, key).decrypt(found[digest.hex()].read_bytes(), ad)
        for digest, key in zip(opened.digests, opened.keys, strict=True)
    )
    contents = dict.fromkeys(data for data in FILES.values() if data)
    assert len(plain) == sum(map(len, contents))
    assert all(data in plain for data in contents)
