"""RULES 34: what Python would run is found by every command, in whatever it lies; nothing crosses.

RULES 33: what is judged are the bytes that were signed. And a file that one command refuses as
damaged, all commands refuse.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sovgate.pipeline.decide import contents
from sovgate.stages import attest
from tests.crossing import Crossing, make_crossing

RUN = b"cos\nmkdir\n(S'sprung'\ntR."
FRONTS = {
    "plain": b"",
    "mark and pop": b"(0",
    "number in hex": b"I0x1\n0",
    "number in octal": b"I0o7\n0",
    "protocol": b"\x80\x04(0",
    "protocol of tomorrow": b"\x80\x06(0",
    "text of Python 2": b"U\x01\xff0",
    "extension": b"\x82\x010",
    "persistent id": b"Px\n0",
    "buffer": b"\x970",
    "a pickle before": b"N.",
}


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


def tar(mode: str, **members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as made:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(name.replace("_", "."), data)
    return out.getvalue()


def denied(crossing: Crossing, way: str) -> None:
    """By every command that asks about a model, and it is in no store."""
    where = ("--zone", "home", "--to", "eu")
    for error in (
        crossing.push(code=10)["error"],
        crossing.push("--dry-run", code=10)["error"],
        crossing.json("check", crossing.model, *where, code=10)["denies"][0],
        crossing.json(
            "release",
            crossing.model,
            *("--release", "churn/1.0.0", *where, "--dataset", "public"),
            code=10,
        )["error"],
    ):
        assert "no-pickles" in (error.get("reason"), error.get("rule"))
        assert way in str(error)
    assert crossing.objects("releases/") == crossing.objects("chunks/") == []


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_a_pickle_behind_other_bytes_is_one(front: bytes, tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project", {"weights.bin": front + RUN})
    assert list(crossing.json("sbom", crossing.model)["pickles"]) == ["weights.bin"]
    code, said = crossing.run("guard", crossing.model / "weights.bin")
    assert code == 10
    assert "loading it runs whatever program is in it" in said
    denied(crossing, "weights.bin")


def test_a_number_at_the_front_ends_no_look(tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project", {"model.pkl": b"GGUF12345" + RUN})
    code, said = crossing.run("guard", crossing.model / "model.pkl")
    assert code == 10
    assert "os.mkdir" in said
    denied(crossing, "model.pkl")


EVIL = pickle.dumps(Trap(), 4)
WAYS: dict[str, tuple[str, bytes, str]] = {
    "tar": ("model.tar", tar("w", model_pkl=EVIL), "model.tar > model.pkl"),
    "tar.gz": ("model.tar.gz", tar("w:gz", model_pkl=EVIL), "model.tar.gz > model.pkl"),
    "tar.bz2": ("model.tar.bz2", tar("w:bz2", model_pkl=EVIL), "model.tar.bz2 > model.pkl"),
    "tar.xz": ("m", tar("w:xz", weights_bin=EVIL), "m > weights.bin"),
    "innocent name": ("m.tar", tar("w", weights_bin=EVIL), "m.tar > weights.bin"),
    "stable-baselines3": ("ppo.zip", zipped(data=b"{}", policy_pth=EVIL), "ppo.zip > policy.pth"),
    "TorchServe": ("m.mar", zipped(MANIFEST_json=b"{}", model_pt=EVIL), "m.mar > model.pt"),
    "three deep": (
        "a.bin",
        zipped(b_bin=tar("w:gz", c_bin=zipped(d_bin=EVIL))),
        "a.bin > b.bin > c.bin > d.bin",
    ),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_pickle_in_what_tools_pack_is_found_and_the_way_to_it_named(
    way: tuple[str, bytes, str], tmp_path: Path
) -> None:
    name, data, shown = way
    crossing = make_crossing(tmp_path / "project", {name: data})
    assert list(crossing.json("sbom", crossing.model)["pickles"]) == [name]
    code, said = crossing.run("guard", crossing.model / name)
    assert code == 10
    assert shown in said
    denied(crossing, shown)


def test_packed_files_without_a_pickle_cross(tmp_path: Path) -> None:
    files = {
        "data.tar.gz": tar("w:gz", table_csv=b"class,count\ncat,1\n", notes_txt=b"Please read\n"),
        "assets.zip": zipped(a_json=b"{}", b_txt=b"cat\ndog\n"),
        "weights.bin": bytes(70_000),
    }
    crossing = make_crossing(tmp_path / "project", files)
    crossing.push()
    crossing.pull()


# --- damaged files ---
BROKEN = struct.pack("<Q", 2**63) + b"{}"


def commands(crossing: Crossing) -> dict[str, tuple[object, ...]]:
    model, key, where = crossing.model, ("--key", "keys/home.pem"), ("--zone", "home", "--to", "eu")
    release = ("--release", "churn/1.0.0")
    return {
        "sign": ("sign", model, *key),
        "record": ("record", model, "--dataset", "public", *key),
        "sbom": ("sbom", model),
        "check": ("check", model, *where),
        "encrypt": ("encrypt", model, "--to", "eu", "-o", "copy"),
        "push": ("push", model, *release, *where),
        "release": ("release", model, *release, *where, "--dataset", "public"),
    }


@pytest.mark.parametrize(
    "command", ["sign", "record", "sbom", "check", "encrypt", "push", "release"]
)
def test_a_damaged_file_is_refused_by_every_command(command: str, tmp_path: Path) -> None:
    from sovgate.keys import registry
    from sovgate.stages import inventory, sign

    crossing = make_crossing(tmp_path / "project")
    model = crossing.model
    shutil.rmtree(model)
    model.mkdir()
    (model / "model.safetensors").write_bytes(BROKEN)
    signer = registry.open_signer("keys/home.pem", crossing.base)
    attest.signature_path(model).write_bytes(sign.sign(inventory.take(model), signer))
    for path in attest.evidence_dir(model).glob("provenance-*"):
        path.unlink()
    before = sorted(path.name for path in crossing.base.rglob("*") if "audit" not in path.parts)
    found = crossing.json(*commands(crossing)[command], code=11)
    assert found["error"]["reason"] == "bad-header"
    assert "model.safetensors" in found["error"]["what"]
    after = sorted(path.name for path in crossing.base.rglob("*") if "audit" not in path.parts)
    assert [
        name
        for name in after
        if name not in before and name not in (".sovgate", ".gitignore", "release")
    ] == []


# --- RULES 33: the bytes that were signed ---
def swapped(crossing: Crossing) -> Path:
    """Signed is a pickle. What lies there has its size, and is none."""
    path = crossing.model / "weights.bin"
    path.write_bytes(bytes(path.stat().st_size))
    return path


def test_rule_33_other_bytes_than_those_signed_are_not_judged(tmp_path: Path) -> None:
    crossing = make_crossing(tmp_path / "project", {"weights.bin": RUN})
    swapped(crossing)
    error = crossing.json("check", crossing.model, "--zone", "home", "--to", "eu", code=11)["error"]
    assert error["reason"] == "digest-mismatch"
    assert crossing.push(code=11)


def test_rule_33_bytes_that_change_after_the_look_do_not_cross(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody puts the signed pickle back once policy has looked at something harmless."""
    crossing = make_crossing(tmp_path / "project", {"weights.bin": RUN})
    path = swapped(crossing)
    look: Callable[..., contents.Seen] = contents.look_into

    def then_swap(*arguments: object) -> contents.Seen:
        seen = look(*arguments)
        path.write_bytes(RUN)
        return seen

    monkeypatch.setattr(contents, "look_into", then_swap)
    assert crossing.push(code=11)["error"]["reason"] == "changed-while-reading"
    # The encrypted copy of that run is there still, and is not used without another look.
    swapped(crossing)
    assert crossing.push(code=11)["error"]["reason"] in ("changed-while-reading", "digest-mismatch")
    assert crossing.objects("releases/") == []
