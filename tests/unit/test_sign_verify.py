"""A model is signed and verified; whatever is done to it in between is refused, with its reason."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sovgate.errors import Inconclusive, SovgateError, UsageError, VerificationFailed
from sovgate.formats.oms import Oms, root_of
from sovgate.formats.statement import Statement
from sovgate.stages import attest, hashing, inventory, verify
from sovgate.stages.inventory import Scope
from sovgate.stages.seal import seal
from sovgate.stages.sign import sign
from tests import components
from tests.effort import examples
from tests.signers import KeySigner

SIGNER = KeySigner()
TRUSTED = [SIGNER.trusted("signature")]
FILES = {"config.json": b"{}", "weights/a.bin": b"\0" * 3000, "weights/b.bin": b"b", "é": b""}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make(tmp_path / "churn")


def make(root: Path, files: dict[str, bytes] | None = None) -> Path:
    for name, content in (FILES if files is None else files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def signed(model: Path, signer: KeySigner = SIGNER) -> bytes:
    return sign(inventory.take(model, strict_git=True), signer)


def reason(model: Path, bundle: bytes, **more: object) -> str:
    with pytest.raises(VerificationFailed) as caught:
        verify.verify_model(model, bundle, TRUSTED, **more)  # type: ignore[arg-type]
    error = caught.value
    assert error.fix or error.why or error.reason == "malformed"
    return error.reason


def test_what_was_signed_verifies_and_tells_its_identity(model: Path) -> None:
    bundle = signed(model)
    verified = verify.verify_model(model, bundle, TRUSTED)
    assert verified.manifest == inventory.take(model).manifest
    assert verified.manifest == verify.model_manifest(bundle, TRUSTED)
    assert verified.signer.name == "ci"
    assert verified.signature.sha256 == hashlib.sha256(bundle).hexdigest()
    assert [r.name for r in verified.manifest.resources] == sorted(
        FILES, key=lambda n: n.split("/")
    )


def test_a_single_file_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"weights")
    bundle = signed(tmp_path / "w.bin")
    verified = verify.verify_model(tmp_path / "w.bin", bundle, TRUSTED)
    assert verified.manifest.kind == "file"
    (tmp_path / "w.bin").write_bytes(b"weightz")
    assert reason(tmp_path / "w.bin", bundle) == "changed-file"


def test_the_name_of_the_folder_may_change(model: Path) -> None:
    bundle = signed(model)
    assert verify.verify_model(model.rename(model.parent / "other"), bundle, TRUSTED)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: (m / "weights/b.bin").write_bytes(b"c"), "changed-file"),
        (lambda m: (m / "weights/b.bin").write_bytes(b"bb"), "changed-file"),
        (lambda m: (m / "weights/a.bin").write_bytes(b"\0" * 2999), "changed-file"),
        (lambda m: (m / "extra").write_bytes(b""), "extra-file"),
        (lambda m: (m / "é").unlink(), "missing-file"),
        (lambda m: (m / "é").rename(m / "f"), "missing-file"),
        (lambda m: (m / "weights").rename(m / "w"), "missing-file"),
        (lambda m: (m / "link").symlink_to("config.json"), "not-regular"),
        (lambda m: (m / "link").symlink_to("/etc"), "not-regular"),
        (lambda m: os.mkfifo(m / "pipe"), "not-regular"),
        (lambda m: (m / "a:b").write_bytes(b""), "unsafe-name"),
        (lambda m: (m / "CONFIG.json").write_bytes(b""), "unsafe-name"),
    ],
)
def test_rule_04_extra_missing_changed_and_irregular_files_are_refused(
    model: Path, change: Callable[[Path], object], expected: str
) -> None:
    bundle = signed(model)
    change(model)
    assert reason(model, bundle) == expected


def test_the_first_differences_are_named(model: Path) -> None:
    bundle = signed(model)
    for n in range(9):
        (model / f"new{n}").write_bytes(b"")
    (model / "é").unlink()
    with pytest.raises(VerificationFailed) as caught:
        verify.verify_model(model, bundle, TRUSTED)
    error = caught.value
    assert error.why == "files: 1 missing, 9 not signed"
    assert error.details[0] == "missing: 'é'"
    assert error.details[1] == "not signed: 'new0'"
    assert error.details[-2] == "not signed: 4 more"


def test_rule_01_same_oms_root_but_other_names_is_another_model(tmp_path: Path) -> None:
    first = make(tmp_path / "1", {"a": b"x", "b": b"y"})
    second = make(tmp_path / "2", {"a": b"x", "c": b"y"})
    one, two = (verify.open_signature(signed(m), TRUSTED) for m in (first, second))
    assert one.oms.root == two.oms.root
    assert inventory.take(first).manifest.digest != inventory.take(second).manifest.digest
    assert reason(second, signed(first)) == "missing-file"


def test_rule_01_a_one_file_directory_is_not_that_file(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", {"w.bin": b"w"})
    whole, inside = signed(folder / "w.bin"), signed(folder)
    assert reason(folder, whole) == "wrong-kind"
    assert reason(folder / "w.bin", inside) == "wrong-kind"


def test_rule_02_git_names_are_left_out_at_the_root_alone(model: Path) -> None:
    bundle = signed(model)
    make(model, {".git/config": b"x", ".gitattributes": b"", ".github/w.yml": b""})
    assert verify.verify_model(model, bundle, TRUSTED)
    make(model, {"weights/.git/config": b""})
    assert reason(model, bundle) == "extra-file"


@pytest.mark.parametrize(
    "name", ["a/.git/config", "a/.gitmodules", ".gitmodules", "a/.GIT/hooks/x"]
)
def test_rule_02_deeper_git_names_are_refused_at_sign_and_accepted_by_plain_verify(
    model: Path, name: str
) -> None:
    make(model, {name: b""})
    with pytest.raises(VerificationFailed) as caught:
        signed(model)
    assert caught.value.reason == "git-name"
    taken = inventory.take(model)
    with pytest.raises(VerificationFailed):
        sign(taken, SIGNER)
    foreign = seal(Oms.of(taken.manifest, subject_name="m").statement(), SIGNER)
    assert verify.verify_model(model, foreign, TRUSTED)
    assert reason(model, foreign, scope=Scope(strict_git=True)) == "git-name"


def test_rule_02_a_listed_git_name_at_the_root_is_verified_like_any_other(model: Path) -> None:
    """Another tool may sign it, and then it counts."""
    make(model, {".gitattributes": b"x"})
    survey = inventory.survey(model, skip=frozenset())
    oms = Oms.of(inventory.read(survey).manifest, subject_name="m")
    foreign = seal(oms.statement(), SIGNER)
    assert verify.verify_model(model, foreign, TRUSTED)
    (model / ".gitattributes").write_bytes(b"y")
    assert reason(model, foreign) == "changed-file"


def test_rule_02_signed_ignore_paths_are_refused_unless_allowed(model: Path) -> None:
    make(model, {"cache/x": b"", "cachet": b"1"})
    full = inventory.take(model).manifest
    kept = tuple(r for r in full.resources if not r.name.startswith("cache/"))
    manifest = type(full)(kind="directory", resources=kept)
    bundle = seal(Oms.of(manifest, subject_name="m", ignored=("cache",)).statement(), SIGNER)
    assert reason(model, bundle) == "ignored-paths"
    allowed = verify.verify_model(model, bundle, TRUSTED, scope=Scope(ignore=("cache",)))
    assert allowed.manifest == manifest
    (model / "cachet").write_bytes(b"2")
    assert reason(model, bundle, scope=Scope(ignore=("cache",))) == "changed-file"


def test_rule_02_a_signature_inside_the_model_is_left_out_and_nothing_else_is(model: Path) -> None:
    place = model / "weights" / "model.sig"
    bundle = sign(inventory.take(model, signature=place), SIGNER)
    place.write_bytes(bundle)
    assert verify.verify_model(model, bundle, TRUSTED, Scope(signature=place))
    assert reason(model, bundle) == "ignored-paths"
    elsewhere = model.parent / "model.sig"
    elsewhere.write_bytes(bundle)
    assert reason(model, bundle, scope=Scope(signature=elsewhere)) == "ignored-paths"
    place.unlink()
    assert verify.verify_model(model, bundle, TRUSTED, Scope(signature=elsewhere))


def test_rule_02_a_signature_path_does_not_hide_a_listed_file(model: Path) -> None:
    bundle = signed(model)
    scope = Scope(signature=model / "config.json")
    assert reason(model, bundle, scope=scope) == "missing-file"


def test_rule_04_an_empty_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m" / "only" / "folders").mkdir(parents=True)
    with pytest.raises(VerificationFailed) as caught:
        inventory.take(tmp_path / "m")
    assert caught.value.reason == "empty-model"


def test_rule_04_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(VerificationFailed) as caught:
        inventory.take(tmp_path / "m")
    assert caught.value.reason == "unsafe-name"


def test_rule_04_the_model_itself_may_be_reached_through_a_link(model: Path) -> None:
    link = model.parent / "latest"
    link.symlink_to(model)
    assert inventory.take(link).root == model.resolve()
    assert attest.evidence_dir(link) == model.parent.resolve() / "latest.evidence"
    assert attest.folders_of(link).others == (model.parent.resolve() / "churn.evidence",)


def test_rule_06_a_signer_of_another_role_signs_no_model(model: Path) -> None:
    with pytest.raises(VerificationFailed) as caught:
        verify.verify_model(model, signed(model), [SIGNER.trusted("gate", "sbom")])
    assert caught.value.reason == "untrusted-role"


def test_a_wrong_signer_is_refused(model: Path) -> None:
    assert reason(model, signed(model, KeySigner())) == "wrong-signer"


def test_a_missing_model_is_a_matter_of_the_command_line(tmp_path: Path) -> None:
    for path in (tmp_path / "no", tmp_path / "no" / "deeper"):
        with pytest.raises(UsageError) as caught:
            inventory.take(path)
        assert caught.value.reason == "missing-path"


def test_rule_04_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    model = make(tmp_path / "m", {"a": b"\0" * (3 * hashing.CHUNK)})

    def tamper(_: int) -> None:
        with (model / "a").open("r+b") as file:
            file.write(b"x")

    with pytest.raises(VerificationFailed) as caught:
        inventory.take(model, advance=tamper)
    assert caught.value.reason == "changed-while-reading"


@pytest.mark.parametrize("how", ["grow", "shrink", "vanish", "link", "folder"])
def test_rule_04_what_changes_between_listing_and_reading_is_refused(
    tmp_path: Path, how: str
) -> None:
    model = make(tmp_path / "m", {"a/x": b"1234", "b": b"5"})
    found = inventory.survey(model)
    victim = model / "a" / "x"
    if how == "grow":
        victim.write_bytes(b"12345")
    elif how == "shrink":
        victim.write_bytes(b"123")
    elif how == "folder":
        (model / "a").rename(tmp_path / "elsewhere")
        (model / "a").symlink_to(tmp_path / "elsewhere")
    else:
        victim.unlink()
        if how == "link":
            victim.symlink_to(model / "b")
    with pytest.raises(VerificationFailed) as caught:
        inventory.read(found)
    assert caught.value.reason == ("not-regular" if how == "link" else "changed-while-reading")


def test_threads_and_one_thread_agree_and_progress_adds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"d{n % 7}/f{n}": os.urandom(n * 37) for n in range(600)}
    files |= {f"big{n}": os.urandom(9 * hashing.CHUNK + n) for n in range(3)}
    model = make(tmp_path / "m", files)
    lock, done, totals = threading.Lock(), [0], []

    def advance(count: int) -> None:
        with lock:
            done[0] += count

    many = inventory.take(model, advance=advance, total=totals.append)
    assert totals == done == [sum(map(len, files.values()))]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert inventory.take(model) == many
    for resource in many.manifest.resources:
        assert resource.digest == hashlib.sha256(files[resource.name]).hexdigest()


def test_an_error_in_one_thread_stops_the_others(tmp_path: Path) -> None:
    model = make(tmp_path / "m", {f"f{n}": b"\0" * 9 * hashing.CHUNK for n in range(6)})
    found = inventory.survey(model)
    (model / "f0").unlink()
    done: list[int] = []
    with pytest.raises(VerificationFailed):
        inventory.read(found, advance=done.append)
    assert sum(done) < 6 * 9 * hashing.CHUNK
    assert threading.active_count() == 1


@pytest.mark.parametrize("algorithm", ["blake2b", "blake3"])
def test_foreign_digests_are_checked_and_the_identity_is_sha256(
    model: Path, algorithm: str
) -> None:
    if algorithm == "blake3":
        components.found(components.package, "blake3")
    taken = inventory.read(inventory.survey(model), algorithm=algorithm)
    oms = Oms.of(taken.manifest, subject_name="m")
    foreign = Oms(
        subject_name="m",
        kind=oms.kind,
        algorithm=algorithm,  # type: ignore[arg-type]
        items=tuple(
            type(i)(name=i.name, digest=taken.foreign[i.name], size=None) for i in oms.items
        ),
        ignore_paths=oms.ignore_paths,
        root=root_of(taken.foreign[item.name] for item in oms.items),
    )
    bundle = seal(foreign.statement(), SIGNER)
    assert verify.model_manifest(bundle, TRUSTED) is None
    assert verify.verify_model(model, bundle, TRUSTED).manifest == taken.manifest
    (model / "weights/b.bin").write_bytes(b"c")
    assert reason(model, bundle) == "changed-file"


def test_blake3_without_its_package_could_not_be_checked(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "blake3", None)
    with pytest.raises(Inconclusive) as caught:
        inventory.read(inventory.survey(model), algorithm="blake3")
    assert caught.value.fix and "pip install blake3" in caught.value.fix


TINY = {"a": b"12", "b/c": b"3"}


@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_rule_02_any_changed_byte_of_a_small_model_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    model = make(tmp_path_factory.mktemp("m") / "m", TINY)
    bundle = signed(model)
    name = data.draw(st.sampled_from(sorted(TINY)))
    content = TINY[name]
    at = data.draw(st.integers(0, len(content) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    changed = data.draw(
        st.sampled_from(
            [
                content[:at] + byte + content[at + 1 :],
                content[:at] + byte + content[at:],
                content[:at] + content[at + 1 :],
                content[:at],
            ]
        )
    )
    (model / name).write_bytes(changed)
    if changed == content:
        verify.verify_model(model, bundle, TRUSTED)
    else:
        assert reason(model, bundle) == "changed-file"


def test_any_flipped_byte_of_a_model_bundle_is_refused(tmp_path: Path) -> None:
    model = make(tmp_path / "m", TINY)
    bundle = signed(model)
    for at in range(len(bundle)):
        for changed in (
            bundle[:at] + bytes([bundle[at] ^ 1]) + bundle[at + 1 :],
            bundle[:at] + bundle[at + 1 :],
            bundle[:at],
            bundle[:at] + b" " + bundle[at:],
        ):
            if changed != bundle:
                assert reason(model, changed) in {
                    "malformed",
                    "not-canonical",
                    "bad-signature",
                    "wrong-signer",
                    "wrong-hint",
                }


def test_random_positions_in_a_large_file_are_noticed(tmp_path: Path) -> None:
    model = make(tmp_path / "m", {"w": os.urandom(40 * 1024 * 1024 + 3)})
    bundle = signed(model)
    size = (model / "w").stat().st_size
    for at in (0, size - 1, hashing.CHUNK - 1, hashing.CHUNK, *(7919 * n for n in range(3))):
        with (model / "w").open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x40]))
            file.flush()
            assert reason(model, bundle) == "changed-file"
            file.seek(at)
            file.write(byte)
    assert verify.verify_model(model, bundle, TRUSTED)


def test_evidence_is_added_once_and_never_changed(model: Path) -> None:
    folder = attest.evidence_dir(model)
    assert attest.read(folder) == ()
    data = signed(model)
    path = attest.add(folder, "signature", data)
    digest = hashlib.sha256(data).hexdigest()
    assert path.name == f"signature-{digest[:16]}.sigstore.json"
    assert attest.add(folder, "signature", data) == path
    assert [(e.name, e.data, e.sha256) for e in attest.read(folder)] == [(path.name, data, digest)]
    path.write_bytes(b"damaged")
    with pytest.raises(VerificationFailed) as caught:
        attest.add(folder, "signature", data)
    assert caught.value.reason == "evidence-exists"
    assert path.read_bytes() == b"damaged"
    with pytest.raises(UsageError):
        attest.add(folder, "../x", data)


def test_unsigned_evidence_lies_apart_and_is_a_complete_statement(model: Path) -> None:
    folder = attest.evidence_dir(model)
    payload = Statement(
        subject_name="m",
        subject_sha256="ab" * 32,
        predicate_type="https://cyclonedx.org/bom",
        predicate={},
    ).payload()
    path = attest.add_unsigned(folder, "sbom", payload)
    assert path.parent.name == "unsigned"
    assert attest.read(folder) == ()
    assert [e.data for e in attest.read_unsigned(folder)] == [payload]
    with pytest.raises(VerificationFailed):
        attest.add_unsigned(folder, "sbom", b"{}")


def test_hostile_evidence_folders_are_refused(model: Path) -> None:
    folder = attest.evidence_dir(model)
    folder.mkdir()
    (folder / "notes.txt").write_text("ignored")
    (folder / "x.sigstore.json").symlink_to("/etc/passwd")
    with pytest.raises(VerificationFailed) as caught:
        attest.read(folder)
    assert caught.value.reason == "unsafe-link"


def test_errors_are_ours(tmp_path: Path) -> None:
    for bundle in (b"", b"{}", json.dumps({"a": 1}).encode()):
        with pytest.raises(SovgateError):
            verify.verify_model(tmp_path, bundle, TRUSTED)
