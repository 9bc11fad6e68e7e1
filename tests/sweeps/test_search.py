"""A search proposes by what trials came to, judges them by images of others, gives up the hopeless, and goes on."""

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock
from PIL import Image

from dfkd_lab import RunError, RunFolder, Session, SpecError, nets, plan, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs import samples
from dfkd_lab.sweeps import judging, search
from dfkd_lab.sweeps.launchers import LAUNCHERS
from dfkd_lab.sweeps.ranges import Axis, axes
from dfkd_lab.sweeps.search import Search
from tests.sweeps.test_sweeps import SIZES, Scripted

needs_optuna = pytest.mark.skipif(not importlib.util.find_spec("optuna"), reason="optuna is in the extra 'search'")
GIVEN = {"method": "dafl", **SIZES, "device": "cpu", "data": "none", "checkpoint_s": 0}


def file_of(folder: Path, **parts: Any) -> Path:
    file = folder / "tuned.yaml"
    file.write_text(yaml.safe_dump({"with": GIVEN, **parts}))
    return file


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Proposals in a row in optuna's place; gives the histories they were asked with."""
    histories: list[Any] = []

    def ask(over: Any, history: Any, seed: int) -> dict[str, Any]:
        histories.append(history)
        return {"balance": 1.0 + seed}

    monkeypatch.setitem(sys.modules, "optuna", object())
    monkeypatch.setattr(search, "ask", ask)
    return histories


def test_ranges_and_choices_are_read_by_the_settings_they_are_of() -> None:
    found = axes("balance=0.1..3, cycles=2..40,memory=ring|priority", "dafl")
    assert found == {
        "balance": Axis(0.1, 3.0),
        "cycles": Axis(2, 40, whole=True),
        "memory": Axis(choices=("ring", "priority")),
    }
    assert found["balance"].short(0.123456) == 0.1235
    assert found["balance"].short(2.99999) == 3.0
    assert found["cycles"].ends() == (2, 40)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--over", "balnce=1..2"], "did you mean 'balance'?"),
        (["--over", "balance=2..1"], "balance = 2..1 is no range of numbers"),
        (["--over", "balance=1..2,balance=3..4"], "balance is given twice"),
        (["--over", "balance=1..1e9"], "allowed: a number 0 to 1,000"),
        (["--over", "memory=ring..priority"], "memory = ring..priority is no range"),
        (["--over", "memory=ring|rign"], "memory = 'rign'"),
        (["--over", "balance=3"], "neither a range nor a choice"),
        (["--over", "balance=0.1...3"], "neither a range nor a choice"),
        (["--over", "balance=1|1.0"], "has a choice twice"),
        (["--over", "rounds=1..5"], "rounds is a setting of all trials too"),
        ([], "over = '' varies nothing"),
        (["--over", "balance=1..2", "--on", "slurm"], "allowed: --on local or --on ray"),
        (["--over", "balance=1..2", "--trials", "0"], "allowed: a whole number 1 to 1,000"),
        (["--over", "out=a|b"], "out is of one run"),
        (["--over", "minutes=1..2"], "both say how long the run is"),
        (["--over", "precision=auto|fp32|bf16"], "precision = 'auto' becomes "),
        (["--over", "normalization=digits|mnist"], "trials are judged by one teacher"),
        (["--over", "balance=1..2", "--by", "speed"], "allowed: agreement, accuracy"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], there: list[Any]
) -> None:
    base = ["sweep", str(file_of(tmp_path)), "--search", "optuna", "--root", str(tmp_path)]
    assert main([*base, *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "tuned").exists()


def test_a_search_is_of_a_method_and_has_no_grid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], there: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for parts, sentence in (
        ({"grid": {"seed": [0]}}, "has a grid, whose cells are all run"),
        ({"with": {"rounds": 2}}, "a search is of one method"),
    ):
        file = file_of(tmp_path, **parts)
        assert main(["sweep", str(file), "--search", "optuna", "--over", "balance=1..2"]) == 2
        assert sentence in capsys.readouterr().err
    assert main(["sweep", str(file), "--over", "balance=1..2"]) == 2
    assert "over = 'balance=1..2' goes with --search optuna" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SpecError, match=r"pip install 'dfkd_lab\[search\]'"):
        search.run(Search("tuned", {"balance": Axis(1, 2)}, GIVEN, root=tmp_path))


@pytest.mark.parametrize(("net", "channels"), [("unet_8", 2), ("unet_8", 4), ("convnet_8", 5)])
def test_trials_are_not_judged_by_images_that_no_sample_holds(
    tmp_path: Path, there: list[Any], net: str, channels: int
) -> None:
    model = nets.NETWORKS[net](channels, 3)
    teacher = teachers.adopt(f"{net}_{channels}", model, (channels, 16, 16), 3, "half", tmp_path)
    settings = {**{name: value for name, value in GIVEN.items() if name != "width"}, "teacher": teacher, "student": net}
    by_agreement = Search("tuned", {"width": Axis(4, 8, whole=True)}, settings, root=tmp_path)
    with pytest.raises(SpecError, match=f"which hold no images of {channels} channels; allowed: by = 'accuracy'"):
        by_agreement.check()
    dataclasses.replace(by_agreement, by="accuracy").check()


def trial(root: Path, name: str, **more: Any) -> RunFolder:
    resolved = plan({**GIVEN, "rounds": 2, **more, "out": str(root / name)})
    list(Session(resolved))
    return RunFolder(root / name)


def test_a_student_is_judged_by_the_images_of_the_others(tmp_path: Path) -> None:
    one, two, three = (trial(tmp_path, f"trial00{seed}", seed=seed) for seed in (0, 1, 2))
    teacher = teachers.load("digits").model

    def share(student: RunFolder, images: RunFolder) -> float:
        x = to_float(judging.held_out(images))
        net = teachers.load(student.path / "student.safetensors").model
        return float((net(x).argmax(1) == teacher(x).argmax(1)).float().mean())

    found = judging.agreements([one, two, three])
    assert found["trial000"] == pytest.approx((share(one, two) + share(one, three)) / 2)
    assert judging.agreements([two]) == {"trial001": pytest.approx(share(two, two))}, "its own, where it is alone"
    assert judging.agreements([]) == {}
    assert judging.last_accuracies([one]) == {}, "nothing was measured"


def test_the_images_of_samples_are_those_that_were_written(tmp_path: Path) -> None:
    folder = trial(tmp_path, "trial000")
    path = folder.samples()[2]
    images, facts = samples.read(path), json.loads(path.with_suffix(".json").read_text())
    assert len(images) == len(facts["cells"])
    grid, cell = np.asarray(Image.open(path)), facts["cells"][-1]
    top, left = cell["row"] * (facts["height"] + 1), cell["column"] * (facts["width"] + 1)
    assert np.array_equal(images[-1, 0], grid[top : top + facts["height"], left : left + facts["width"]])


def test_dense_samples_are_images_too(tmp_path: Path, scenes_teacher: str) -> None:
    given = {"method": "noise", "teacher": scenes_teacher, "student": "unet_8", "data": "none", "rounds": 1}
    given |= {"device": "cpu", "steps": 1, "batch": 4, "images": 8, "seed": 0}
    known = {name: value for name, value in given.items() if name not in ("steps", "images")}
    list(Session(plan({**known, "out": str(tmp_path / "trial000")})))
    folder = RunFolder(tmp_path / "trial000")
    assert samples.read(folder.samples()[1]).shape[1:] == (3, 32, 32)
    assert 0 <= judging.agreements([folder])["trial000"] <= 1


def alarmed(folder: RunFolder, rounds: int, of: int) -> None:
    """Write a log whose rounds all had an alarm."""
    health = {"agreement": 0.1, "entropy": 0.1, "confidence": 0.9, "distance": 0.1}
    lines = [
        {"round": n, "rounds": of, "terms": {}, "student": {}, "alarms": ["at chance"], "accuracy": None,
         "health": health, "cost": {}}
        for n in range(1, rounds + 1)
    ]  # fmt: skip
    (folder.path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))


def test_trials_are_proposed_one_after_the_other_and_the_hopeless_given_up(
    tmp_path: Path, there: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"trial00{number}" for number in range(3)]
    launcher = Scripted({name: [None, 130] for name in names})
    monkeypatch.setitem(LAUNCHERS, "scripted", lambda jobs: launcher)
    wanted = Search("tuned", axes("balance=1..9", "dafl"), GIVEN, 3, root=tmp_path)

    def watch(queue: Any) -> None:
        for folder, _ in queue.running.values():
            if folder.name == "trial001":
                alarmed(folder, 5, 6)
                (folder.path / "status.json").write_text('{"state": "stopped", "round": 5, "rounds": 6}')

    said: list[str] = []
    queue = search.run(wanted, "scripted", say=said.append, watch=watch)
    assert launcher.started == names
    assert [each.spec().settings["balance"] for each in queue.folders] == [1.0, 2.0, 3.0]
    assert queue.hopeless == {"trial001"}
    assert "trial001: given up, as every one of its last rounds had an alarm" in said
    assert there[2][1] == ({"balance": 2.0}, None, True), "which the next proposal knows"
    launcher.codes |= {name: [130] for name in names}
    launcher.started.clear()
    search.run(wanted, "scripted")
    assert launcher.started == ["trial000", "trial002"], "what is hopeless stays given up"


@pytest.mark.slow
def test_a_search_ends_with_a_table_and_the_same_command_has_nothing_to_do(
    tmp_path: Path, there: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfkd_lab.cli.sweep.drawing", drawn)
    words = ["sweep", str(file_of(tmp_path)), "--search", "optuna", "--over", "balance=1..9", "--trials", "2"]
    assert main([*words, "--root", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "best: run dafl --balance" in said.out
    assert "agreement on others' images, n = 1" in said.out
    assert there[1][0][1] is not None, "the first trial's value is known when the second is proposed"
    assert main([*words, "--root", str(tmp_path)]) == 0
    assert "begins" not in capsys.readouterr().err


def test_a_trial_that_was_removed_is_not_proposed_under_a_name_that_is_there(tmp_path: Path, there: list[Any]) -> None:
    wanted = Search("tuned", axes("balance=1..9", "dafl"), GIVEN, 3, root=tmp_path)
    first, second = wanted.propose([]), wanted.propose([])
    assert (first.name, second.name) == ("trial000", "trial001")
    shutil.rmtree(first.path)
    assert wanted.propose([first, second]).name == "trial002"


def drawn(path: Path, to: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A page that is written at once."""
    return subprocess.Popen([sys.executable, "-c", ""], stdout=to, stderr=to)


def test_trials_of_another_search_are_not_gone_on_with(tmp_path: Path, there: list[Any]) -> None:
    wanted = Search("tuned", axes("balance=1..9", "dafl"), GIVEN, 3, root=tmp_path)
    folder = wanted.propose([])
    assert [each.path for each in wanted.prepared()] == [folder.path]
    with pytest.raises(SpecError, match=r"trial000 has balance = 1.0, which is not in 2..9; take another name"):
        Search("tuned", axes("balance=2..9", "dafl"), GIVEN, root=tmp_path).prepared()
    with pytest.raises(RunError, match="another spec"):
        Search("tuned", axes("balance=1..9", "dafl"), {**GIVEN, "rounds": 7}, root=tmp_path).prepared()
    with FileLock(wanted.path / "lock"), pytest.raises(RunError, match="another process searches in"):
        search.run(wanted)


def test_trials_without_images_are_judged_by_those_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (trial(tmp_path, f"trial00{seed}", seed=seed) for seed in (0, 1))
    read = samples.read
    monkeypatch.setattr(samples, "read", lambda path: read(path)[:0] if "trial000" in str(path) else read(path))
    assert judging.agreements([one]) == {}
    both = judging.agreements([one, two])
    assert both["trial001"] == judging.agreements([two])["trial001"], "its own, as there are no others"
    monkeypatch.undo()
    path = one.samples()[2]
    path.with_suffix(".json").unlink()
    with pytest.raises(RunError, match="is not known"):
        samples.read(path)


@needs_optuna
def test_proposals_are_repeatable_and_drawn_to_what_was_good() -> None:
    over = axes("balance=0.1..100,memory=ring|priority", "dafl")
    tried = np.geomspace(0.1, 100, 40).tolist()
    history: list[Any] = [({"balance": each, "memory": "ring"}, -abs(np.log(each / 5)), False) for each in tried]
    assert search.ask(over, history, 3) == search.ask(over, history, 3)
    proposed = [search.ask(over, history, seed)["balance"] for seed in range(20)]
    assert len(set(proposed)) > 10
    assert np.median(np.abs(np.log(np.asarray(proposed) / 5))) < 1.0
    assert set(search.ask(over, [*history, ({"balance": 1.0, "memory": "ring"}, None, True)], 0)) == set(over)
