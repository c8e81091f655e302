"""What services that speak S3's protocol differ in: one row a provider, each fact with its source.

Data, pure. `docs/stores.md` is made from it; the stores ask it where they must act differently.
What no page says is not guessed: it is `unsaid`, and sovgate tries it out, or asks the bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: The day on which a person last held every row against its sources.
READ = "2026-11-29"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a fact stands. `dated` is what the page says of its own age; "" where it says nothing.

    No `page`: it was run here, against the program that `dated` names, and a test runs it again.
    """

    page: str
    dated: str = ""

    @property
    def here(self) -> bool:
        return not self.page


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`says` is a few words; `source` is None where nobody says it."""

    says: str
    source: Source | None


UNSAID = Fact(says="not said", source=None)

#: What a row has a fact about, and how the page heads it.
COLUMNS = {
    "addressing": "address of a bucket",
    "create-only": "`If-None-Match: *`",
    "sums": "`x-amz-checksum-sha256`",
    "location": "says where a bucket lies",
    "kms": "SSE-KMS of a PUT",
    "lock": "object lock",
    "limits": "limits",
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One row.

    providers     the catalogue's names; none for a program that anybody can run
    virtual       whether the bucket's name stands before the host's, at its catalogued endpoint
    checks_sums   whether it is known to refuse bytes of another SHA-256, so that nobody tries it
    bucket_keys   whether the answer to a PUT must say that a bucket key was used
    regions       words of GetBucketLocation that are not the region's name
    nowhere       what GetBucketLocation means where it says nothing, at its catalogued endpoint
    """

    title: str
    providers: tuple[str, ...]
    facts: Mapping[str, Fact]
    virtual: bool = False
    checks_sums: bool = False
    bucket_keys: bool = False
    regions: Mapping[str, str] = field(default_factory=dict)
    nowhere: str | None = None

    def fact(self, column: str) -> Fact:
        return self.facts.get(column, UNSAID)


def _fact(says: str, source: Source) -> Fact:
    return Fact(says=says, source=source)


_AWS = "https://docs.aws.amazon.com/AmazonS3/latest"
_CN = "https://docs.amazonaws.cn/en_us/AmazonS3/latest"
#: AWS's own description of the service, which its SDK carries and which holds in each partition.
_MODEL = Source(page="botocore, data/s3/2006-03-01/service-2.json", dated="version 1.44.5")
_RULES = Source(
    page="botocore, data/s3/2006-03-01/endpoint-rule-set-1.json", dated="version 1.44.5"
)
_AWS_CONDITIONS = Source(page=f"{_AWS}/userguide/conditional-writes.html")
_CN_CONDITIONS = Source(page=f"{_CN}/userguide/conditional-writes.html")
_CN_SUMS = Source(page=f"{_CN}/userguide/checking-object-integrity-upload.html")
_GOV = Source(page="https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/govcloud-s3.html")
_OVH = "https://github.com/ovh/docs, pages/storage_and_backup/object_storage"
_OVH_CONDITIONS = Source(page=f"{_OVH}/s3_conditional_writes", dated="2026-04-29")
_OVH_FEATURES = Source(page=f"{_OVH}/s3_s3_compliancy", dated="2024-11-12")
_OVH_LIMITS = Source(page=f"{_OVH}/s3_limitations", dated="2026-02-18")
_SCW = "https://www.scaleway.com/en/docs"
_SCW_CONCEPTS = Source(page=f"{_SCW}/storage/object/concepts/", dated="2024-05-06")
_SCW_CONDITIONS = Source(
    page=f"{_SCW}/object-storage/api-cli/using-conditional-writes/", dated="2026-07-03"
)
_SCW_SUMS = Source(
    page=f"{_SCW}/object-storage/reference-content/supported-checksums/", dated="2025-06-09"
)
_SCW_CALLS = Source(page=f"{_SCW}/storage/object/api-cli/using-api-call-list/", dated="2018-09-13")
_SCW_KMS = Source(
    page="https://www.pulumi.com/registry/packages/scaleway/api-docs/object/"
    "bucketserversideencryptionconfiguration/",
    dated="2026-06-02",
)
_SCW_LOCK = Source(page=f"{_SCW}/object-storage/how-to/use-object-lock/", dated="2026-05-21")
_IONOS_API = Source(page="https://api.ionos.com/docs/s3/v2/", dated="version 2.0.14")
_IONOS = (
    "https://docs.ionos.com/sections-test/api/ionos-object-storage/"
    "ionos-object-storage-for-contract-owned-buckets"
)
_IONOS_LOCK = Source(page=f"{_IONOS}/object-lock")
_IONOS_KMS = Source(page=f"{_IONOS}/encryption")
_IONOS_LIMITS = Source(
    page="https://docs.ionos.com/cloud/storage-and-backup/ionos-object-storage/overview/limitations"
)
_STACKIT = "https://docs.stackit.cloud/products/storage/object-storage"
_STACKIT_LOCK = Source(page=f"{_STACKIT}/faq")
_STACKIT_CONCEPTS = Source(page=f"{_STACKIT}/basics/concepts")
_OUTSCALE = "https://docs.outscale.com/en/userguide"
_OUTSCALE_LOCK = Source(page=f"{_OUTSCALE}/Object-Lock-Configuration-Reference.html")
_OUTSCALE_KMS = Source(page=f"{_OUTSCALE}/Bucket-Encryption-Configuration-Reference.html")
_OUTSCALE_LIMITS = Source(page=f"{_OUTSCALE}/OOS-Recommendations-and-Limits.html")
_HETZNER = Source(
    page="https://docs.hetzner.com/storage/object-storage/supported-actions/", dated="2024-09-23"
)
_HETZNER_OVERVIEW = Source(page="https://docs.hetzner.com/storage/object-storage/overview")
_MINIO = Source(
    page="https://docs.min.io/enterprise/aistor-object-store/reference/s3-api-compatibility.html"
)
SEAWEEDFS = Source(page="", dated="SeaweedFS 4.48")


def _aws(
    title: str,
    *providers: str,
    conditions: Source = _MODEL,
    sums: Source = _MODEL,
    limits: Fact = UNSAID,
    nowhere: str | None = None,
) -> Profile:
    """A partition of AWS: one description of the service, with the pages that are its own."""
    return Profile(
        title=title,
        providers=providers,
        virtual=True,
        checks_sums=True,
        bucket_keys=True,
        regions={"EU": "eu-west-1"} if nowhere else {},
        nowhere=nowhere,
        facts={
            "addressing": _fact("before the host", _RULES),
            "create-only": _fact("yes: 412, and 409 while another is written", conditions),
            "sums": _fact("compared", sums),
            "location": _fact(
                "yes" + (f"; nothing is {nowhere}, and EU is eu-west-1" if nowhere else ""), _MODEL
            ),
            "kms": _fact("yes, with bucket keys", _MODEL),
            "lock": _fact("governance, compliance", _MODEL),
            "limits": limits,
        },
    )


PROFILES = (
    _aws("AWS", "aws", conditions=_AWS_CONDITIONS, sums=_CN_SUMS, nowhere="us-east-1"),
    _aws("AWS European Sovereign Cloud", "aws-eusc"),
    _aws("AWS in China", "aws-cn", conditions=_CN_CONDITIONS, sums=_CN_SUMS),
    _aws(
        "AWS GovCloud (US)",
        "aws-us-gov",
        limits=_fact("no acceleration, no MFA delete", _GOV),
    ),
    _aws("AWS, isolated partitions", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"),
    Profile(
        title="OVHcloud",
        providers=("ovh", "ovh-us"),
        facts={
            "addressing": _fact("in the path", _OVH_CONDITIONS),
            "create-only": _fact("yes: 412 and 409; not with SSE-C", _OVH_CONDITIONS),
            "location": _fact("yes; not in Local Zones", _OVH_FEATURES),
            "kms": _fact("no", _OVH_FEATURES),
            "lock": _fact("yes; in Local Zones only a bucket's default", _OVH_FEATURES),
            "limits": _fact("300 PUT and 900 GET a second, 1 Gbit/s a connection", _OVH_LIMITS),
        },
    ),
    Profile(
        title="Scaleway",
        providers=("scaleway",),
        facts={
            "addressing": _fact("both", _SCW_CONCEPTS),
            "create-only": _fact("yes", _SCW_CONDITIONS),
            "sums": _fact("known", _SCW_SUMS),
            "location": _fact("yes", _SCW_CALLS),
            "kms": _fact("as a bucket's default; of a PUT not said", _SCW_KMS),
            "lock": _fact("governance, compliance", _SCW_LOCK),
        },
    ),
    Profile(
        title="IONOS",
        providers=("ionos",),
        regions={"de": "eu-central-1"},
        facts={
            "addressing": _fact("in the path", _IONOS_LOCK),
            "location": _fact("Frankfurt is `de`", _IONOS_API),
            "kms": _fact("no: SSE-S3 and SSE-C", _IONOS_KMS),
            "lock": _fact("governance shown; only on buckets made with it", _IONOS_LOCK),
            "limits": _fact("50 million objects in a versioned bucket", _IONOS_LIMITS),
        },
    ),
    Profile(
        title="STACKIT",
        providers=("stackit",),
        facts={
            "lock": _fact(
                "governance, compliance, at most 365 days; only on buckets made with it",
                _STACKIT_LOCK,
            ),
            "limits": _fact("a bucket's name is of one region", _STACKIT_CONCEPTS),
        },
    ),
    Profile(
        title="OUTSCALE",
        providers=("outscale",),
        facts={
            "kms": _fact("no key of one's own: `aws:kms` is AES256 there", _OUTSCALE_KMS),
            "lock": _fact("compliance only", _OUTSCALE_LOCK),
            "limits": _fact(
                "200 writes and 300 reads a second, 3 minutes an upload", _OUTSCALE_LIMITS
            ),
        },
    ),
    Profile(
        title="Hetzner",
        providers=("hetzner",),
        facts={
            "addressing": _fact("before the host shown", _HETZNER_OVERVIEW),
            "kms": _fact("no: SSE-C only", _HETZNER),
            "lock": _fact("on buckets made with it", _HETZNER),
        },
    ),
    Profile(
        title="MinIO (AIStor)",
        providers=(),
        facts={
            "create-only": _fact("yes", _MINIO),
            "lock": _fact("yes", _MINIO),
        },
    ),
    Profile(
        title="SeaweedFS",
        providers=(),
        facts={
            "addressing": _fact("in the path", SEAWEEDFS),
            "create-only": _fact("yes: 412", SEAWEEDFS),
            "sums": _fact("compared", SEAWEEDFS),
            "location": _fact("no", SEAWEEDFS),
            "kms": _fact("500 where no key service is set up", SEAWEEDFS),
            "lock": _fact("governance, compliance", SEAWEEDFS),
        },
    ),
)

_BY_PROVIDER = {name: row for row in PROFILES for name in row.providers}
#: Of a provider that no row is about: nothing is known, so all is tried.
OTHER = Profile(title="another service", providers=(), facts={})


def profile(provider: str) -> Profile:
    """The row of a provider of the catalogue, or OTHER."""
    return _BY_PROVIDER.get(provider, OTHER)
