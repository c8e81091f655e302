"""What commands print: escaped for where it goes (RULES 24), one document for programs."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sovgate.cli import _emit, _places
from sovgate.cli._emit import Report, clean, clean_log, clean_markdown, emit
from sovgate.cli._failure import render
from sovgate.errors import ConfigError, ExitCode, UsageError, Where, workflow_permissions

HOSTILE = "x\n::error::pwn\r##[group]\x1b[31m<script>|[a](b)\u202e\x9b\ud800"
REPORT = Report(
    command="demo",
    headline=HOSTILE,
    rows=(("label", HOSTILE), (HOSTILE, "")),
    table=(("head", "b"), (HOSTILE, "b")),
    outputs={"value": HOSTILE.replace("\ud800", "")},
    data={"value": HOSTILE},
    notes=(HOSTILE,),
)


def test_rule_24_text_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    emit(REPORT, "text")
    out = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", out)
    assert "::error::pwn" in out  # visible, on the line where it belongs
    assert not any(line.lstrip().startswith("::") for line in out.splitlines())


def test_rule_24_github_log_holds_no_foreign_commands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "out"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    emit(REPORT, "github")
    out = capsys.readouterr().out
    assert "::" not in out
    assert "##[" not in out
    summary = (tmp_path / "summary").read_text()
    assert "<script>" not in summary
    assert "[a](b)" not in summary
    assert len(summary.splitlines()) == len([*summary.split("\n")]) - 1  # no stray separators


@pytest.mark.parametrize("text", ["::", ":::", "a::::b", ":::::error::x", "###[error]", "##[[x"])
def test_rule_24_no_row_of_marks_leaves_a_command_standing(text: str) -> None:
    from sovgate.surface import launch

    for escape in (_emit.clean_log, launch._escape):
        assert "::" not in escape(text)
        assert "##[" not in escape(text)


@pytest.mark.parametrize("mark", ["\u061c", "\u200e", "\u200f", "\u200b", "\ufeff", "\U000e0041"])
def test_rule_24_invisible_characters_are_shown(mark: str) -> None:
    """Two release names that look the same on a screen are told apart by what is printed."""
    assert _emit.clean(f"chu{mark}rn") == f"chu\\u{ord(mark):04x}rn"


def test_rule_24_no_value_ends_its_own_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "out"))
    _emit.write_github_outputs({"a": "1\nsovgate-x\nb<<E\n2\nE", "c": "3"})
    parsed: dict[str, str] = {}
    lines = iter((tmp_path / "out").read_text().split("\n"))
    for line in lines:
        if "<<" in line:
            name, mark = line.split("<<", 1)
            value = []
            for inner in lines:
                if inner == mark:
                    break
                value.append(inner)
            parsed[name] = "\n".join(value)
    assert parsed == {"a": "1\nsovgate-x\nb<<E\n2\nE", "c": "3"}


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    emit(REPORT, "json")
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "demo"
    assert document["exit"] == 0


def test_tekton_results_are_files_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOVGATE_RESULTS_DIR", str(tmp_path))
    _emit.write_tekton_results({"digest": "sha256:ab"})
    assert (tmp_path / "digest").read_text() == "sha256:ab"
    # All that Tekton puts into the pod's termination message counts, names and quotes too.
    for big in ({"big": "x" * 4090}, {f"n{n}": "y" * 8 for n in range(120)}, {"m": "<" * 700}):
        with pytest.raises(UsageError, match="4,096") as caught:
            _emit.write_tekton_results(big)
        assert caught.value.fix
        assert not {*big} & {path.name for path in tmp_path.iterdir()}
    _emit.write_tekton_results({"path": "p" * 3800})


def test_results_outside_of_tekton_say_where_they_could_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOVGATE_RESULTS_DIR", str(tmp_path / "none"))
    with pytest.raises(UsageError) as caught:
        emit(REPORT, "tekton")
    assert "SOVGATE_RESULTS_DIR" in str(caught.value.fix)


@given(st.text())
def test_escapes_hold_for_any_text(text: str) -> None:
    assert "\n" not in clean(text)
    assert "::" not in clean_log(text)
    assert "##[" not in clean_log(text)
    assert "<" not in clean_markdown(text)
    assert "|" not in re.sub(r"\\.", "", clean_markdown(text))


@pytest.mark.parametrize(
    "name", ["SOVGATE_FORMAT", "SOVGATE_AUDIT_FORMAT", "SOVGATE_AUDIT_VERIFY_FORMAT"]
)
def test_an_error_too_comes_in_the_form_that_the_environment_asks_for(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "json")
    monkeypatch.setenv("SOVGATE_SIGN_FORMAT", "text")
    assert render(ERROR, ["audit", "verify", "there"]) == ExitCode.CONFIG
    assert json.loads(capsys.readouterr().out)["exit"] == 3
    assert render(ERROR, ["audit", "verify", "--format", "text"]) == ExitCode.CONFIG
    assert capsys.readouterr().out == ""


def test_a_block_to_paste_keeps_its_form_in_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    details = (*workflow_permissions("id-token: write", "contents: read"), "  ```", "  <b>")
    render(ConfigError("no token", fix="do it", details=details), ["--format", "github"])
    text = (tmp_path / "summary").read_text()
    (block,) = re.findall(r"\n```\n(.*?)\n```\n", text, re.DOTALL)
    assert block == "permissions:\n  id-token: write\n  contents: read"
    assert "- paste into the job:\n" in text
    assert text.count("```") == 2
    assert "  &lt;b&gt;\n- do it\n" in text
    assert "    id-token: write" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SOVGATE_VERBOSE", "SOVGATE_SIGN_VERBOSE"])
def test_a_traceback_can_be_asked_for_by_the_environment(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true")
    render(RuntimeError("where"), ["sign", "model"])
    assert "RuntimeError: where" in capsys.readouterr().err
    monkeypatch.setenv(name, "false")
    render(RuntimeError("where"), ["sign", "model"])
    assert "RuntimeError: where" not in capsys.readouterr().err


ERROR = ConfigError(
    "no zone\n::x",
    why="w\x1b[0m",
    fix="f",
    where=Where(path="a,b:c.yaml", line=3),
    data={"more": 1},
    details=("d\n##[x]",),
)


@pytest.mark.parametrize("form", ["text", "github", "tekton", "json"])
def test_an_error_is_rendered_once_and_escaped(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert render(ERROR, ["x", "--format", form]) == ExitCode.CONFIG
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "Traceback" not in captured.err
    if form == "json":
        document = json.loads(captured.out)
        assert document["exit"] == 3
        assert document["error"]["where"] == {"path": "a,b:c.yaml", "line": 3, "column": None}
        assert document["more"] == 1
    elif form == "github":
        (line,) = captured.out.splitlines()
        assert line.startswith("::error file=a%2Cb%3Ac.yaml,line=3::no zone\\n")
    else:
        assert "a,b:c.yaml:3" in captured.err
        assert captured.out == ""


def test_a_defect_is_one_and_shows_its_trace_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert render(RuntimeError("secret"), []) == ExitCode.INTERNAL
    assert "secret" not in capsys.readouterr().err
    try:
        raise RuntimeError("x")
    except RuntimeError as error:
        render(error, ["-v"])
    assert "Traceback" in capsys.readouterr().err


def test_rule_24_a_trace_is_escaped_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A library's words may quote a hostile file, line by line."""
    try:
        raise ValueError("in the file:\n  ::add-mask::x\n\x1b]0;pwn\x07##[command]")
    except ValueError as error:
        render(error, ["-v", "--format", "github"])
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "::" not in said
    assert "##[" not in said
    assert "\x1b" not in said


def test_a_terminal_that_shows_only_ascii_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    emit(Report(command="x", headline="é ✓"), "text")
    assert b"\\xe9" in raw.getvalue()


def test_an_annotation_names_the_file_from_the_repositorys_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors name `sovgate.yaml`, wherever the project lies; GitHub looks from the root."""
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "sovgate.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    where = Where(path="sovgate.yaml", line=3)
    for project in (Path("ml"), Path("ml").absolute()):
        token = _places.PROJECT.set(project)
        line = _emit.annotation("error", where, "no")
        _places.PROJECT.reset(token)
        assert line == "::error file=ml/sovgate.yaml,line=3::no"
    for path in ("elsewhere.yaml", "x" * 5000, "a\0b"):
        assert "file=" in _emit.annotation("error", Where(path=path), "no")
