"""Which Deployment of an overlay serves the model: found through its bases, or as configured.

No I/O of its own: `read` gives a file's bytes, or the names in a folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection
from typing import NoReturn

from sovgate.errors import ConfigError, GitError
from sovgate.formats.kustomize import KUSTOMIZATIONS, Deployment, deployments, resources_of

MAX_FILES = 200

#: A normal path from the repository's root ("." is the root). Raises ConfigError or GitError.
Read = Callable[[str], bytes | Collection[str]]

_ELSEWHERE = re.compile(r"//|\?|^[\w.-]+@|^/|^(github|gitlab)\.com/", re.ASCII)


def kustomization_in(names: Collection[str], folder: str) -> str:
    """The name of a folder's one kustomization file. Raises ConfigError."""
    there = [name for name in KUSTOMIZATIONS if name in names]
    if len(there) != 1:
        raise ConfigError(
            f"{folder!r} is not a kustomize overlay",
            why=f"it holds {' and '.join(there) or 'no kustomization.yaml'}",
            fix="name the folder of one kustomization.yaml in gitops.path",
            reason="bad-overlay",
        )
    return there[0]


def find(read: Read, folder: str) -> tuple[list[Deployment], list[str]]:
    """The Deployments that an overlay builds on, and what could not be looked into, in words."""
    found: list[Deployment] = []
    unseen: list[str] = []
    seen: set[str] = set()
    waiting = [posixpath.normpath(folder or ".")]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if len(seen) > MAX_FILES:
            unseen.append(f"more than {MAX_FILES} files")
            break
        try:
            if path.split("/", 1)[0] == "..":
                raise ConfigError(f"{path[:80]!r} is outside the repository")
            content = read(path)
            if isinstance(content, bytes):
                found += deployments(content, path)
                continue
            name = posixpath.normpath(posixpath.join(path, kustomization_in(content, path)))
            data = read(name)
            below, more = resources_of(data if isinstance(data, bytes) else b"", name)
        except (ConfigError, GitError) as error:
            unseen.append(error.what)
            continue
        if more:
            unseen.append(f"{name} makes resources of its own")
        for entry in below:
            if _ELSEWHERE.search(entry):
                unseen.append(f"{entry[:80]!r} lies elsewhere")
            else:
                waiting.append(posixpath.normpath(posixpath.join(path, entry)))
    return found, unseen


def choose(read: Read, folder: str, deployment: str | None, container: str | None) -> Deployment:
    """The one Deployment and its one container that the patch is for.

    `deployment` is `NAME` or `NAMESPACE/NAME`. Where both are configured, bases that cannot be
    seen from here are believed: kustomize itself fails on a patch that fits nothing. Raises
    ConfigError "no-deployment".
    """

    def unclear(why: str) -> NoReturn:
        raise ConfigError(
            f"it is not clear which Deployment in {folder!r} serves the model",
            why=why,
            fix="name it in the zone's gitops: deployment: NAME and container: NAME",
            reason="no-deployment",
        )

    found, unseen = find(read, folder)
    if deployment is not None:
        namespace, slash, name = deployment.rpartition("/")
        found = [d for d in found if d.name == name and (not slash or d.namespace == namespace)]
        if not found and unseen and container is not None:
            return Deployment(name=name, namespace=namespace or None, containers=(container,))
    elif unseen:
        unclear(f"not everything can be seen: {unseen[0]}")
    if len(found) != 1:
        named = f" named {deployment!r}" if deployment else ""
        unclear(f"it holds {len(found)} Deployments{named}" + "".join(f"; {u}" for u in unseen[:1]))
    (only,) = found
    containers = [c for c in only.containers if container in (None, c)]
    if len(containers) != 1:
        named = f" named {container!r}" if container else ""
        unclear(f"Deployment {only.name!r} has {len(containers)} containers{named}")
    return Deployment(name=only.name, namespace=only.namespace, containers=(containers[0],))
