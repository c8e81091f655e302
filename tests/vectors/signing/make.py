"""Makes the vectors of this folder anew: `python tests/vectors/signing/make.py`. Always the same.

Imports nothing of sovgate, so that the vectors are a second opinion. The keys are test keys, known
to the world: a private scalar each, and RFC 6979 signatures.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

HERE = Path(__file__).parent
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNER = ec.derive_private_key(int.from_bytes(hashlib.sha256(b"signer").digest()), ec.SECP256R1())
OTHER = ec.derive_private_key(int.from_bytes(hashlib.sha256(b"other").digest()), ec.SECP256R1())

MODEL = {
    "config.json": b'{"layers": 2}\n',
    "weights-extra.bin": b"",
    "weights/a.bin": bytes(range(256)),
    "été.txt": "été\n".encode(),
}
#: The same bytes in the same order under other names: the same OMS root, another model.
RENAMED = {name.replace("/a.bin", "/b.bin"): content for name, content in MODEL.items()}
ONE = {"w.bin": b"weights\n"}

MODEL_TYPE = "https://model_signing/signature/v1.0"
GATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
IGNORED = [".git", ".gitattributes", ".github", ".gitignore"]


def canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def resources(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "size": len(content),
            "algorithm": "sha256",
            "digest": hashlib.sha256(content).hexdigest(),
        }
        for name, content in files.items()
    ]


def statement(items: list[dict[str, Any]], **serialization_changes: Any) -> dict[str, Any]:
    root = hashlib.sha256(b"".join(bytes.fromhex(i["digest"]) for i in items)).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": root}}],
        "predicateType": MODEL_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": IGNORED,
                **serialization_changes,
            },
            "resources": items,
        },
    }


def bundle(
    payload: bytes, key: ec.EllipticCurvePrivateKey = SIGNER, *, high_s: bool = False
) -> dict[str, Any]:
    pae = b"DSSEv1 %d %s %d " % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload)) + payload
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    r, s = utils.decode_dss_signature(key.sign(pae, algorithm))
    s = max(s, ORDER - s) if high_s else min(s, ORDER - s)
    signature = utils.encode_dss_signature(r, s)
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(pem(key)).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
        },
    }


def changed(change: Callable[[dict[str, Any]], object], items: Any = None) -> bytes:
    """Our bundle over a payload that `change` was let at: signed, and wrong."""
    document = statement(items if items is not None else resources(MODEL))
    change(document)
    return canonical(bundle(canonical(document)))


def wrapped(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Our bundle, right but for what `change` did to it after it was signed."""
    document = bundle(canonical(statement(resources(MODEL))))
    change(document)
    return canonical(document)


def foreign(
    document: dict[str, Any],
    *,
    around: Callable[[dict[str, Any]], object] | None = None,
    **how: Any,
) -> bytes:
    """As model_signing spells it: indented payload, no sizes; `around` changes the bundle."""
    for item in document["predicate"].get("resources", []):
        item.pop("size", None)
    made = bundle(json.dumps(document, indent=2).encode(), **how)
    if around is not None:
        around(made)
    return json.dumps(made).encode()


def in_shards(size: int, *, drop: str = "", add: str = "", edit: str = "=") -> bytes:
    """The model in shards, without its empty file; one dropped, added, or renamed "old=new"."""
    names = [
        f"{name}:{start}:{min(start + size, len(content))}"
        for name, content in MODEL.items()
        for start in range(0, len(content), size)
    ]
    names = [name for name in names if name != drop] + ([add] if add else [])
    items = []
    for name in sorted(names, key=lambda n: (n.rsplit(":", 2)[0], int(n.split(":")[-2]))):
        file, start, end = name.rsplit(":", 2)
        digest = hashlib.sha256(MODEL[file][int(start) : int(end)]).hexdigest()
        old, new = edit.split("=")
        items.append({"name": name.replace(old, new), "algorithm": "sha256", "digest": digest})
    return foreign(statement(items, method="shards", shard_size=size))


def by_parts(files: dict[str, bytes]) -> dict[str, bytes]:
    """In the order of model_signing up to 1.1.1, and ours before: by path components."""
    return dict(sorted(files.items(), key=lambda item: item[0].split("/")))


def stray(data: bytes) -> bytes:
    """Sets a bit that base64 does not use, in the signature's last letter before its padding."""
    at = data.index(b'"sig":"') + 7
    end = data.index(b'"', at)
    last = data.rindex(data[at:end].rstrip(b"=")[-1:], at, end)
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert data[end - 1 : end] == b"="
    return data[:last] + bytes([letters[letters.index(data[last]) + 1]]) + data[last + 1 :]


def named(*names: str) -> bytes:
    return changed(lambda _: None, resources(dict.fromkeys(names, b"x")))


def cases() -> dict[str, tuple[str, bytes, str]]:
    """name -> (model, bundle, reason; "" where it verifies)."""
    logs = b'"tlogEntries":[]'
    good = canonical(bundle(canonical(statement(resources(MODEL)))))
    whole = resources({".": ONE["w.bin"]})
    gate = statement(resources(MODEL)) | {"predicateType": GATE_TYPE}
    deep = b'{"a":' * 100 + b"1" + b"}" * 100
    return {
        "ours": ("model", good, ""),
        "foreign": ("model", foreign(statement(resources(MODEL))), ""),
        "foreign-high-s": ("model", foreign(statement(resources(MODEL)), high_s=True), ""),
        "file": ("one/w.bin", canonical(bundle(canonical(statement(whole)))), ""),
        # What the specification lets other tools write (OMS v1.0, 4.1, 6.1.2, 11; VERSIONING)
        "foreign-keyid-null": (
            "model",
            foreign(
                statement(resources(MODEL)),
                around=lambda d: d["dsseEnvelope"]["signatures"][0].update(keyid=None),
            ),
            "",
        ),
        "foreign-media-type": (
            "model",
            foreign(
                statement(resources(MODEL)),
                around=lambda d: d.update(
                    mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"
                ),
            ),
            "",
        ),
        "foreign-v1.1": (
            "model",
            foreign(statement(resources(MODEL)) | {"predicateType": MODEL_TYPE[:-1] + "1"}),
            "",
        ),
        "foreign-v2.0": (
            "model",
            foreign(statement(resources(MODEL)) | {"predicateType": MODEL_TYPE[:-3] + "2.0"}),
            "unknown-predicate",
        ),
        "foreign-order": ("model", foreign(statement(resources(by_parts(MODEL)))), ""),
        "ours-older-order": (
            "model",
            canonical(bundle(canonical(statement(resources(by_parts(MODEL)))))),
            "",
        ),
        "foreign-file-by-basename": ("one/w.bin", foreign(statement(resources(ONE))), ""),
        "foreign-file-by-another-name": (
            "one/w.bin",
            foreign(statement(resources({"v.bin": ONE["w.bin"]}))),
            "wrong-kind",
        ),
        "foreign-shards": ("shards", in_shards(100), ""),
        "foreign-shards-one-each": ("shards", in_shards(1000), ""),
        "foreign-shards-empty-file": ("model", in_shards(100), "extra-file"),
        "foreign-shards-gap": (
            "shards",
            in_shards(100, drop="weights/a.bin:100:200"),
            "shard-ranges",
        ),
        "foreign-shards-no-start": (
            "shards",
            in_shards(100, drop="weights/a.bin:0:100"),
            "shard-ranges",
        ),
        "foreign-shards-no-end": (
            "shards",
            in_shards(100, drop="weights/a.bin:200:256"),
            "changed-file",
        ),
        "foreign-shards-twice": (
            "shards",
            in_shards(100, add="weights/a.bin:100:200"),
            "shard-ranges",
        ),
        "foreign-shards-overlap": (
            "shards",
            in_shards(100, add="weights/a.bin:150:250"),
            "shard-ranges",
        ),
        "foreign-shards-beyond": (
            "shards",
            in_shards(100, edit=":200:256=:200:300"),
            "changed-file",
        ),
        "foreign-shards-leading-zero": (
            "shards",
            in_shards(100, edit=":100:200=:0100:200"),
            "shard-ranges",
        ),
        "foreign-shards-no-range": ("shards", in_shards(100, edit=":0:14="), "shard-ranges"),
        "certificate-without-log": (
            "model",
            foreign(
                statement(resources(MODEL)),
                around=lambda d: d.update(
                    verificationMaterial={"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []}
                ),
            ),
            "no-log-entry",
        ),
        # RULES 1: the root names no names and no kind
        "renamed-file-same-root": ("renamed", good, "missing-file"),
        "file-for-directory": ("one", canonical(bundle(canonical(statement(whole)))), "wrong-kind"),
        "directory-for-file": (
            "one/w.bin",
            canonical(bundle(canonical(statement(resources(ONE))))),
            "wrong-kind",
        ),
        "other-size": (
            "model",
            changed(lambda d: d["predicate"]["resources"][0].update(size=1)),
            "changed-file",
        ),
        "other-digest": (
            "model",
            changed(lambda _: None, resources(MODEL | {"config.json": b'{"layers": 3}\n'})),
            "changed-file",
        ),
        "extra-file": (
            "model",
            changed(lambda _: None, resources(dict(list(MODEL.items())[:3]))),
            "extra-file",
        ),
        # RULES 2
        "ignored-path": (
            "model",
            changed(
                lambda d: d["predicate"]["serialization"].update(
                    ignore_paths=[*IGNORED, "été.txt"]
                ),
                resources(dict(list(MODEL.items())[:3])),
            ),
            "ignored-paths",
        ),
        "ignored-folder": (
            "model",
            changed(
                lambda d: d["predicate"]["serialization"].update(
                    ignore_paths=[*IGNORED, "./weights/"]
                ),
                resources({k: v for k, v in MODEL.items() if "/" not in k}),
            ),
            "ignored-paths",
        ),
        "ignored-path-not-there": (
            "model",
            changed(
                lambda d: d["predicate"]["serialization"].update(
                    ignore_paths=[*IGNORED, "a", "../model/config.json", "/etc", ".", "*"]
                )
            ),
            "",
        ),
        "ignored-path-that-is-signed": (
            "model",
            changed(
                lambda d: d["predicate"]["serialization"].update(ignore_paths=["weights"]),
                resources(MODEL | {"weights/a.bin": b"x"}),
            ),
            "changed-file",
        ),
        # RULES 3: JSON, base64, roles
        "duplicate-key": (
            "model",
            good.replace(b'"keyid":""', b'"keyid":"","keyid":""'),
            "malformed",
        ),
        "duplicate-key-in-payload": (
            "model",
            canonical(
                bundle(
                    canonical(statement(resources(MODEL))).replace(
                        b'"method"', b'"method":"none","method"'
                    )
                )
            ),
            "malformed",
        ),
        "stray-base64-bits": ("model", stray(good), "malformed"),
        "base64-without-padding": ("model", good.replace(b'="}]', b'"}]'), "malformed"),
        "not-a-number": ("model", good.replace(logs, logs[:-1] + b"NaN]"), "malformed"),
        "large-integer": (
            "model",
            good.replace(logs, logs[:-1] + b"9007199254740992]"),
            "malformed",
        ),
        "deep": ("model", good.replace(logs, logs[:-1] + deep + b"]"), "malformed"),
        "trailing-newline": ("model", good + b"\n", "not-canonical"),
        "log-entry-added": (
            "model",
            wrapped(lambda d: d["verificationMaterial"].update(tlogEntries=[{}])),
            "not-canonical",
        ),
        "unknown-field": ("model", wrapped(lambda d: d.update(extra=1)), "malformed"),
        "other-media-type": (
            "model",
            wrapped(lambda d: d.update(mediaType="application/json")),
            "malformed",
        ),
        "other-payload-type": (
            "model",
            wrapped(lambda d: d["dsseEnvelope"].update(payloadType="text/plain")),
            "malformed",
        ),
        "gate-as-signature": ("model", canonical(bundle(canonical(gate))), "wrong-role"),
        "unknown-predicate": (
            "model",
            changed(lambda d: d.update(predicateType="https://example.com/x/v1")),
            "unknown-predicate",
        ),
        "two-subjects": (
            "model",
            changed(lambda d: d["subject"].append(d["subject"][0])),
            "malformed",
        ),
        "upper-case-digest": (
            "model",
            changed(lambda d: d["predicate"]["resources"][0].update(digest="AB" * 32)),
            "malformed",
        ),
        "root-of-other-resources": (
            "model",
            changed(lambda d: d["subject"][0]["digest"].update(sha256="ab" * 32)),
            "root-mismatch",
        ),
        "shards-without-size": (
            "model",
            changed(lambda d: d["predicate"]["serialization"].update(method="shards")),
            "malformed",
        ),
        "shard-size-without-shards": (
            "model",
            changed(lambda d: d["predicate"]["serialization"].update(shard_size=10)),
            "unsupported-serialization",
        ),
        "other-method": (
            "model",
            changed(lambda d: d["predicate"]["serialization"].update(method="zip")),
            "unsupported-serialization",
        ),
        # RULES 4: names and order
        "resource-order": ("model", named("a-b", "b", "a/c"), "resource-order"),
        "duplicate-resource": (
            "model",
            changed(lambda _: None, resources({"a": b""}) * 2),
            "duplicate-resource",
        ),
        "no-resource": ("model", named(), "empty-model"),
        "name-dot-dot": ("model", named("../a"), "unsafe-name"),
        "name-inner-dot-dot": ("model", named("a/../b"), "unsafe-name"),
        "name-absolute": ("model", named("/etc/passwd"), "unsafe-name"),
        "name-backslash": ("model", named("a\\b"), "unsafe-name"),
        "name-colon": ("model", named("C:a"), "unsafe-name"),
        "name-control": ("model", named("a\x1b[2J"), "unsafe-name"),
        "name-reserved": ("model", named("nul.txt"), "unsafe-name"),
        "name-case-collision": ("model", named("README", "readme"), "unsafe-name"),
        "name-nfc-collision": ("model", named("e\u0301", "é"), "unsafe-name"),
        "name-dot-among-others": ("model", named(".", "a"), "unsafe-name"),
        # RULES 5: signatures and hints
        "two-signatures": (
            "model",
            wrapped(lambda d: d["dsseEnvelope"]["signatures"].append({"keyid": "", "sig": "AA=="})),
            "signature-count",
        ),
        "no-signature": (
            "model",
            wrapped(lambda d: d["dsseEnvelope"].update(signatures=[])),
            "signature-count",
        ),
        "high-s": (
            "model",
            canonical(bundle(canonical(statement(resources(MODEL))), high_s=True)),
            "high-s",
        ),
        "other-signer": (
            "model",
            canonical(bundle(canonical(statement(resources(MODEL))), OTHER)),
            "wrong-signer",
        ),
        "other-signer-under-our-hint": (
            "model",
            canonical(
                bundle(canonical(statement(resources(MODEL))), OTHER)
                | {"verificationMaterial": bundle(b"")["verificationMaterial"]}
            ),
            "bad-signature",
        ),
        "our-signature-under-other-hint": (
            "model",
            canonical(
                bundle(canonical(statement(resources(MODEL))))
                | {"verificationMaterial": bundle(b"", OTHER)["verificationMaterial"]}
            ),
            "wrong-hint",
        ),
        "payload-changed": (
            "model",
            wrapped(
                lambda d: d["dsseEnvelope"].update(
                    payload=base64.b64encode(canonical(statement(resources(RENAMED)))).decode()
                )
            ),
            "bad-signature",
        ),
    }


def write(folder: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = HERE / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    for folder in ("model", "renamed", "one", "shards", "bundles"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    write("model", MODEL)
    write("renamed", RENAMED)
    write("one", ONE)
    write("shards", {name: content for name, content in MODEL.items() if content})
    manifest = canonical(
        {
            "format": "sovgate.manifest/v0",
            "kind": "directory",
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources(MODEL),
        }
    )
    found = cases()
    write(".", {"signer.pub.pem": pem(SIGNER), "manifest.json": manifest})
    write(".", {"payload.json": canonical(statement(resources(MODEL)))})
    write("bundles", {f"{name}.sigstore.json": data for name, (_, data, _) in found.items()})
    index = {
        "manifest-sha256": hashlib.sha256(manifest).hexdigest(),
        "key-id": hashlib.sha256(
            SIGNER.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ).hexdigest(),
        "cases": [
            {"name": name, "model": model, "exit": 11 if reason else 0, "reason": reason or None}
            for name, (model, _, reason) in found.items()
        ],
    }
    (HERE / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
