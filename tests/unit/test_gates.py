"""What gates read and say: hostile files are refused, outcomes follow from the numbers."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate import strict
from sovgate.errors import Malformed, SovgateError, UsageError, VerificationFailed
from sovgate.formats import testresult
from sovgate.formats.testresult import EXTENSION, Measure, TestResult
from sovgate.gates import _junit, _predictions, accuracy, auc, f1, junit, regression
from sovgate.gates._api import Inputs, Predictions
from sovgate.gates.registry import GATES, open_gate
from tests import components


def read(tmp_path: Path, text: str | bytes, name: str = "p.csv") -> Predictions:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return _predictions.read(path, "predictions")


def test_every_gate_is_registered_under_its_own_name() -> None:
    for name in GATES:
        assert open_gate(name).name == name
    with pytest.raises(UsageError, match="no gate 'accurcy'"):
        open_gate("accurcy")


# Predictions


def test_rows_are_read_and_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    import hashlib

    text = 'id,label,prediction,score\r\n"a, b",yes,no,-1.5e-3\r\n=1+1,yes,yes,2\r\n'
    found = read(tmp_path, text)
    assert found.ids == ("a, b", "=1+1")  # a formula is a name like any other: no one runs it
    assert (found.labels, found.predicted) == (("yes", "yes"), ("no", "yes"))
    assert found.scores == (-0.0015, 2.0)
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfid,label,prediction\n1,a,a\n").ids == ("1",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id;label;prediction\n",
        "id,label\n1,a\n",
        "id,label,prediction,extra\n1,a,a,2\n",
        "id,label,prediction\n1,a\n",
        "id,label,prediction\n1,a,a,a\n",
        "id,label,prediction\n\n1,a,a\n",
        "id,label,prediction\n1,a,a\n1,a,b\n",
        "id,label,prediction\n,a,a\n",
        'id,label,prediction\n1,a,"a\n',
        'id,label,prediction\n1,a,"a\nb"\n',
        'id,label,prediction\n1,a,"a"b\n',
        "id,label,prediction\n1,a,a\x00\n",
        "id,label,prediction\n1,a,a\x1b[31m\n",
        "id,label,prediction\n1,a,\u202ea\n",
        b"id,label,prediction\n1,a,\xff\n",
        "id,label,prediction\n1,a, a\n",
        "id,label,prediction\n1,a," + "a" * 257 + "\n",
        "id,label,prediction\n" + "1" * 20_000,
        "id,label,prediction,score\n1,a,a,\n",
        "id,label,prediction,score\n1,a,a,nan\n",
        "id,label,prediction,score\n1,a,a,1e400\n",
        "id,label,prediction,score\n1,a,a,0x10\n",
        "id,label,prediction,score\n1,a,a,\u0661\n",
        "PAR1 and no more",
    ],
)
def test_hostile_predictions_are_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read(tmp_path, text)
    assert caught.value.reason == "bad-predictions"


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "-inf", "Infinity", "None", "null", "<NA>"])
def test_a_missing_value_is_no_answer_that_equals_another(tmp_path: Path, nothing: str) -> None:
    """A model that answers nothing would be right wherever the label is missing too."""
    with pytest.raises(Malformed, match="cannot be used"):
        read(tmp_path, f"id,label,prediction\n1,{nothing},{nothing}\n")


def test_files_that_are_missing_or_no_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        _predictions.read(tmp_path / "none.csv", "predictions")
    with pytest.raises(SovgateError):
        _predictions.read(tmp_path, "predictions")


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_predictions, "MAX_ROWS", 2)
    text = "id,label,prediction\n1,a,a\n2,a,a\n"
    assert len(read(tmp_path, text).ids) == 2
    with pytest.raises(VerificationFailed) as caught:
        read(tmp_path, text + "3,a,a\n")
    assert caught.value.reason == "limits"


def parquet(tmp_path: Path, **columns: list[Any]) -> Path:
    pa = components.found(components.package, "pyarrow")
    from pyarrow import parquet as pq

    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    return tmp_path / "p.parquet"


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    path = parquet(tmp_path, id=[1, 2], label=["a", "b"], prediction=["a", "a"], score=[0.5, 1.0])
    found = _predictions.read(path, "predictions")
    same = read(tmp_path, "id,label,prediction,score\n1,a,a,0.5\n2,b,a,1\n")
    assert found.sha256 != same.sha256
    assert (found.ids, found.labels, found.predicted, found.scores) == (
        same.ids,
        same.labels,
        same.predicted,
        same.scores,
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"id": [1, 1], "label": ["a", "a"], "prediction": ["a", "a"]},
        {"id": [1, 2], "label": ["a", None], "prediction": ["a", None]},
        {"id": [1, 2], "label": [1.0, 2.0], "prediction": [1.0, 2.0]},
        {"id": [1, 2], "label": [float("nan")] * 2, "prediction": [float("nan")] * 2},
        {"id": [1, 2], "label": [[1], [1]], "prediction": [[1], [1]]},
        {"id": [1], "prediction": ["a"], "label": ["a"]},
        {"id": [1], "label": ["a"], "prediction": ["a"], "score": [float("inf")]},
    ],
)
def test_hostile_parquet_is_refused(tmp_path: Path, columns: dict[str, list[Any]]) -> None:
    with pytest.raises(Malformed):
        _predictions.read(parquet(tmp_path, **columns), "predictions")


def test_damaged_parquet_is_refused_and_is_not_the_disks_fault(tmp_path: Path) -> None:
    path = parquet(tmp_path, id=[1, 2], label=["a", "b"], prediction=["a", "a"])
    data = path.read_bytes()
    refused = 0
    for place in range(4, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            _predictions.read(path, "predictions")
        except VerificationFailed:
            refused += 1
    assert refused


@pytest.mark.parametrize("what", ["one long text in every row", "one row of many values"])
def test_parquet_that_unpacks_to_gigabytes_is_refused_in_little_memory(
    tmp_path: Path, what: str
) -> None:
    """Both files have a few kilobytes, and keep every bound that they themselves tell."""
    pa = components.found(components.package, "pyarrow")
    from pyarrow import parquet as pq

    if what == "one long text in every row":
        column = pa.DictionaryArray.from_arrays(
            pa.array([0] * 8192, pa.int32()), pa.array(["x" * (2 << 20)])
        )
        columns = {"id": column, "label": column, "prediction": column}
    else:
        many = 10_000_000
        column = pa.ListArray.from_arrays(
            pa.array([0, many], pa.int32()), pa.array(memoryview(bytes(many)))
        )
        columns = {"id": column, "label": ["a"], "prediction": ["a"]}
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert path.stat().st_size < 10_000
    del column, columns
    usual = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counted)
    try:
        with pytest.raises(Malformed, match="cannot be used"):
            _predictions.read(path, "predictions")
    finally:
        pa.set_memory_pool(usual)
    assert counted.max_memory() < 40 << 20


# The gates


def table(*pairs: tuple[str, str], scores: list[float] | None = None) -> Predictions:
    return Predictions(
        ids=tuple(str(i) for i in range(len(pairs))),
        labels=tuple(label for label, _ in pairs),
        predicted=tuple(answer for _, answer in pairs),
        scores=None if scores is None else tuple(scores),
        sha256="ab" * 32,
    )


def outcome(measure: Measure, bound: str | None, threshold: str | None) -> str:
    return testresult.judge(measure, bound, threshold)


def test_a_perfect_score_on_few_samples_is_inconclusive() -> None:
    few = accuracy.measure(Inputs(confidence=0.95, predictions=table(*[("a", "a")] * 10)))
    many = accuracy.measure(Inputs(confidence=0.95, predictions=table(*[("a", "a")] * 100)))
    assert few.estimate == many.estimate == "1"
    assert outcome(few, "at-least", "0.9") == "inconclusive"
    assert outcome(many, "at-least", "0.9") == "pass"
    assert outcome(few, "at-least", "0") == "pass"


def test_no_samples_at_all_pass_nothing() -> None:
    """Not even what any number would pass."""
    for module in (accuracy, f1, auc, regression):
        empty = table(scores=[])
        found = module.measure(
            Inputs(confidence=0.95, predictions=empty, baseline=empty, positive="a")
        )
        assert outcome(found, "at-least", "0") == "inconclusive"
        assert outcome(found, "at-most", "1") == "inconclusive"


def test_a_bad_model_fails_and_is_not_just_unproven() -> None:
    bad = accuracy.measure(
        Inputs(confidence=0.95, predictions=table(*[("a", "a")] * 50, *[("a", "b")] * 50))
    )
    assert outcome(bad, "at-least", "0.9") == "fail"


def drop(now: list[str], then: list[str]) -> Measure:
    ours = table(*[("a", answer) for answer in now])
    before = table(*[("a", answer) for answer in then])
    return regression.measure(Inputs(confidence=0.95, predictions=ours, baseline=before))


def test_two_models_that_answer_ten_samples_alike_are_not_proven_alike() -> None:
    assert outcome(drop(["a"] * 10, ["a"] * 10), "at-most", "0.01") == "inconclusive"
    assert outcome(drop(["a"] * 1000, ["a"] * 1000), "at-most", "0.01") == "pass"


def test_a_worse_model_fails_the_regression_gate() -> None:
    found = drop(["b"] * 100 + ["a"] * 900, ["a"] * 1000)
    assert found.estimate == "0.1"
    assert found.counts == {"lost": 100, "won": 0}
    assert outcome(found, "at-most", "0.01") == "fail"


def test_errors_that_both_make_do_not_count_as_differences() -> None:
    found = drop(["b"] * 500 + ["a"] * 500, ["c"] * 500 + ["a"] * 500)
    assert found.counts == {"lost": 0, "won": 0}


@pytest.mark.parametrize("ids", [("0",), ("0", "1", "2"), ("0", "9")])
def test_a_baseline_on_other_samples_is_refused(ids: tuple[str, ...]) -> None:
    from dataclasses import replace

    ours = table(("a", "a"), ("a", "a"))
    other = replace(ours, ids=ids, labels=("a",) * len(ids), predicted=("a",) * len(ids))
    with pytest.raises(VerificationFailed) as caught:
        regression.measure(Inputs(confidence=0.95, predictions=ours, baseline=other))
    assert caught.value.reason == "different-ids"


def test_a_baseline_with_other_labels_is_refused() -> None:
    with pytest.raises(VerificationFailed) as caught:
        regression.measure(
            Inputs(confidence=0.95, predictions=table(("a", "a")), baseline=table(("b", "a")))
        )
    assert caught.value.reason == "different-labels"


def test_order_of_rows_does_not_matter_to_a_pair() -> None:
    ours = Predictions(
        ids=("x", "y"), labels=("a", "b"), predicted=("a", "a"), scores=None, sha256="0" * 64
    )
    before = Predictions(
        ids=("y", "x"), labels=("b", "a"), predicted=("b", "a"), scores=None, sha256="0" * 64
    )
    found = regression.measure(Inputs(confidence=0.95, predictions=ours, baseline=before))
    assert found.counts == {"lost": 1, "won": 0}


def test_nobody_finds_a_lucky_seed_by_writing_the_same_predictions_down_once_more(
    tmp_path: Path,
) -> None:
    rows = [(i, "ab"[i % 2], i * 37 % 101 / 100) for i in range(200)]
    found = set()
    for number in range(20):
        random.Random(number).shuffle(rows)
        lines = [f"{i},{label},a,{score:.{2 + number}f}" for i, label, score in rows]
        text = "\n".join(["id,label,prediction,score", *lines, ""])
        inputs = Inputs(confidence=0.95, predictions=read(tmp_path, text), positive="a")
        measured = auc.measure(inputs)
        found.add((measured.seed, measured.low, measured.high))
    assert len(found) == 1
    other = read(tmp_path, text.replace("199,", "200,"))
    assert (
        auc.measure(Inputs(confidence=0.95, predictions=other, positive="a")).seed != measured.seed
    )


def test_ties_are_no_wins() -> None:
    rows = table(*[("a", "a"), ("b", "a")] * 100, scores=[1.0] * 200)
    found = auc.measure(Inputs(confidence=0.95, predictions=rows, positive="a"))
    assert (found.estimate, found.low, found.high) == ("0.5", "0", "1")


def test_auc_without_scores_is_refused() -> None:
    with pytest.raises(VerificationFailed) as caught:
        auc.measure(Inputs(confidence=0.95, predictions=table(("a", "a")), positive="a"))
    assert caught.value.reason == "no-scores"


def test_f1_agrees_with_scikit_learn() -> None:
    sklearn = components.found(components.package, "sklearn.metrics")
    pairs = [("1", "1")] * 40 + [("1", "0")] * 7 + [("0", "1")] * 5 + [("0", "0")] * 60
    found = f1.measure(Inputs(confidence=0.95, predictions=table(*pairs), positive="1"))
    labels, answers = zip(*pairs, strict=True)
    expected = sklearn.f1_score(labels, answers, pos_label="1")
    assert abs(float(str(found.estimate)) - expected) < 1e-9


# JUnit


def run(body: str) -> Any:
    return _junit.parse(body.encode())


CASES = """<?xml version="1.0"?>
<testsuites><testsuite name="s" tests="4" failures="1" errors="0" skipped="1">
 <properties><property name="x" value="y"/></properties>
 <testcase classname="t.a" name="one"/>
 <testcase classname="t.a" name="two"><system-out>hi</system-out></testcase>
 <testcase classname="t.a" name="three"><failure message="no">trace</failure></testcase>
 <testcase classname="t.a" name="four"><skipped/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_counted() -> None:
    found = run(CASES)
    assert (found.ran, found.failures, found.skips) == (3, 1, 1)
    assert found.failed == ("t.a::three",)
    measured = junit.measure(Inputs(confidence=0.95, tests=found))
    assert outcome(measured, None, None) == "fail"
    assert measured.counts == {"failed": 1, "skipped": 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<testsuite/>", "inconclusive"),
        ("<testsuites><testsuite tests='9'/></testsuites>", "inconclusive"),
        ("<testsuite><testcase name='a'><skipped/></testcase></testsuite>", "inconclusive"),
        ("<testsuite><TestCase name='a'/></testsuite>", "inconclusive"),
        ("<testsuite><testcase name='a'/></testsuite>", "pass"),
        ("<testsuite><testcase name='a'><error/></testcase></testsuite>", "fail"),
        ("<testsuite><testcase name='a'><skipped/><failure/></testcase></testsuite>", "fail"),
        ("<testsuite><testcase name='a'><failure/><skipped/></testcase></testsuite>", "fail"),
        ("<testsuite><testcase name='a'/><error>setup</error></testsuite>", "fail"),
        ("<testsuite><testcase><x:failure xmlns:x='u:x'/></testcase></testsuite>", "fail"),
        (
            "<testsuite><testcase/><a xmlns='u:x'><testcase><error/></testcase></a></testsuite>",
            "fail",
        ),
    ],
)
def test_a_report_passes_only_by_tests_that_ran(body: str, expected: str) -> None:
    measured = junit.measure(Inputs(confidence=0.95, tests=run(body)))
    assert outcome(measured, None, None) == expected


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<testsuite><testcase name='&b;'/></testsuite>"
)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not xml",
        "<testsuite>",
        "<html/>",
        "<x:testsuite xmlns:x='urn:x'/>",
        BOMB,
        "<!DOCTYPE testsuite SYSTEM 'file:///etc/passwd'><testsuite/>",
        "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><testsuite>&a;</testsuite>",
        "<testsuite>&undefined;</testsuite>",
        "<testsuite><testcase name='a'><testcase name='b'/></testcase></testsuite>",
        "<testsuite failures='1'><testcase name='a'/></testsuite>",
        "<testsuites errors='2'><testsuite><testcase name='a'/></testsuite></testsuites>",
        "<testsuite failures='many'><testcase name='a'/></testsuite>",
        "<testsuite>" * 40 + "</testsuite>" * 40,
        '<?xml version="1.0" encoding="klingon"?><testsuite/>',
    ],
)
def test_hostile_reports_are_refused(body: str) -> None:
    with pytest.raises(Malformed) as caught:
        run(body)
    assert caught.value.reason == "bad-report"


def test_names_in_a_report_cannot_draw_on_a_terminal() -> None:
    found = run("<testsuite><testcase name='a&#x202e;b&#9;c'><failure/></testcase></testsuite>")
    assert found.failed == ("a?b?c",)


# The statement

RESULT = TestResult(
    gate="accuracy",
    bound="at-least",
    threshold="0.9",
    inputs={"predictions": "ab" * 32, "thresholds": "cd" * 32},
    measure=Measure(
        metric="accuracy",
        n=1000,
        estimate="0.95",
        low="0.934609512",
        high="0.962664603",
        confidence="0.95",
        counts={"right": 950},
    ),
)


def test_a_result_reads_back() -> None:
    for result in (
        RESULT,
        TestResult(
            gate="junit",
            bound=None,
            threshold=None,
            inputs={},
            measure=Measure(metric="tests", n=3, failed=("a",), counts={"failed": 1}),
        ),
    ):
        data = strict.canonical(result.predicate())
        assert testresult.parse(strict.loads(data)) == result


def predicate() -> dict[str, Any]:
    return copy.deepcopy(RESULT.predicate())


@pytest.mark.parametrize("name", sorted(RESULT.predicate()[EXTENSION]))
def test_a_result_without_a_field_is_refused(name: str) -> None:
    changed = predicate()
    del changed[EXTENSION][name]
    with pytest.raises(Malformed):
        testresult.parse(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"low": "0.89"},
        {"outcome": "fail"},
        {"outcome": "inconclusive"},
        {"threshold": "0.94"},
        {"threshold": None},
        {"bound": None},
        {"bound": "at-most"},
        {"bound": "about"},
        {"n": 0},
        {"n": -1},
        {"estimate": "0.99"},
        {"low": None},
        {"high": None},
        {"low": "NaN"},
        {"high": "Infinity"},
        {"low": "9e-1"},
        {"confidence": "0.5"},
        {"confidence": "1"},
        {"confidence": None},
        {"seed": "1"},
        {"gate": "../x"},
        {"extra": 1},
        {"counts": {"right": "950"}},
        {"pins": None},
        {"pins": {}},
        {"pins": {"test-set": "ab", "baseline": None, "positive": None}},
        {"pins": {"test-set": None, "baseline": None, "positive": 1}},
        {"pins": {"test-set": None, "baseline": None, "positive": None, "seed": 1}},
    ],
    ids=str,
)
def test_a_result_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    changed = predicate()
    changed[EXTENSION] |= change
    with pytest.raises(Malformed):
        testresult.parse(changed)


def test_an_open_result_is_no_pass_to_other_tools() -> None:
    from dataclasses import replace

    unproven = replace(RESULT, threshold="0.95")
    assert unproven.outcome == "inconclusive"
    assert unproven.predicate()["result"] == "FAILED"
    changed = predicate()
    changed["result"] = "FAILED"
    with pytest.raises(Malformed):
        testresult.parse(changed)


# Whatever bytes come in


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_predictions_or_refused(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.csv"
        for text in (data, b"id,label,prediction\n" + data):
            path.write_bytes(text)
            try:
                found = _predictions.read(path, "predictions")
            except SovgateError:
                continue
            assert len(found.ids) == len(found.labels) == len(found.predicted)


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                "<testsuite>",
                "</testsuite>",
                "<testcase name='a'>",
                "</testcase>",
                "<failure/>",
                "<skipped/>",
                "<testcase/>",
                "<!DOCTYPE a>",
                "&x;",
                "<![CDATA[<failure/>]]>",
                "<?pi?>",
            ]
        ),
        max_size=20,
    ).map(lambda parts: "".join(parts).encode())
)
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    try:
        found = _junit.parse(data)
    except SovgateError:
        return
    assert found.failures >= data.count(b"<failure/>") - data.count(b"CDATA") or found.failures > 0


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda below: (
            st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3)
        ),
        max_leaves=10,
    ),
    st.sampled_from(sorted(RESULT.predicate()[EXTENSION])),
)
def test_any_value_in_a_field_is_the_same_result_or_refused(value: Any, name: str) -> None:
    changed = predicate()
    changed[EXTENSION][name] = value
    try:
        found = testresult.parse(changed)
    except Malformed:
        return
    assert found.outcome == "pass"
    assert found.predicate() == changed
