"""sign: read the model once, sign its manifest, write the bundle where `verify` looks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sovgate.errors import UsageError, VerificationFailed
from sovgate.files import atomic_write, read_bounded
from sovgate.formats import foreign, leftovers
from sovgate.formats.manifest import Manifest
from sovgate.formats.oms import root_of
from sovgate.pipeline import key_option
from sovgate.pipeline.decide.admission import admit
from sovgate.pipeline.places import evidence_of, reads_model
from sovgate.pipeline.project import nearest_project
from sovgate.records import DEFAULTS, Options, Sized
from sovgate.stages import attest, former, inventory
from sovgate.stages.former import NOTHING, Moved
from sovgate.stages.sign import sign as sign_inventory
from sovgate.strict import MAX_BYTES

if TYPE_CHECKING:
    from sovgate.formats.keyless import Logged
    from sovgate.keys._api import Signer


@dataclass(frozen=True, kw_only=True)
class SignedBy:
    """The key, and of a signature without a key that stays what was shown of it."""

    key_id: str
    algorithm: str
    keyless: Logged | None = None


@dataclass(frozen=True, kw_only=True)
class Signed:
    """`path` is the bundle; `replaced` tells whether an older one stood there.

    `left_out` are leftovers of tools in the model's folder, which are no part of it.
    `moved`: evidence of what the model was before, and of what it is again.

    `oms_root` is what other OMS tools know the signature by; it identifies no model (RULES 1).
    """

    model: Path
    manifest: Manifest
    oms_root: str
    path: Path
    signature: Sized
    by: SignedBy
    replaced: bool
    left_out: tuple[str, ...] = ()
    moved: Moved = NOTHING


@reads_model
def sign(
    model: Path,
    *,
    key: str | None = None,
    zone: str | None = None,
    signature: Path | None = None,
    options: Options = DEFAULTS,
) -> Signed:
    """Sign `model` with a key URI, or with the `sign` key of a zone of the project.

    The key is opened before the model is read, so that a wrong one costs no minutes.
    Raises UsageError, ConfigError, VerificationFailed (a model that may not be signed),
    PolicyDenied (a secret in it),
    KeyServiceError, DiskError. Nothing is written unless all went well.
    """
    from sovgate.keys._api import Sealer

    options.refuse_dry_run("sign")
    signer = _signer(key, zone, options.project)
    opened = nearest_project(options.project)
    folders = evidence_of(model, options, opened)
    path = folders.folder / attest.SIGNATURE if signature is None else signature
    if isinstance(signer, Sealer):
        signer.prepare()
    replaced = _older_bundle(path)
    inspected = admit(model, opened, signature=path)
    taken = inventory.take(
        model,
        advance=options.progress,
        total=options.expect,
        signature=path,
        strict_git=True,
        looked=inspected.looked,
    )
    data = sign_inventory(taken, signer)
    moved: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    if signature is None:
        digest = taken.manifest.digest
        moved = _keep_older(folders.folder, digest, signer) if replaced else ()
        attest.write_signature(path, data)
        for folder in (folders.folder, *folders.others):
            moved += former.put_away(folder, digest)
            back += former.bring_back(folder, digest)
    else:
        atomic_write(path, data)
    return Signed(
        model=taken.root,
        manifest=taken.manifest,
        oms_root=root_of(resource.digest for resource in taken.manifest.resources),
        path=path,
        signature=_sized(data),
        by=SignedBy(
            key_id=signer.public_key.key_id,
            algorithm=signer.public_key.algorithm,
            keyless=getattr(signer, "logged", None),
        ),
        replaced=replaced,
        left_out=tuple(name for name in taken.ignored if leftovers.lies_in(name)),
        moved=former.Moved(away=moved, back=back),
    )


def _keep_older(folder: Path, manifest: str, signer: Signer) -> tuple[str, ...]:
    """The signature that is replaced, unless it is this identity's own about this very model."""
    from sovgate.stages.trust import said_by

    data = read_bounded(folder / attest.SIGNATURE, most=MAX_BYTES, what="signature")
    about = former.about_of(data)
    if about not in (None, manifest):
        kept = former.keep_signature(folder, data, str(about))
        return (kept.relative_to(folder).as_posix(),)
    if said_by(data, signer, (), "signature") is None:
        attest.add(folder, "signature", data)
    return ()


def _sized(data: bytes) -> Sized:
    import hashlib

    return Sized(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _signer(key: str | None, zone: str | None, project: Path | None) -> Signer:
    if key is not None:
        return key_option.signer(key, project, ("signature",))
    if zone is None:
        raise UsageError(
            "the key to sign with is not named",
            fix="name it with --key, e.g. --key file:keys/sign.pem, or a zone of the project with "
            "--zone; sovgate keys generate makes one",
            reason="no-key",
        )
    from sovgate.pipeline.project import open_project

    return open_project(project).signer(zone)


def _older_bundle(path: Path) -> bool:
    """Whether a signature stands there. Anything else under that name is not ours to replace."""
    if not path.exists() and not path.is_symlink():
        return False
    try:
        role = foreign.statement(read_bounded(path, most=MAX_BYTES, what="signature file")).role
        if role == "signature":
            return True
        why = f"it is a signed statement of role {role}"
    except (VerificationFailed, UsageError) as error:
        why = error.what
    raise UsageError(
        f"{str(path)!r} already exists, and is not the signature of a model",
        why=why,
        fix="name another place with --signature",
        reason="output-exists",
    )
