"""An overlay that a person wrote keeps every byte but for our one entry (comments, order, quotes).

Hostile YAML is refused before anything is built of it, and nothing is edited by guess.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.errors import ConfigError
from sovgate.formats import kustomize, overlay, workload
from sovgate.formats.kustomize import Pin, ensure_patch
from sovgate.formats.overlay import Asked
from sovgate.formats.workload import KINDS, Workload
from sovgate.formats.yaml12 import load
from sovgate.stages.promote.description import difference

ENTRY = "path: sovgate-release.yaml"
HEX = "a" * 64
SERVER = Workload(kind="Deployment", name="serve", namespace=None, containers=("server",))
PIN = Pin(
    release=f"churn/1.0.0@sha256:{HEX}",
    manifest=HEX,
    record="b" * 64,
    key_uri="file:keys/eu.pem",
    zone="eu",
)


def edited(text: str) -> str:
    return ensure_patch(text.encode(), "kustomization.yaml").decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("resources: [a]\n", "resources: [a]\npatches:\n- {}\n"),
        ("resources: [a]", "resources: [a]\npatches:\n- {}\n"),
        (
            "# é 😀\nresources:\n- a # b\n# c\n",
            "# é 😀\nresources:\n- a # b\n# c\npatches:\n- {}\n",
        ),
        ("patches:\n- path: a\nb: c\n", "patches:\n- path: a\n- {}\nb: c\n"),
        (
            "patches:\n  - path: a  # 😀\n    target:\n      kind: X\n  # - path: old\n\nb: c\n",
            "patches:\n  - path: a  # 😀\n    target:\n      kind: X\n  - {}\n  # - path: old\n"
            "\nb: c\n",
        ),
        (
            "patches:\n- patch: |-\n    - op: x\n      y: z\n\nb: c\n",
            "patches:\n- patch: |-\n    - op: x\n      y: z\n\n- {}\nb: c\n",
        ),
        ("patches:\n- patch: |-\n    - op: x", "patches:\n- patch: |-\n    - op: x\n- {}\n"),
        ("patches: []  # none\nb: c\n", "patches:  # none\n- {}\nb: c\n"),
        ("patches:\nb: c\n", "patches:\n- {}\nb: c\n"),
        ("patches: ~\n", "patches:\n- {}\n"),
        ("patches: [{path: a}, ]\n", "patches: [{path: a}, {{}}, ]\n"),
        ("patches: [\n {path: a}, # x\n]\n", "patches: [\n {path: a}, {{}}, # x\n]\n"),
        ("patches:\r\n- path: a\r\nb: c\r\n", "patches:\r\n- path: a\r\n- {}\r\nb: c\r\n"),
        ("  a: b\n", "  a: b\n  patches:\n  - {}\n"),
        ("---\na: |+\n  text\n\n\n", "---\na: |+\n  text\n\n\npatches:\n- {}\n"),
        ("patches:\n- a:\n# x\nb: c\n", "patches:\n- a:\n- {}\n# x\nb: c\n"),
        # No line end after a block text: the editor of whoever wrote it left it out.
        ("a: |\n  text", "a: |\n  text\npatches:\n- {}\n"),
        ("a: |+\n  text", "a: |+\n  text\npatches:\n- {}\n"),
        ("a: >\n  text", "a: >\n  text\npatches:\n- {}\n"),
        ("patches:\n- patch: |\n    - op: x", "patches:\n- patch: |\n    - op: x\n- {}\n"),
        ("patches:\r\n- patch: |\r\n    x", "patches:\r\n- patch: |\r\n    x\r\n- {}\r\n"),
        ("a: b # c", "a: b # c\npatches:\n- {}\n"),
        ("patches: []", "patches:\n- {}\n"),
    ],
)
def test_only_our_entry_is_added(before: str, after: str) -> None:
    expected = after.replace("{{}}", "{\0}").replace("{}", ENTRY).replace("\0", ENTRY)
    assert edited(before) == expected
    assert edited(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "patches:\n- path: sovgate-release.yaml\n",
        "patches:\n- path: a\n- path: ./sovgate-release.yaml\n",
        "patches: [{path: sovgate-release.yaml}]",
    ],
)
def test_an_entry_that_is_there_stays_as_it_is(text: str) -> None:
    assert edited(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "{resources: [a]}\n",
        "a: b\n...\n",
        "patches: {a: b}\n",
        "patches: text\n",
        "patches:\n- path: sovgate-release.yaml\n- path: ./sovgate-release.yaml\n",
        "patches:\n- path: sovgate-release.yaml\n  target: {kind: Service}\n",
        "patches:\n- path: sovgate-release.yaml\n  target: {kind: Deployment, name: x}\n",
        "patches:\n- path: sovgate-release.yaml\n- path: a\n",
        "kind: Deployment\n",
        "- a\n",
        "",
        "# nothing\n",
    ],
)
def test_what_cannot_be_edited_safely_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        edited(text)
    assert caught.value.reason == "bad-overlay"
    assert caught.value.fix


@pytest.mark.parametrize(
    "data",
    [
        b"a: &x [1]\nb: *x\n",
        b"a: !!python/object/apply:os.system [id]\n",
        b"a: !secret b\n",
        b"a: 1\na: 2\n",
        b"<<: {a: b}\n",
        b"a: b\n---\nc: d\n",
        b"a: " + b"[" * 100_000,
        b"a: " + b"{b: " * 100_000,
        b"- " * 200_000,
        b"\xff\xfe\x00",
        b"a: \x00\n",
        b"a: 'b\n",
        b"# " + b"x" * kustomize.MAX_BYTES,
        "\ufeffresources: [a]\n".encode(),
    ],
)
def test_hostile_yaml_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        ensure_patch(data, "kustomization.yaml")


WORDS = st.text(st.sampled_from("abcé😀 #:-'\"0"), max_size=8).map(lambda t: "w" + t.strip())
COMMENT = st.sampled_from(["", "  # note: [x] é", " #"])
BLANKS = st.lists(st.sampled_from(["\n", "# a comment\n", "  # indented\n"]), max_size=3).map(
    "".join
)


@st.composite
def kustomizations(draw: st.DrawFn) -> str:
    """Texts as people write them: any order, styles and indentation mixed, comments anywhere."""
    step = draw(st.sampled_from(["", "  ", "    "]))

    def word() -> str:
        return "'" + draw(WORDS).replace("'", "''") + "'"

    def item() -> str:
        return draw(
            st.sampled_from(
                [
                    f"- path: {word()}{draw(COMMENT)}\n",
                    f"- path: a.yaml\n{step}  target:\n{step}    kind: {word()}{draw(COMMENT)}\n",
                    f"- {{path: a.yaml, target: {{kind: {word()}}}}}{draw(COMMENT)}\n",
                    f"- patch: |-\n{step}    - op: add\n{step}      # in the text\n\n",
                    f"- patch: >\n{step}    folded é\n\n{step}    text\n",
                    f'- path: "x\n{step}    y"\n',
                    f"- target:\n{step}    name:{draw(COMMENT)}\n",
                ]
            )
        )

    patches = draw(
        st.sampled_from(
            [
                "",
                f"patches:{draw(COMMENT)}\n",
                f"patches: []{draw(COMMENT)}\n",
                f"patches: ~{draw(COMMENT)}\n",
                f"patches: [{{path: {word()}}}]{draw(COMMENT)}\n",
                f"patches: [\n  {{path: {word()}}},  # first\n  {{path: b}},\n]\n",
                "patches:\n" + "".join(step + item() for _ in range(draw(st.integers(1, 4)))),
            ]
        )
    )
    others = [
        f"namePrefix: {word()}{draw(COMMENT)}\n",
        f"resources:\n{step}- ../base{draw(COMMENT)}\n{step}- {word()}\n",
        f"labels: [{{pairs: {{a: {word()}}}}}]\n",
        "x: |\n  literal\n  # no comment\n",
    ]
    chosen = draw(st.permutations([patches, *draw(st.lists(st.sampled_from(others), unique=True))]))
    unique = {part.split(":", 1)[0]: part for part in chosen}
    return draw(BLANKS) + "".join(part + draw(BLANKS) for part in unique.values()) + "z: end\n"


@given(kustomizations())
def test_any_kustomization_is_the_same_but_for_our_entry(text: str) -> None:
    before = load(text.encode(), "k").value
    after = edited(text)
    value = load(after.encode(), "k").value
    assert value["patches"][-1] == {"path": "sovgate-release.yaml"}
    assert value == {**before, "patches": [*(before.get("patches") or []), value["patches"][-1]]}
    assert edited(after) == after
    # Taking our entry out again gives the person's text, byte for byte.
    without = after.replace(", {path: sovgate-release.yaml}", "")
    without = re.sub(r"(?m)^ *- path: sovgate-release\.yaml\n", "", without)
    if "patches:" not in text:
        without = without.removesuffix("patches:\n")
    if not before.get("patches"):  # an empty list made room
        text = re.sub(r"(?m)^patches: (\[\]|~)", "patches:", text)
    assert without == text


def test_the_patch_pins_the_release_and_rolls_the_pods() -> None:
    patch = workload.release_patch(PIN, SERVER)
    assert patch.startswith(b"# Written by `sovgate promote`. Do not edit")
    value = load(patch, "p").value
    notes = value["metadata"]["annotations"]
    assert notes == value["spec"]["template"]["metadata"]["annotations"]
    assert notes == {
        "sovgate.dev/release": f"churn/1.0.0@sha256:{HEX}",
        "sovgate.dev/manifest": f"sha256:{HEX}",
        "sovgate.dev/record": f"sha256:{'b' * 64}",
    }
    (container,) = value["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "server"
    assert {e["name"]: e["value"] for e in container["env"]} == {
        "MODEL_RELEASE": f"churn/1.0.0@sha256:{HEX}",
        "MODEL_MANIFEST": f"sha256:{HEX}",
        "MODEL_KEY_URI": "file:keys/eu.pem",
        "SOVGATE_ZONE": "eu",
    }
    assert all(e["valueFrom"] is None for e in container["env"])
    assert workload.pinned_release(patch) == PIN.release


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_workload_is_pinned_in_its_pod_template(kind: str) -> None:
    made = Workload(
        kind=kind,
        name="serve",
        namespace="ml",
        containers=("server", "side"),
        init_containers=("fetch",),
    )
    data = workload.release_patch(PIN, made)
    value = load(data, "p").value
    assert (value["apiVersion"], value["kind"]) == (KINDS[kind], kind)
    outer = value["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else value["spec"]
    pod = outer["template"]["spec"]
    assert [c["name"] for c in pod["initContainers"]] == ["fetch"]
    assert [c["name"] for c in pod["containers"]] == ["server", "side"]
    for container in (*pod["initContainers"], *pod["containers"]):
        env = {e["name"]: e["value"] for e in container["env"]}
        assert (env["MODEL_RELEASE"], env["SOVGATE_ZONE"]) == (PIN.release, "eu")
    read = workload.read_patch(data)
    assert read is not None
    assert (read.release, read.model, read.zone) == (PIN.release, "churn", "eu")
    assert read.workload == made


def test_a_patch_that_says_two_things_says_nothing() -> None:
    text = workload.release_patch(PIN, SERVER).decode()
    assert workload.read_patch(text.encode()) is not None
    for old, new in (
        (f'sovgate.dev/release: "{PIN.release}"', 'sovgate.dev/release: "other/1.0.0"'),
        (f'value: "{PIN.release}"', 'value: "other/1.0.0"'),
        ("kind: Deployment", "kind: Pod"),
        ("spec:", "---\nspec:"),
        ("MODEL_RELEASE", "MODEL_OTHER"),
    ):
        changed = text.replace(old, new, 1)
        assert changed != text
        assert workload.read_patch(changed.encode()) is None, new


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029")))
def test_no_key_uri_gets_out_of_its_value(uri: str) -> None:
    """A quote, a colon, `$(VAR)` or an emoji in a key URI stays one string, unexpanded."""
    pin = Pin(release=PIN.release, manifest=HEX, record=HEX, key_uri=uri, zone="eu")
    served = Workload(kind="Deployment", name="serve", namespace="ml", containers=("server",))
    try:
        value = load(workload.release_patch(pin, served), "p").value
    except ConfigError as error:  # characters that YAML has no place for
        assert "special characters" in str(error) or "control characters" in str(error)
        return
    env = value["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {e["name"]: e["value"] for e in env}["MODEL_KEY_URI"].replace("$$", "$") == uri
    assert value["metadata"]["namespace"] == "ml"


@pytest.mark.parametrize("data", [b"", b"a: b", b"- x", b"metadata: {annotations: []}", b"\xff"])
def test_a_patch_that_is_not_ours_claims_nothing(data: bytes) -> None:
    assert workload.pinned_release(data) is None
    assert workload.read_patch(data) is None


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec: {{template: {{spec: {{containers: [{{name: {container}, image: x}}]}}}}}}
"""


def tree(**files: str) -> overlay.Read:
    """A repository in memory: `a__b` is the path a/b."""
    paths = {name.replace("__", "/").replace("_yaml", ".yaml"): t for name, t in files.items()}

    def read(path: str) -> bytes | list[str]:
        if path in paths:
            return paths[path].encode()
        prefix = "" if path == "." else path + "/"
        names = {p[len(prefix) :].split("/")[0] for p in paths if p.startswith(prefix)}
        if not names:
            raise ConfigError(f"there is no {path!r}")
        return sorted(names)

    return read


SERVE = DEPLOYMENT.format(name="serve", container="server")


def chosen(
    read: overlay.Read, folder: str, deployment: str | None = None, *containers: str
) -> Workload:
    asked = Asked(workload=deployment, containers=containers)
    made = overlay.choose(overlay.find(read, folder), folder, asked)
    assert not made.missing
    return made.target


def unclear(
    read: overlay.Read, folder: str, deployment: str | None = None, *containers: str
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        chosen(read, folder, deployment, *containers)
    assert caught.value.reason == "no-deployment"
    return caught.value


def test_the_one_deployment_is_found_through_the_bases() -> None:
    read = tree(
        base__kustomization_yaml="resources: [all.yaml]\n",
        base__all_yaml="apiVersion: v1\nkind: Service\nmetadata: {name: s}\n---\n"
        + SERVE
        + "---\n",
        overlays__eu__kustomization_yaml="resources:\n- ../../base\n",
    )
    assert chosen(read, "overlays/eu") == SERVER


@pytest.mark.parametrize(
    ("resources", "deployment", "containers", "why", "fix"),
    [
        ("[two.yaml]", None, (), "2 workloads: Deployment serve, Deployment train", "NAME"),
        ("[two.yaml]", "other", (), "no workload named 'other'; it holds Deployment serve", "one"),
        ("['https://example.com/base?ref=v1']", None, (), "lies elsewhere", "name both"),
        ("['https://example.com/base?ref=v1']", "serve", (), "no workload named", "name both"),
        ("[../../../etc]", None, (), "outside the repository", "name both"),
        ("[example.com/org/base]", None, (), "there is no", "name both"),
        ("[anchors.yaml]", None, (), "anchors are not supported", "name both"),
        ("[one.yaml]\nhelmCharts: [{name: x}]", None, (), "makes resources of its own", "both"),
        ("[]", None, (), "no workload that sovgate can pin; it holds nothing", "commit"),
        ("[service.yaml]", None, (), "it holds Service web", "commit"),
        ("[one.yaml, one.yaml]", None, (), "would match 2 objects", "build on it once"),
        (
            "[old.yaml]",
            None,
            (),
            "serve in eu/old.yaml has apiVersion extensions/v1beta1",
            "apps/v1",
        ),
        (
            "[old.yaml]",
            "serve",
            ("server",),
            "the patch would match 0 objects",
            "apiVersion: apps/v1",
        ),
        (
            "[kserve.yaml]",
            None,
            (),
            "InferenceService kyc: sovgate pins Deployments",
            "docs/serve.md",
        ),
        ("[kserve.yaml]", "kyc", ("model",), "InferenceService kyc: sovgate pins", "docs/serve.md"),
        ("[rollout.yaml]", "serve", (), "Rollout serve: sovgate pins", "docs/serve.md"),
        ("[beside.yaml]", None, (), "Deployment serve, StatefulSet cache", "deployment: NAME"),
        ("[same.yaml]", "serve", (), "2 workloads named 'serve'", "StatefulSet/serve"),
        (
            "[pair.yaml]",
            None,
            (),
            "Deployment serve has 2 containers: server, proxy",
            "containers:",
        ),
    ],
)
def test_an_unclear_workload_is_refused_with_what_was_found_and_a_fix_that_helps(
    resources: str, deployment: str | None, containers: tuple[str, ...], why: str, fix: str
) -> None:
    read = tree(
        eu__kustomization_yaml=f"resources: {resources}\n",
        eu__one_yaml=SERVE,
        eu__two_yaml=SERVE + "---\n" + SERVE.replace("serve", "train"),
        eu__anchors_yaml="a: &x 1 # Deployment\n",
        eu__service_yaml="apiVersion: v1\nkind: Service\nmetadata: {name: web}\n",
        eu__old_yaml=SERVE.replace("apps/v1", "extensions/v1beta1"),
        eu__kserve_yaml="apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n"
        "metadata: {name: kyc}\nspec: {predictor: {model: {modelFormat: {name: onnx}}}}\n",
        eu__rollout_yaml=SERVE.replace("apps/v1", "argoproj.io/v1alpha1").replace(
            "Deployment", "Rollout"
        ),
        eu__beside_yaml=SERVE
        + "---\n"
        + SERVE.replace("serve", "cache").replace("Deployment", "StatefulSet"),
        eu__same_yaml=SERVE + "---\n" + SERVE.replace("Deployment", "StatefulSet"),
        eu__pair_yaml=SERVE.replace("[{name", "[{name: server, image: x}, {name").replace(
            "{name: server, image: x}]", "{name: proxy, image: x}]"
        ),
    )
    error = unclear(read, "eu", deployment, *containers)
    assert why in str(error.why)
    assert fix in str(error.fix)


@pytest.mark.parametrize("named", [(None,), ("serve", "server")])
@pytest.mark.parametrize(
    ("resources", "why"),
    [
        ("[one.yaml, nothing.yaml]", "there is no 'eu/nothing.yaml'"),
        ("[../bass]", "there is no 'bass'"),
        ("[one.yaml, ../eu]", "eu builds on itself"),
        ("[../plain]", "'plain' is not a kustomize overlay"),
    ],
)
def test_what_kustomize_cannot_build_either_is_refused_whatever_is_named(
    resources: str, why: str, named: tuple[str | None, ...]
) -> None:
    """To name a workload would not help, so that is not the fix."""
    read = tree(
        eu__kustomization_yaml=f"resources: {resources}\n",
        eu__one_yaml=SERVE,
        plain__one_yaml=SERVE,
    )
    with pytest.raises(ConfigError) as caught:
        chosen(read, "eu", *named)  # type: ignore[arg-type]
    assert caught.value.reason == "overlay-broken"
    assert why in str(caught.value.why)
    assert "deployment" not in str(caught.value.fix)


def test_configuration_chooses_where_there_are_several_or_none_can_be_seen() -> None:
    read = tree(
        eu__kustomization_yaml="resources: [two.yaml]\n",
        eu__two_yaml=SERVE
        + "---\n"
        + SERVE.replace("serve", "train")
        + "---\n"
        + SERVE.replace("Deployment", "StatefulSet").replace("name: serve", "name: both")
        + "---\n"
        + SERVE.replace("name: serve", "name: both"),
        us__kustomization_yaml="resources: ['https://example.com/base']\n",
    )
    assert chosen(read, "eu", "train").name == "train"
    assert chosen(read, "eu", "StatefulSet/both").kind == "StatefulSet"
    assert "Deployment/both" in str(unclear(read, "eu", "both").fix)
    assert chosen(read, "us", "ml/serve", "server") == Workload(
        kind="Deployment", name="serve", namespace="ml", containers=("server",)
    )
    assert chosen(read, "us", "DaemonSet/ml/serve", "server").kind == "DaemonSet"


def test_a_job_beside_the_server_is_not_taken_for_it() -> None:
    job = SERVE.replace("apps/v1", "batch/v1").replace("Deployment", "Job").replace("serve", "load")
    read = tree(
        eu__kustomization_yaml="resources: [both.yaml]\n",
        eu__both_yaml=SERVE + "---\n" + job,
        us__kustomization_yaml="resources: [job.yaml]\n",
        us__job_yaml=job,
    )
    assert chosen(read, "eu").kind == "Deployment"
    assert chosen(read, "us").kind == "Job"


def test_containers_are_named_by_the_project_and_may_be_init_containers() -> None:
    pod = SERVE.replace("{containers:", "{initContainers: [{name: fetch, image: y}], containers:")
    read = tree(eu__kustomization_yaml="resources: [one.yaml]\n", eu__one_yaml=pod)
    assert chosen(read, "eu") == SERVER
    both = chosen(read, "eu", None, "fetch", "server")
    assert (both.init_containers, both.containers) == (("fetch",), ("server",))
    walk = overlay.find(read, "eu")
    assert overlay.choose(walk, "eu", Asked(containers=("patched",))).missing == ("patched",)
    with pytest.raises(ConfigError) as caught:
        overlay.no_container("eu", SERVER, ("patched",))
    assert "no container named 'patched'; it has server" in str(caught.value.why)


def test_a_workload_is_counted_by_each_way_that_leads_to_it() -> None:
    """A base that two overlays build on is there twice, whatever they call it."""
    read = tree(
        base__kustomization_yaml="resources: [d.yaml]\n",
        base__d_yaml=SERVE,
        a__kustomization_yaml="namePrefix: a-\nresources: [../base]\n",
        b__kustomization_yaml="namePrefix: b-\nresources: [../base]\n",
        eu__kustomization_yaml="resources: [../a, ../b]\n",
    )
    error = unclear(read, "eu")
    assert "2 objects" in str(error.why)
    assert "base/d.yaml by way of a and base" in str(error.why)
    assert "2 objects" in str(unclear(read, "eu", "serve", "server").why)


def test_bases_that_go_round_or_on_for_ever_end() -> None:
    read = tree(
        a__kustomization_yaml="resources: [../b]\n", b__kustomization_yaml="resources: [../a]\n"
    )
    walk = overlay.find(read, "a")
    assert (walk.found, walk.unseen) == ([], ["a builds on itself"])
    many = "resources: [" + ", ".join(f"f{n}.yaml" for n in range(1000)) + "]\n"
    unseen = overlay.find(tree(a__kustomization_yaml=many), "a").unseen
    assert f"more than {overlay.MAX_FILES} files" in unseen


def test_diamonds_that_double_at_each_step_end() -> None:
    """Sixty folders, each of which builds twice on the next one: more ways than can be walked."""
    files = {
        f"d{n}__kustomization_yaml": f"resources: [../d{n + 1}, ../d{n + 1}]\n" for n in range(60)
    }
    reads: list[str] = []
    inner = tree(**files)

    def read(path: str) -> object:
        reads.append(path)
        return inner(path)

    walk = overlay.find(read, "d0")  # type: ignore[arg-type]
    assert f"more than {overlay.MAX_FILES} files" in walk.unseen
    assert len(reads) < 200


def test_a_file_of_ever_more_documents_is_refused() -> None:
    """A megabyte of document marks in each of many files would take minutes to read."""
    with pytest.raises(ConfigError) as caught:
        workload.read_manifests(b"---\n" * 100_000, "base.yaml")
    assert caught.value.reason == "limits"


def test_a_resource_definition_deeper_than_we_read_hides_no_workload() -> None:
    deep = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\na: " + "{b: " * 40
    read = tree(
        eu__kustomization_yaml="resources: [crd.yaml, one.yaml]\n",
        eu__crd_yaml=deep + "1" + "}" * 40 + "\n",
        eu__one_yaml=SERVE,
    )
    assert chosen(read, "eu") == SERVER


@given(
    st.lists(st.sampled_from("abc"), max_size=30),
    st.lists(st.sampled_from("abc"), max_size=9),
    st.integers(0, 30),
)
def test_a_difference_is_the_patch_that_makes_it(old: list[str], added: list[str], at: int) -> None:
    """Applied by hand: every line of it stands where its header says."""
    new = [*old[:at], *added, *old[at:]]
    texts = ["".join(f"{line}\n" for line in lines).encode() for lines in (old, new)]
    made = difference("o", {"k": texts[0]}, {"k": texts[1]}).splitlines()
    rebuilt, here = list[str](), 0
    for line in made[2:]:
        if header := re.fullmatch(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@", line):
            place = int(header[1]) - (header[2] != ",0")
            rebuilt += old[here:place]
            assert len(rebuilt) == int(header[3]) - (header[4] != ",0")
            here = place
        elif line[0] == "+":
            rebuilt.append(line[1:])
        else:
            assert old[here] == line[1:]
            here += 1
            rebuilt += [line[1:]] if line[0] == " " else []
    assert [*rebuilt, *old[here:]] == new


def test_a_file_that_repeats_its_lines_is_told_apart() -> None:
    """Where time grew with the square of its lines, this would take an hour."""
    lines = "".join(f"#{number % 120:x}\n" for number in range(90_000))
    old = f"patches:\n{lines}- path: a\n{lines}namePrefix: z\n".encode()
    made = difference("o", {"k": old}, {"k": ensure_patch(old, "k")}).splitlines()
    assert made[2:] == [
        "@@ -90000,6 +90000,7 @@",
        " #76",
        " #77",
        " - path: a",
        f"+- {ENTRY}",
        " #0",
        " #1",
        " #2",
    ]
