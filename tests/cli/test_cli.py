"""The command line, in this process: what it refuses, what it prints."""

import contextlib
import json
import re
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfkd_lab import METHODS, RunFolder, __version__, plan, prepare, teachers
from dfkd_lab.__main__ import COMMANDS, USAGE, main
from dfkd_lab.cli.flags import parse
from dfkd_lab.cli.progress import Progress
from dfkd_lab.engine.loop import Run
from dfkd_lab.engine.report import Cost, Report
from dfkd_lab.errors import SpecError
from dfkd_lab.methods import catalogue
from dfkd_lab.runs import keeping
from dfkd_lab.spec import RunSpec, settings_of
from tests.support import events_of
from widgets.__main__ import main as draw

README = Path(__file__).parents[2] / "README.md"
TINY = ["--rounds", "2", "--cycles", "2", "--batch", "16", "--width", "4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "dafl", "--balnce", "3"], "did you mean 'balance'?"),
        (["run", "dafll"], "did you mean 'dafl'?"),
        (["run", "dafl", "--balance", "-3"], "balance = -3.0 is out of range; allowed: a number 0 to 1,000"),
        (["run", "dafl", "--balance", "much"], "balance = 'much' is not a number; allowed: a number 0 to 1,000"),
        (["run", "dafl", "--rounds", "1.5"], "rounds = '1.5' is not a whole number"),
        (["run", "dafl", "--student", "convnet"], "student: 'convnet' is not a network"),
        (["run", "dafl", "--data", "digit"], "did you mean 'digits'?"),
        (["run", "dafl", "--teacher", "digts"], "did you mean 'digits'?"),
        (["run", "dafl", "--teacher", "absent.safetensors"], "there is no file absent.safetensors"),
        (["run", "dafl", "--device", "gpu"], "allowed: auto, cpu, cuda, mps"),
        (["run", "dafl", "3"], "'3' belongs to no setting"),
        (["rnu"], "did you mean 'run'?"),
        (["run", "dafl", "--out"], "--out needs a value"),
        (["run", "dafl", "--out", "--seed", "3"], "--out needs a value"),
        (["run", "ssd_kd", "--rounds=3", "--minutes", "2"], "rounds = 3 and minutes = 2 both say"),
        (["list", "nowhere"], "list takes one folder that holds run folders, not nowhere"),
        (["list", "--json"], "not --json"),
        (["list", "--all", "--all"], "--all is given twice"),
        (["check", "--foo"], "check takes nothing, not --foo"),
        (["notebook", str(README)], "README.md is not a notebook (NotJSONError"),
        (["resume", "nowhere"], "is not a run folder"),
        (["compare"], "compare takes run folders"),
        (["teachers", "--dta", "digits"], "'dta' is not a setting of teachers; did you mean 'data'?"),
        (["teachers", "--data", "digit"], "did you mean 'digits'?"),
        (["teachers", "--normalization", "cifar"], "did you mean 'cifar10'?"),
        (["teachers", "absent.pth"], "there is no file absent.pth"),
        (["teachers", "timm:resnet18@absent.pth"], "teacher = 'timm:resnet18@absent.pth': "),
        (["notebook", "10_rum"], "did you mean '10_run'?"),
        (["notebook", "10_run", "-p", "method", "dafl", "-p", "balnce", "3"], "did you mean 'balance'?"),
        (["notebook", "10_run", "-p", "rounds", "many"], "rounds = 'many' is not a whole number"),
        (["notebook", "10_run", "-p", "rounds"], "-p key value"),
        (["demo", "extra"], "'extra' belongs to no setting"),
        (["demo", "--sed", "1"], "'sed' is not a setting of demo; did you mean 'seed'?"),
        (["demo", "--seed"], "--seed needs a value; allowed: a whole number"),
        (["demo", "--seed", "many"], "seed = 'many' is not a whole number"),
        (["bench", "extra"], "'extra' belongs to no setting"),
        (["train-teacher", "convnet_8", "--epoch", "1"], "did you mean 'epochs'?"),
        (["run", "--foo"], "run takes a method before its settings, not --foo"),
        (["run", "dafl", "--tyro-print-completion", "bash"], "'tyro_print_completion' is not a setting of dafl"),
        (["run", "dafl", "--deterministic=maybe"], "--deterministic takes no value, not 'maybe'"),
        (["\x1b[31mrun\n"], "'\\x1b[31mrun\\n' is not a command"),
        (["resume", "a\nb\x1b[2J"], "'a\\nb\\x1b[2J' is not a run folder"),
        (["notebook", "10_run", "-p", "settings", "[" * 100_000], "is not a dictionary"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert "\x1b" not in said.err
    assert len(said.err) < 2000
    assert "Traceback" not in said.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_the_last_accuracy_that_was_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr("dfkd_lab.cli.progress.tqdm.set_postfix_str", lambda bar, text, refresh: shown.append(text))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    five = [*TINY]
    five[five.index("--rounds") + 1] = "5"
    assert main(["run", "dafl", *five, "--evaluate-every", "2"]) == 0
    said = capsys.readouterr().err
    lines = re.findall(r"^round \d of 5: (.*)$", said, re.M)
    assert (len(lines), len(shown)) == ((0, 5) if terminal else (5, 0)), "a line a round where no terminal is"
    shown = shown or lines
    assert ["accuracy" in text for text in shown] == [False, True, True, True, True]
    accuracies = [event["accuracy"] for event in events_of(RunFolder(next((tmp_path / "runs").iterdir())))]
    assert shown[2].startswith(f"accuracy {accuracies[1]:.3f} agreement")
    assert re.search(r"^about .* on this [CG]PU, by one timed step$", said, re.M)


def test_a_value_behind_an_equals_sign_is_that_settings() -> None:
    words = ["--flip=false", "--terms=balance=5", "--out=true", "--compile=false", "--rounds=1e3"]
    given = {"flip": False, "terms": "balance=5", "out": "true", "compile": "no", "rounds": 1000}
    assert parse("ssd_kd", words) == given


def test_the_time_left_is_that_of_the_rounds_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Progress(RunFolder(tmp_path), 10) as shown:
        time.sleep(0.1)  # preparation
        for number, seconds in ((1, 100.0), (2, 110.0), (3, 120.0)):
            cost = Cost(distillation_s=seconds, s_steps=number)
            shown.show(Report(number, 10, {}, {}, dict.fromkeys(("agreement", "entropy", "confidence"), 0.5), [], None,
                              cost=cost))  # fmt: skip
    assert [line.partition(", ")[2] for line in capsys.readouterr().err.splitlines()][1:] == [
        "about 80 s left", "about 70 s left",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(command: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # as tyro ends
        main([command, flag])
    assert re.search(rf"(?<!\w){command} ", capsys.readouterr().out)


def test_help_of_other_commands_names_choices_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    assert "[local, slurm, ray]" in re.sub(r"[\s│]+", " ", capsys.readouterr().out)


def test_help_of_a_notebook_lists_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["notebook", "10_run", "--help"]) == 0
    said = capsys.readouterr().out
    assert set(settings_of(RunSpec)) <= set(re.findall(r"^\w+", said, re.M))


@pytest.mark.parametrize("name", METHODS)
def test_help_shows_every_setting_with_its_range(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", name, "--help"])
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for setting, field in settings_of(METHODS[name]).items():
        assert f"--{setting.replace('_', '-')}" in shown
        assert not field.metadata["choices"] or f"[{', '.join(field.metadata['choices'])}]" in shown
    assert "[auto, fp32, bf16]" in shown, "also the choices of a setting of every run"
    assert METHODS[name].citation in shown


@pytest.mark.parametrize("name", METHODS)
def test_the_command_line_and_the_preset_agree(name: str) -> None:
    assert parse(name, []) == {}
    resolved = plan(method=name)
    preset = METHODS[name].presets["digits"]
    assert {key: getattr(resolved, key) for key in preset} == preset
    paper = plan(method=name, **parse(name, ["--preset", "paper", "--seed=3"]))
    assert (paper.rounds, paper.seed) == (METHODS[name].presets["paper"]["rounds"], 3)


def test_usage_names_every_command() -> None:
    assert set(re.findall(r"^  ([\w-]+)", USAGE, re.MULTILINE)) == set(COMMANDS)


def test_run_leaves_a_finished_folder_and_its_summary_as_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "dafl", *TINY, "--out", "first"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"student 0\.\d{3} teacher 0\.\d{3} seconds \d+\.\d run runs/first", last)
    assert (tmp_path / "runs" / "first" / "student.safetensors").is_file()
    assert len((tmp_path / "runs" / "first" / "events.jsonl").read_text().splitlines()) == 2
    assert main(["run", "dafl", *TINY, "--eval", "none", "--preset", "digits", "--out", "second"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("student none teacher none seconds")
    assert main(["run", "dafl", *TINY, "--out", "first"]) == 0
    again = capsys.readouterr()
    assert "it has finished before: another --seed or --out begins anew, and more --rounds need" in again.err
    assert again.out.splitlines()[-1] == last
    assert main(["run", "dafl", "--rounds", "3", *TINY[2:], "--out", "first"]) == 2, "schedules of two rounds"
    assert "rounds: 2 -> 3); give another folder (out)" in capsys.readouterr().err
    assert main(["run", "dafl", *TINY, "--balance", "4", "--out", "first"]) == 2
    assert "balance: 20.0 -> 4.0" in capsys.readouterr().err
    assert main(["compare", "first", "second"]) == 0
    assert "data: 'digits' -> 'none'" in capsys.readouterr().out
    assert main(["list", "."]) == 0
    assert "finished" in capsys.readouterr().out


def test_a_stopped_run_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "runs" / "held")
    advance = Run.advance

    def stop_in_the_first_round(run: Run) -> Report:
        folder.request("stop")
        time.sleep(0.1)
        return advance(run)

    monkeypatch.setattr(Run, "advance", stop_in_the_first_round)
    with pytest.raises(SystemExit) as stopped:
        main(["run", "dafl", *TINY, "--out", "held"])
    assert stopped.value.code == 130
    assert capsys.readouterr().out.splitlines()[-1] == "stopped after round 1 of 2; continue with: resume runs/held"
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["resume", "held"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("student 0.")


def test_methods_as_json_list_citation_certainty_and_slots(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(METHODS)
    for row in rows:
        assert row["citation"]
        assert row["certainty"].split()[0] in ("certain", "inferred")
        assert list(row["slots"]) == ["synthesizer", "terms", "student", "memory", "view", "schedule"]
    assert any(remark.startswith("Inferred:") for remark in rows[list(METHODS).index("ssd_kd")]["remarks"])


def test_the_table_of_methods_is_the_generated_one() -> None:
    page = README.parent / "docs" / "methods.md"
    marked = re.search(r"<!-- methods: .*? -->\n(.*?)<!-- /methods -->", page.read_text(), re.DOTALL)
    assert marked
    assert marked.group(1).strip() == catalogue.table()


def test_the_result_the_readme_shows_is_the_recorded_one() -> None:
    recorded = json.loads((README.parent / "benchmarks" / "results" / "demo.json").read_text())["runs"][0]
    figures = f"student {recorded['last']:.3f} teacher {recorded['teacher']:.3f} seconds {recorded['seconds']:.1f}"
    assert f"{figures} run runs/demo-seed0" in README.read_text()


def test_teachers_measures_the_built_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teachers"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"accuracy +0\.9\d+ on the held-out digits", shown)
    for figure in ("top5", "calibration_error", "confidence", "running_mean", "running_variance", "sha256"):
        assert re.search(rf"^{figure} +[\[0-9a-f]", shown, re.MULTILINE)


def test_teachers_finds_the_network_of_a_bare_file_and_takes_the_data_at_its_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bare.pth"
    torch.save({"model": load_file(teachers.train_built_in("digits"))}, path)
    assert main(["teachers", str(path), "--data", "digits"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^net +convnet_32$", shown, re.MULTILINE)
    assert re.search(r"accuracy +0\.9\d+ on the held-out digits", shown)
    assert main(["teachers", str(path), "--normalization", "digits"]) == 0
    assert re.search(r"^accuracy +not measured$", capsys.readouterr().out, re.MULTILINE)
    assert main(["teachers", str(path)]) == 2
    assert "does not say its normalization" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "auto"),
        (["--compile"], "yes"),
        (["--no-compile"], "no"),
        (["--compile", "--rounds", "2"], "yes"),
        (["--compile", "no"], "no"),
        (["--compile=auto"], "auto"),
        (["--compile", "True"], "yes"),
    ],
    ids=str,
)
def test_a_switch_is_a_flag_and_a_value(arguments: list[str], wanted: str) -> None:
    assert plan(parse("fast", [*arguments, "--device", "cpu"])).spec.compile == wanted


def test_a_switch_that_is_misspelt_is_refused_and_its_name_may_be_a_value() -> None:
    with pytest.raises(SpecError, match=r"compile = 'maybe' .*allowed: auto, yes, no"):
        plan(parse("fast", ["--compile", "maybe"]))
    given = parse("fast", ["--out", "compile", "--rounds", "3"])
    assert (given["out"], given["rounds"]) == ("compile", 3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("run ssd_kd --capacity 5 --capacity 50", "capacity is given twice; give it once"),
        ("run ssd_kd --seed=1 --seed 2", "seed is given twice; give it once"),
        ("run ssd_kd --priority --no-priority", "priority is given twice; give it once"),
        ("run ssd_kd --data digits --eval none", "data is given twice; give it once"),
        ("run ssd_kd --compile --no-compile", "compile is given twice; give it once"),
        ("demo --seed 1 --seed 2", "seed is given twice; give it once"),
        ("train-teacher convnet_32 --epochs 2 --epochs 3", "epochs is given twice; give it once"),
        ("train-teacher convnet_32 --net convnet_8", "net is given twice; give it once"),
        ("notebook 10_run -p seed 1 -p seed 2", "seed is given twice; give it once"),
        ("examine one --trust-code --trust-code kept", "--trust-code is given twice; give it once"),
        ("--version x", "--version takes nothing, not x"),
        ("run ssd_kd --priority maybe", "--priority takes no value, not 'maybe'; allowed: --priority or --no-priority"),
        (
            "run ssd_kd --no-compile yes",
            "--no-compile takes no value, not 'yes'; allowed: --no-compile, or --compile auto|yes|no",
        ),
    ],
)
def test_a_setting_twice_and_a_flag_with_a_value_are_refused(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


def test_the_version_is_said_without_torch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dfkd_lab {__version__}\n"


@pytest.mark.slow
def test_a_report_is_written_of_a_run_and_of_many(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--rounds", "1", "--cycles", "1", "--batch", "8", "--width", "8", "--data", "none", "--device", "cpu"]
    folder = tmp_path / "many" / "one"
    assert main(["run", "dafl", *flags, "--out", str(folder)]) == 0
    capfd.readouterr()
    assert main(["report", str(folder)]) == 0
    assert draw([str(folder.parent)]) == 0  # what that starts as a process, which takes seconds
    assert capfd.readouterr().out.split() == [str(folder / "report.html"), str(folder.parent / "sweep.html")]
    assert "<h1>" in (folder / "report.html").read_text()
    (tmp_path / "empty").mkdir()
    for words, sentence in (
        ([], "report takes one run folder"),
        (["absent"], "there is no folder absent"),
    ):
        assert main(["report", *words]) == 2
        assert sentence in capfd.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(tmp_path / "empty")])
    assert "there is no run folder in" in capfd.readouterr().err


@pytest.mark.parametrize(("typed", "meant"), [("bas", "base"), ("runs/bas", "runs/base"), ("of/seed", "of/seed0")])
def test_a_run_is_looked_for_as_it_is_typed(
    typed: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("base", "of/seed0", "else"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "spec.yaml").touch()
    assert main(["compare", typed]) == 2
    assert capsys.readouterr().err == f"'{typed}' is not a run folder; did you mean '{meant}'?\n"


def test_the_list_counts_the_runs_of_lessons_and_shows_them_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(plan(method="dafl", out="lessons/23/arm"))
    assert main(["list"]) == 0
    assert capsys.readouterr() == ("\n", "and 1 of lessons: list --all\n")
    prepare(plan(method="dafl", out="over-seed/seed0"))
    for words, runs, counted in (
        (["list"], ["runs/over-seed/seed0"], "and 1 of lessons: list --all\n"),
        (["list", "runs"], ["runs/over-seed/seed0"], "and 1 of lessons: list runs --all\n"),
        (["list", "--all", "runs"], ["runs/lessons/23/arm", "runs/over-seed/seed0"], ""),
        (["list", "runs/lessons"], ["runs/lessons/23/arm"], ""),
    ):
        assert main(words) == 0
        shown = capsys.readouterr()
        assert sorted(re.findall(r"^runs/\S+", shown.out, re.MULTILINE)) == runs
        assert shown.err == counted


def test_the_list_shows_tags_and_notes_where_there_are_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = (prepare(plan(method="dafl", out=name)) for name in ("one", "two"))
    assert main(["list"]) == 0
    assert "tags" not in capsys.readouterr().out
    keeping.write_label(one, "the best", ["paper", "seed 0"])
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-2:] == ["tags", "note"]
    (line,) = (each for each in lines if "runs/one" in each)
    assert line.endswith("  paper, seed 0  the best")
    (two.path / "label.json").write_text("[")
    assert main(["list"]) == 0
    shown = capsys.readouterr()
    assert "runs/two  new" in shown.out
    assert "label.json is damaged" in shown.err
