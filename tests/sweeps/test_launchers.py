"""Where runs of a sweep are computed besides this machine: Slurm's array under a stand-in for it, and Ray itself."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import pytest

from dfkd_lab import RunError, SpecError, sweeps
from dfkd_lab.__main__ import main
from dfkd_lab.runs import list_runs
from dfkd_lab.sweeps.launchers import ray_tasks, slurm
from dfkd_lab.system import locks
from tests.sweeps.test_sweeps import TWO, file_of, ladder, students

STAND_INS = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"',
    "scontrol": 'echo "$@" >> "$STAND_IN/requeued"',
    "sbatch": (
        '[ -e "$STAND_IN/full" ] && { echo "error: no partition" >&2; exit 1; }\n'
        'echo "$@" > "$STAND_IN/given"; echo "41;there"'
    ),
    "squeue": (
        '[ -e "$STAND_IN/deaf" ] && { echo "Unable to contact slurm controller" >&2; exit 1; }\n'
        'cat "$STAND_IN/queue" 2>/dev/null || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }'
    ),
}
"""Of Slurm's commands: what they do that the script relies on."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a cluster"
    folder.mkdir()
    for name, text in STAND_INS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN", str(folder))
    return folder


def task(script: Path, number: int, **environment: str) -> subprocess.Popen[bytes]:
    """One task of the array, as Slurm starts it."""
    numbers = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_JOB_ID": "41", **environment}
    return subprocess.Popen(["bash", str(script)], env={**os.environ, **numbers})


def status(words: list[str]) -> int:
    """Of the command line, which ends early with an exception of its own."""
    try:
        return main(words)
    except SystemExit as error:
        return int(error.code or 0)


def array_of(path: Path, commands: list[str], **options: Any) -> Path:
    """The script of an array whose tasks are ``commands``."""
    array = slurm.Array(path, **options)
    script = array.write([])
    (listed,) = array.path.glob("commands-*.txt")
    listed.write_text("\n".join(commands) + "\n")
    return script


def test_the_script_is_an_array_that_bash_can_read(tmp_path: Path) -> None:
    folders = ladder(tmp_path / "my runs").prepare()
    array = slurm.Array(tmp_path / "my runs" / "ladder", jobs=3, minutes=90, options="partition=gpu --gres=gpu:1")
    script = array.write(folders)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    head = [line.removeprefix("#SBATCH ") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"--array=1-4%3", "--requeue", "--signal=B:TERM@60", "--time=90", "--partition=gpu"} <= set(head)
    (listed,) = array.path.glob("commands-*.txt")
    lines = listed.read_text().splitlines()
    assert len(lines) == 4
    before = script.read_text()
    array.write(folders[2:])
    assert listed.read_text().splitlines() == lines, "an array that was handed over reads it still"
    assert script.read_text() != before
    assert "resume '" in lines[0]
    assert lines[0].endswith("/my runs/ladder/dafl-seed0'")


@pytest.mark.parametrize(("code", "restarts", "again"), [(0, 0, 0), (2, 0, 0), (75, 9, 1), (1, 0, 1), (1, 2, 0)])
def test_what_is_to_be_called_again_is_queued_again(
    cluster: Path, tmp_path: Path, code: int, restarts: int, again: int
) -> None:
    script = array_of(tmp_path, ["true", f"bash -c 'exit {code}'"])
    assert task(script, 2, SLURM_RESTART_COUNT=str(restarts)).wait() == code
    found = cluster / "requeued"
    assert (found.read_text().splitlines() if found.exists() else []) == ["requeue 41_2"] * again


def test_sigterm_reaches_the_run_and_its_status_the_script(cluster: Path, tmp_path: Path) -> None:
    python = "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.5), sys.exit(75)))"
    up = tmp_path / "up"
    command = f'{sys.executable} -c \'{python}; open("{up}", "w"); time.sleep(60)\''
    unit = task(array_of(tmp_path, [command]), 1)
    while not up.exists():
        time.sleep(0.02)
    unit.send_signal(signal.SIGTERM)
    assert unit.wait(30) == 75
    assert (cluster / "requeued").read_text() == "requeue 41_1\n"


@pytest.mark.parametrize("options", ["partition='my gpu'", "'"])
def test_what_is_no_option_of_sbatch_is_refused(options: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"sbatch.*(no option|cannot be read).*partition=gpu"):
        sweeps.submit(ladder(tmp_path), sbatch=options)
    assert not list_runs(tmp_path)


def test_a_sweep_is_given_to_slurm_once(
    cluster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sweep", str(file_of(tmp_path)), "--on", "slurm", "--root", str(tmp_path)]
    assert status(words) == 75
    assert "job 41: 4 of 4 runs" in capsys.readouterr().err
    script = tmp_path / "ladder" / "slurm" / "array.sh"
    assert (cluster / "given").read_text() == f"--parsable {script}\n"
    (cluster / "given").unlink()
    (cluster / "queue").write_text("41_1 RUNNING\n")
    assert status(words) == 75
    assert "job 41 is still in the queue" in capsys.readouterr().err
    assert not (cluster / "given").exists()
    (cluster / "queue").unlink()
    (cluster / "deaf").touch()
    assert main(words) == 2
    assert "squeue does not say whether job 41 is still there (Unable to contact" in capsys.readouterr().err
    assert not (cluster / "given").exists(), "which might have been the second time"
    (cluster / "deaf").unlink()
    (cluster / "full").touch()
    assert main(words) == 2
    assert "error: no partition" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert status(words) == 75
    assert f"sbatch {script}" in capsys.readouterr().err
    assert main([*words[:2], "--sbatch", "partition=gpu"]) == 2
    assert "goes with --on slurm, not with --on local" in capsys.readouterr().err


@pytest.mark.long
def test_an_array_ends_with_the_students_of_a_sweep_here(cluster: Path, tmp_path: Path) -> None:
    def of(root: str) -> sweeps.Sweep:
        return ladder(tmp_path / root, **TWO)

    folders, job = sweeps.submit(of("slurm"))
    assert job == "41"
    script = tmp_path / "slurm" / "ladder" / "slurm" / "array.sh"
    assert [task(script, number + 1, SLURM_CPUS_PER_TASK="1").wait() for number in range(len(folders))] == [0, 0]
    assert sweeps.submit(of("slurm")) == (folders, ""), "nothing is left to give"
    queue = sweeps.run(of("here"), jobs=2)
    assert students(tmp_path / "slurm") == students(tmp_path / "here")
    assert not queue.left


def test_a_file_system_that_keeps_no_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locks.keeps_locks(tmp_path)
    monkeypatch.setattr(locks, "ANOTHER", "")  # the lock of one process is not seen by another
    assert not locks.keeps_locks(tmp_path)

    def refused(self: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "_acquire", refused)
    assert not locks.keeps_locks(tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("dfkd_lab.sweeps.running.keeps_locks", lambda folder: False)
    said: list[str] = []
    sweeps.submit(ladder(tmp_path), say=said.append)
    assert any("keeps no locks" in each for each in said)


def test_ray_is_asked_for_by_name_where_it_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=r"needs Ray: pip install 'dfkd_lab\[cluster\]'"):
        sweeps.run(ladder(tmp_path), on="ray")


class FakeRay:
    """What the launcher needs of Ray, where tasks are processes of this one."""

    class exceptions:
        class RayError(Exception):
            pass

        class TaskCancelledError(RayError):
            pass

    def __init__(self, has: dict[str, float]):
        self.has, self.options, self.results = has, dict[str, Any](), dict[int, Any]()

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return self.has

    def remote(self, **options: Any) -> Any:
        self.options = options
        return lambda function: type("Task", (), {"remote": staticmethod(lambda *given: given)})

    def wait(self, units: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return [unit for unit in units if unit in self.results], []

    def get(self, unit: Any) -> Any:
        if isinstance(self.results[unit], Exception):
            raise self.results[unit]
        return self.results[unit]


def test_a_task_is_told_what_it_needs_and_says_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay({"CPU": 16.0, "GPU": 2.0})
    monkeypatch.setitem(sys.modules, "ray", fake)
    launcher = ray_tasks.RayTasks()
    assert (launcher.jobs, launcher.threads) == (2, 8)
    assert fake.options == {"max_retries": ray_tasks.RETRIES, "num_cpus": 8, "num_gpus": 1.0}
    folder = ladder(tmp_path).prepare()[0]
    monkeypatch.setenv("DFKD_DATA", "there")
    words, environment, log = launcher.start(folder, 0)
    assert words[-2:] == ["resume", str(folder.path)]
    assert environment["DFKD_DATA"] == "there"
    assert environment["OMP_NUM_THREADS"] == "8"
    assert log == str(folder.path / "log.txt")
    assert launcher.poll(1) is None
    errors = fake.exceptions
    fake.results |= {1: 0, 2: errors.TaskCancelledError(), 3: errors.RayError()}
    assert [launcher.poll(unit) for unit in (1, 2, 3)] == [0, 75, ray_tasks.KILLED]
    assert ray_tasks.RayTasks(4).threads == 4
    assert fake.options["num_gpus"] == 0.5


def test_a_tasks_function_gives_the_status_and_passes_an_interrupt_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume = ray_tasks._waiting()
    assert resume([sys.executable, "-c", "exit(7)"], {}, str(tmp_path / "log.txt")) == 7
    code = "import os, signal\nsignal.signal(15, lambda *_: exit(75))\nprint(os.environ['SAID'], flush=True)"

    def sleep(seconds: float) -> None:
        pause(0.02)
        if not interrupted and "up" in (tmp_path / "log.txt").read_text():
            interrupted.append(True)
            raise KeyboardInterrupt

    pause, interrupted = time.sleep, list[bool]()
    monkeypatch.setattr(time, "sleep", sleep)
    words = [sys.executable, "-c", code + "\nimport threading\nthreading.Event().wait(60)"]
    assert resume(words, {"SAID": "up"}, str(tmp_path / "log.txt")) == 75


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_runs_through_ray_and_survives_a_killed_run(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed; it is in the extra 'cluster'")
    for last in (False, True):
        try:
            ray_tasks.RayTasks()
            break
        except RunError as error:
            if last:
                pytest.skip(str(error))
    try:
        killed: list[str] = []

        def kill(queue: sweeps.Queue) -> None:
            at_work = [each for each in list_runs(tmp_path / "ray") if each.status()["state"] == "running"]
            if not killed and at_work and at_work[0].status()["round"]:
                os.kill(at_work[0].status()["pid"], signal.SIGKILL)
                killed.append(at_work[0].name)

        queue = sweeps.run(ladder(tmp_path / "ray"), "ray", 2, watch=kill)
        assert not queue.left
        assert killed
        sweeps.run(ladder(tmp_path / "here"), jobs=2)
        assert students(tmp_path / "ray") == students(tmp_path / "here")
    finally:
        ray.shutdown()
