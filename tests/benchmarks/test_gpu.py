"""The script for a lent GPU is rehearsed on the CPU: every kind of task, what is saved, and how a call goes on."""

import dataclasses
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gpu
import gpu_page
import pytest
import rows
import torch
from gpu_tasks import Request, Task
from safetensors.torch import load_file

from tests.support import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setattr(rows, "FOLDER", tmp_path)  # where nothing is recorded, and everything missing
    return Request(tmp_path / "out", tmp_path / "runs", torch.device("cpu"), tiny=True, end=math.inf)


def kept(request: Request) -> dict[str, Any]:
    (found,) = json.loads((request.out / "gpu.json").read_text()).values()
    return found


@pytest.mark.parametrize(
    "key",
    ["smoke/ssd_kd eager", "speed/fast eager", "profile/resnet56:resnet20 eager, by trial",
     "public/resnet56:resnet20 fast", "wrn/wrn40_2:wrn16_1 ssd_kd", "resnet34/resnet34:resnet18 fast",
     "large/fast eager", "ladder/phi by target seed 1", 
     "hour/hour-resnet20-resnet8-cifar10-nayer seed 2"],
)  # fmt: skip
def test_a_task_of_every_stage_ends_with_a_row(request_: Request, key: str) -> None:
    tasks = [task for stage in gpu.STAGES.values() for task in stage() if task.key == key]
    assert gpu.work(request_, tasks, again=False) == 0
    row = kept(request_)[key]
    assert row["state"] == "finished"
    assert row["commit"]
    assert row["seconds"] > 0


def test_a_run_leaves_its_curve_and_its_networks_in_half_precision(request_: Request) -> None:
    (task,) = [each for each in gpu.STAGES["wrn"]() if each.name.endswith("fast")]
    gpu.work(request_, [task], again=False)
    row = kept(request_)[task.key]
    assert [round for round, _ in row["curve"]] == [2]
    assert row["networks"] == {
        "paper-wrn40_2-wrn16_1-cifar10-fast": "wrn.safetensors",
        "digits_convnet_8": "wrn.safetensors",
    }
    networks = load_file(request_.out / "wrn.safetensors")
    assert {tensor.dtype for tensor in networks.values()} == {torch.float16, torch.int64}
    assert {name.partition("/")[0] for name in networks} == set(row["networks"])


def test_a_run_that_is_stopped_leaves_what_it_came_to(request_: Request) -> None:
    (task,) = [each for each in gpu.STAGES["public"]() if each.name == "resnet56:resnet20 fast"]
    first = task.run(dataclasses.replace(request_, end=0.0))
    assert (first["state"], first["reached"].partition(",")[0]) == ("stopped", "round 1 of 2")
    assert first["commit"]
    assert gpu.attempt(task, request_)["state"] == "finished"


def test_what_is_done_is_not_done_again_and_a_failure_stops_nothing(request_: Request) -> None:
    done: list[str] = []

    def task(name: str) -> Task:
        def run(request: Request) -> dict[str, Any]:
            done.append(name)
            if name == "broken" and done.count(name) == 1:
                raise RuntimeError("out of luck\nand more")
            return {"state": "stopped"} if name == "long" and done.count(name) == 1 else {"figure": 1}

        return Task("stage", name, run)

    tasks = [task(name) for name in ("broken", "long", "good")]
    assert gpu.work(request_, tasks, again=False) == 1
    states = {key: row["state"] for key, row in kept(request_).items()}
    assert states == {"stage/broken": "failed", "stage/long": "stopped", "stage/good": "finished"}
    assert kept(request_)["stage/broken"]["reason"] == "RuntimeError: out of luck"
    assert gpu.work(request_, tasks, again=False) == 0
    assert done == ["broken", "long", "good", "long", "broken"], "what failed is tried again last"


def test_what_another_device_recorded_is_not_done_again(request_: Request) -> None:
    task = Task("stage", "recorded", lambda request: {}, is_recorded=True)
    assert gpu.work(request_, [task], again=False) == 0
    assert not request_.out.exists()
    assert gpu.work(request_, [task], again=True) == 0
    assert kept(request_)["stage/recorded"]["state"] == "finished"


def test_tasks_side_by_side_are_processes_and_leave_their_rows(request_: Request) -> None:
    keys = [
        f"ladder/phi by {what}, alpha 1 seed 0" for what in ("target", "confidence")
    ]  # of one teacher, to be trained
    tasks = [each for each in gpu.STAGES["ladder"]() if each.key in keys]
    assert gpu.work(dataclasses.replace(request_, end=time.monotonic() + 300), tasks, again=False, jobs=2) == 0
    assert {key: row["state"] for key, row in kept(request_).items()} == dict.fromkeys(keys, "finished")


def test_a_time_is_not_measured_beside_others(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--tiny", "--stages", "smoke,speed", "--jobs", "2"])
    assert "--jobs 2: speed/ssd_kd eager measures times, which others beside it would spoil" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["--tiny", "--stages", "smoke", "--jobs", "0"])
    assert "--jobs 0; allowed: 1 and more" in capsys.readouterr().err


def test_no_task_is_begun_that_cannot_end(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    late = dataclasses.replace(request_, end=0.0)
    assert gpu.work(late, gpu.STAGES["speed"](), again=False) == 0
    assert "not begun" in capsys.readouterr().out
    assert not late.out.exists()


def test_without_a_gpu_it_says_so_unless_it_is_a_rehearsal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "pick_device", lambda name: torch.device("cpu"))
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "there is no GPU here" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["--stages", "smoek", "--tiny"])
    assert "--stages smoek: allowed: smoke, speed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu.main(["--stages", "large", "--tiny", "--only", "large/*", "smoke/fast*"])
    assert "--only smoke/fast*: no such task; allowed: large/*" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--minutes", "-1"], "'-1' is no time; allowed: a number of minutes, 0 or more"),
        (["--minutes", "inf"], "'inf' is no time"),
        (["--out", __file__], "test_gpu.py is a file; allowed: a folder"),
        (["--runs", f"{__file__}/below"], "test_gpu.py is a file; allowed: a folder"),
    ],
)
def test_what_cannot_be_is_refused_before_a_task(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--tiny", *flags])
    assert said in capsys.readouterr().err


def test_tasks_are_chosen_by_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Task] = []
    monkeypatch.setattr(gpu, "work", lambda request, tasks, again, jobs: chosen.extend(tasks) or 0)
    assert gpu.main(["--tiny", "--only", "smoke/f* eager", "large/fast eager"]) == 0
    assert [task.key for task in chosen] == ["smoke/fast eager", "smoke/fssc eager", "large/fast eager"]


def test_a_machine_with_torch_and_little_more_can_run_it() -> None:
    """What a GPU image may lack is not even imported."""
    lacking = ["tyro", "papermill", "psutil", "jupyterlab", "ipywidgets", "plotly", "nbformat", "rich"]
    code = "\n".join(
        [
            "import sys",
            f"sys.modules.update(dict.fromkeys({lacking}))",
            "sys.path.insert(0, 'benchmarks')",
            "import gpu",
            "sys.exit(gpu.main(['--help']))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "--tiny" in done.stdout


def test_the_page_shows_figures_failures_and_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "FOLDER", tmp_path)
    assert "Not measured: no GPU was at hand." in gpu_page.section()
    where = {"versions": {"torch": "2.11"}, "commit": "0123456789", "state": "finished"}
    left = {"networks": {"teacher": "'grad_cam' differentiates", "generator": "compiled"}}
    speed = {
        "n": 7, "overhead": 1.125, "overhead_range": [1.0, 1.25], "student_images_per_s": 98765.4,
        "peak_memory_bytes": 2_500_000_000, "launches": {"synthesis": 12.0, "student": 3.0},
    }  # fmt: skip
    found = {
        "smoke/fssc eager": where,
        "smoke/fssc compiled": {**where, "compiled": left},
        "smoke/fast eager": {**where, "state": "failed", "reason": "RuntimeError: no"},
        "speed/fast compiled": {**where, **speed},
        "large/fast eager": {**where, "state": "failed", "reason": "RuntimeError: out of memory"},
        "profile/a:b eager": {**where, "synthesis_wall_ms": 2.0, "student_wall_ms": 1.5, "student_device_ms": 0.25},
        "public/a:b fast": {**where, "state": "stopped", "reached": "round 1 of 2, 400 student steps"},
    }
    (tmp_path / "gpu.json").write_text(json.dumps({"a GPU": found}))
    lines = gpu_page.section().splitlines()
    assert "### a GPU, torch 2.11, commit 0123456" in lines
    assert "| fssc | passes | passes, teacher eager |" in lines
    assert "| fast | RuntimeError: no | not measured |" in lines
    assert "| fast compiled | 7 | 1.12 | 1.00–1.25 | 98,765 | 2.50 | 12 | 3 |" in lines
    assert "| fast eager | RuntimeError: out of memory | not measured | not measured |" in lines
    assert "| a:b eager | 2.00 | not measured | 1.50 | 0.25 |" in lines
    assert "| public/a:b fast | round 1 of 2, 400 student steps | 0123456 |" in lines
    (tmp_path / "gpu.json").write_text(json.dumps({"a GPU": {"smoke/fssc eager": where}}))
    assert "Not measured: n, overhead, " in gpu_page.section()
