"""What others verify of what each kind of key signed: by their own programs, and no changed one."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from sovgate import notices
from sovgate.formats.spki import hash_name
from sovgate.keys import registry
from sovgate.stages import inventory
from sovgate.stages.sign import sign
from tests import components, forked
from tests.components import ModelSigning
from tests.conformance.keys import ADAPTERS, Keys, keys_of

pytestmark = pytest.mark.component


#: moto hashes a digest again that it is to sign: what it gives is refused (moto_keys.py).
SOUND = sorted(set(ADAPTERS) - {"awskms-moto"})


@pytest.fixture(params=SOUND)
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return keys_of(request.param, tmp_path_factory)


@pytest.mark.parametrize("curve", ["ec-p256", "ec-p384"])
def test_model_signing_and_openssl_verify_what_a_key_signed(
    keys: Keys, curve: str, tmp_path: Path, model_signing: ModelSigning
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(bytes(1000))
    with notices.listening(lambda _: None):
        signer = registry.open_signer(keys.sign[curve][0], keys.base, keys.region)
        bundle = sign(inventory.take(model), signer)
    (tmp_path / "k.pub.pem").write_bytes(signer.public_key.pem)
    (tmp_path / "model.sig").write_bytes(bundle)

    def peer() -> bool:
        done = forked.MODEL_SIGNING.at(model_signing.python).run(
            *("verify", "key", model, "--signature", tmp_path / "model.sig"),
            *("--public_key", tmp_path / "k.pub.pem"),
        )
        return done.returncode == 0

    assert peer()
    (model / "weights.bin").write_bytes(bytes(999))
    assert not peer()

    envelope = json.loads(bundle)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    components.found(components.program, "openssl", get="apt-get install openssl")
    words = ["openssl", "dgst", f"-{hash_name(signer.public_key.algorithm)}"]
    words += ["-verify", "k.pub.pem", "-signature", "sig"]
    for data, code in ((signed, 0), (signed + b"\n", 1)):
        done = subprocess.run(words, input=data, cwd=tmp_path, check=False, capture_output=True)
        assert done.returncode == code, done.stdout
