"""What services beside those of S3's protocol do, Google's, Azure's, registries; with sources.

Data, pure. `docs/stores.md` is made from it. What no page says is not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sovgate.clouds.aws.profiles import UNSAID, Fact, Source

#: What a row has a fact about, and how the page heads it.
COLUMNS = {
    "create-only": "a name is written once",
    "sums": "sum that it compares",
    "location": "says where it lies",
    "key": "a key of one's own",
    "limits": "limits, and more",
}


@dataclass(frozen=True, kw_only=True)
class Service:
    """One row. `scheme`: of the stores that it can be."""

    title: str
    scheme: str
    facts: Mapping[str, Fact]

    def fact(self, column: str) -> Fact:
        return self.facts.get(column, UNSAID)


def _fact(says: str, source: Source) -> Fact:
    return Fact(says=says, source=source)


_INSERT = Source(
    page="https://cloud.google.com/workflows/docs/reference/googleapis/storage/v1/objects/insert"
)
_REPLACE = Source(page="https://cloud.google.com/storage/docs/json_api/v1beta2/objects/insert")
_VALIDATION = Source(page="https://docs.cloud.google.com/storage/docs/data-validation")
_BUCKET = Source(
    page="google-cloud-storage, google/cloud/storage/bucket.py", dated="version 3.17.1"
)
_BLOB = Source(
    page="azure-storage-blob, azure/storage/blob/_generated/operations", dated="version 12.31.1"
)
_ACCOUNT = Source(
    page="azure-mgmt-storage, azure/mgmt/storage/models/_models.py", dated="version 25.3.0"
)
_ECR = "https://docs.aws.amazon.com/AmazonECR/latest/userguide"
_ECR_TAGS = Source(page=f"{_ECR}/repository-edit.html")
_ECR_QUOTAS = Source(
    page="https://docs.amazonaws.cn/en_us/AmazonECR/latest/userguide/service-quotas.html"
)
_GAR_NAMES = Source(page="https://cloud.google.com/artifact-registry/docs/docker/names")
_GAR_PLACES = Source(
    page="https://docs.cloud.google.com/artifact-registry/docs/repositories/repo-locations.md.txt"
)
_ACR_PLACES = Source(
    page="https://learn.microsoft.com/en-us/azure/container-registry/"
    "container-registry-geo-replication"
)
_ACR_TAGS = Source(
    page="https://docs.azure.cn/zh-CN/container-registry/container-registry-image-lock"
)
_HARBOR = Source(
    page="https://goharbor.io/docs/2.7.0/working-with-projects/working-with-images/"
    "create-tag-immutability-rules/",
    dated="version 2.7.0",
)
_HUB = Source(page="https://docs.docker.com/docker-hub/repos/manage/hub-images/immutable-tags")
FAKE_GCS = Source(page="", dated="fake-gcs-server 0.1.1")
AZURITE = Source(page="", dated="Azurite 3.35.0")
DISTRIBUTION = Source(page="", dated="Distribution 2.8.2")

SERVICES = (
    Service(
        title="Google Cloud Storage",
        scheme="gs",
        facts={
            "create-only": _fact("yes: `ifGenerationMatch=0`", _INSERT),
            "sums": _fact("CRC32C, MD5", _VALIDATION),
            "location": _fact("yes: the bucket's `location`", _BUCKET),
            "key": _fact("yes: `kmsKeyName`", _INSERT),
            "limits": _fact("to replace needs `storage.objects.delete`", _REPLACE),
        },
    ),
    Service(title="S3NS", scheme="gs", facts={}),
    Service(
        title="fake-gcs-server, as its Python wrapper has it",
        scheme="gs",
        facts={
            "create-only": _fact("yes: 412", FAKE_GCS),
            "sums": _fact("none; it says its own", FAKE_GCS),
            "location": _fact("yes", FAKE_GCS),
            "key": _fact("passed over", FAKE_GCS),
        },
    ),
    Service(
        title="Azure Blob Storage, also in its clouds for China and the US government",
        scheme="az",
        facts={
            "create-only": _fact("yes: `If-None-Match: *`", _BLOB),
            "sums": _fact("MD5, CRC64", _BLOB),
            "location": _fact("the account's resource does", _ACCOUNT),
            "key": _fact("yes: encryption scope", _BLOB),
            "limits": _fact("of GRS it has a second location", _ACCOUNT),
        },
    ),
    Service(title="Bleu, Delos", scheme="az", facts={}),
    Service(
        title="Azurite",
        scheme="az",
        facts={
            "create-only": _fact("yes: 409", AZURITE),
            "sums": _fact("MD5", AZURITE),
            "location": _fact("no", AZURITE),
            "key": _fact("passed over", AZURITE),
        },
    ),
    Service(
        title="CNCF Distribution, as Debian's `docker-registry`",
        scheme="oci",
        facts={
            "create-only": _fact("no: tags move", DISTRIBUTION),
            "sums": _fact("SHA-256: the digest", DISTRIBUTION),
            "location": _fact("no", DISTRIBUTION),
            "limits": _fact("no referrers interface: the tag schema", DISTRIBUTION),
        },
    ),
    Service(
        title="Amazon ECR",
        scheme="oci",
        facts={
            "create-only": _fact(
                "if tags are immutable, which a repository can ask for", _ECR_TAGS
            ),
            "limits": _fact("100,000 images a repository; a layer of 52,000 MiB", _ECR_QUOTAS),
        },
    ),
    Service(
        title="Google Artifact Registry",
        scheme="oci",
        facts={
            "location": _fact("its host has the location", _GAR_NAMES),
            "limits": _fact("a location can be several regions", _GAR_PLACES),
        },
    ),
    Service(
        title="Azure Container Registry",
        scheme="oci",
        facts={
            "create-only": _fact("if a tag or repository is locked by hand", _ACR_TAGS),
            "limits": _fact("can keep copies in several regions behind one host", _ACR_PLACES),
        },
    ),
    Service(
        title="Harbor",
        scheme="oci",
        facts={"create-only": _fact("by a project's rules for tags", _HARBOR)},
    ),
    Service(
        title="Docker Hub",
        scheme="oci",
        facts={"create-only": _fact("if tags are immutable (beta)", _HUB)},
    ),
)
