"""The run folder is the truth: what is in it, and what happens when a run is stopped, killed or cannot write."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock
from safetensors.torch import load_file

from dfkd_lab import methods, nets, runs
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import launching
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import RunSpec, settings_of
from dfkd_lab.system import environment
from tests.support import events_of, fill_the_disk

pytestmark = pytest.mark.slow

MakeSpec = Callable[..., RunSpec]
PHASES = ("synthesis", "distillation", "evaluation")


def finish(spec: RunSpec) -> RunFolder:
    for _ in Session(spec):
        pass
    return RunFolder(spec.out)


def part(spec: RunSpec, rounds: int) -> RunFolder:
    """Run so many rounds and stop."""
    session = Session(spec)
    for report in session:
        if report.round == rounds:
            session.stop()
    return RunFolder(spec.out)


def student(folder: RunFolder) -> bytes:
    return (folder.path / "student.safetensors").read_bytes()


def test_a_finished_folder_has_everything_and_nothing_half_written(make_spec: MakeSpec) -> None:
    folder = finish(make_spec())
    files = {str(file.relative_to(folder.path)) for file in folder.path.rglob("*") if file.is_file()}
    assert files - {"lock"} == {
        "spec.yaml",
        "manifest.json",
        "events.jsonl",
        "status.json",
        "checkpoint.pt",
        "digests.json",
        "student.safetensors",
        "seal.json",
        "samples/round_0000001.json",
        "samples/round_0000001.png",
        "samples/round_0000002.json",
        "samples/round_0000002.png",
    }
    assert folder.status()["state"] == "finished"
    assert [event["round"] for event in events_of(folder)] == [1, 2]
    assert folder.spec() == make_spec()
    assert folder.seal()["data_free"] is True
    manifest = folder.manifest()
    assert manifest["teacher"]["accuracy"] >= 0.97
    assert len(manifest["teacher"]["sha256"]) == len(manifest["evaluation"]["images_sha256"]) == 64
    assert manifest["sessions"][0]["versions"]["torch"] == environment.installed("torch")
    assert folder.result()["last"] == events_of(folder)[-1]["accuracy"]
    assert runs.summary(folder).endswith(f"run {folder.path}")


def test_the_student_file_is_the_last_student_not_the_best(make_spec: MakeSpec) -> None:
    session = Session(make_spec())
    list(session)
    stored = load_file(session.folder.path / "student.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in session.run.student.net.state_dict().items())


def test_two_runs_share_no_state(make_spec: MakeSpec) -> None:
    first = finish(make_spec(method="ssd_kd", out="first", seed=1))
    other = finish(make_spec(method="ssd_kd", out="other", seed=2))
    again = finish(make_spec(method="ssd_kd", out="again", seed=1))
    assert student(first) == student(again) != student(other)


@pytest.mark.parametrize("data", ["digits", "none"])
def test_evaluation_changes_nothing_but_the_accuracy_in_the_log(make_spec: MakeSpec, data: str) -> None:
    folder = finish(make_spec(out=data, preset="digits", data=data))
    usual = finish(make_spec(out="usual", preset="digits"))
    assert student(folder) == student(usual)
    assert all((event["accuracy"] is None) is (data == "none") for event in events_of(folder))
    if data == "none":
        assert folder.manifest()["evaluation"] is None
        assert "last" not in folder.result()
        assert "student none" in runs.summary(folder)


def test_how_often_is_evaluated_changes_nothing_but_the_accuracy_in_the_log(make_spec: MakeSpec) -> None:
    rare = finish(make_spec(rounds=5, out="rare", evaluate_every=2))
    usual = finish(make_spec(rounds=5, out="usual"))
    assert student(rare) == student(usual)
    every = [event["accuracy"] for event in events_of(usual)]
    assert [event["accuracy"] for event in events_of(rare)] == [None, every[1], None, every[3], every[4]]
    assert rare.result()["last"] == every[4]
    assert rare.result()["mu"] == pytest.approx((every[1] + every[3] + every[4]) / 3)


def test_a_resumed_run_may_be_evaluated_at_other_times_and_then_keeps_to_them(make_spec: MakeSpec) -> None:
    part(make_spec(rounds=8, evaluate_every=2), 3)
    folder = finish(make_spec(rounds=8, evaluate_every=3))
    known = [event["round"] for event in events_of(folder) if event["accuracy"] is not None]
    assert known == [2, 6, 8]


def test_the_schedule_of_evaluations_follows_from_the_plan_and_not_from_time(make_spec: MakeSpec) -> None:
    found = []
    for out in ("one", "two"):
        session = Session(make_spec(out=out, evaluate_every=0))
        found.append(session.run.evaluate_every)
        session.stop()
        assert list(session) == []
    assert found[0] == found[1] > 1


def test_a_finished_run_only_reports(make_spec: MakeSpec) -> None:
    folder = finish(make_spec())
    before = {name: (folder.path / name).read_bytes() for name in ("events.jsonl", "student.safetensors")}
    assert list(Session(make_spec())) == []
    assert before == {name: (folder.path / name).read_bytes() for name in before}
    assert folder.status()["state"] == "finished"
    assert folder.seal()["data_free"] is True


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_stopped_run_continues_bit_for_bit(make_spec: MakeSpec, stop_after: int) -> None:
    folder = part(make_spec(method="ssd_kd", rounds=4, out="stopped"), stop_after)
    assert folder.status()["state"] == "stopped"
    assert len(events_of(folder)) == stop_after
    whole = finish(make_spec(method="ssd_kd", rounds=4, out="whole"))
    resumed = finish(make_spec(method="ssd_kd", rounds=4, out="stopped"))
    assert student(resumed) == student(whole)
    without = lambda event: {name: value for name, value in event.items() if name != "cost"}  # noqa: E731
    assert list(map(without, events_of(resumed))) == list(map(without, events_of(whole)))
    assert [session["from_round"] for session in resumed.manifest()["sessions"]] == [0, stop_after]
    assert all(session["same_bits"] for session in resumed.manifest()["sessions"]), "a CPU's kernels give them always"


def test_closing_the_view_keeps_the_last_checkpoint(make_spec: MakeSpec) -> None:
    spec = make_spec(rounds=4)
    view = iter(Session(spec))
    next(view)
    next(view)
    view.close()
    assert RunFolder(spec.out).status()["state"] == "stopped"
    assert [event["round"] for event in events_of(finish(spec))] == [1, 2, 3, 4]


def test_another_spec_is_refused_and_the_difference_shown(make_spec: MakeSpec) -> None:
    finish(make_spec())
    with pytest.raises(RunError, match=r"g_lr: 0\.0005 -> 0\.001.*seed: 0 -> 1|seed: 0 -> 1.*g_lr: 0\.0005 -> 0\.001"):
        Session(make_spec(seed=1, settings={"g_lr": 1e-3}))


def test_how_often_a_checkpoint_is_written_does_not_change_the_run(make_spec: MakeSpec) -> None:
    folder = part(make_spec(rounds=3), 1)
    assert events_of(finish(make_spec(rounds=3, checkpoint_s=0.0)))[-1]["round"] == 3
    assert student(folder) == student(finish(make_spec(rounds=3, out="other")))


def test_rounds_logged_after_the_checkpoint_are_forgotten(make_spec: MakeSpec) -> None:
    spec = make_spec(rounds=4)
    folder = part(spec, 2)
    events = folder.path / "events.jsonl"
    events.write_text(events.read_text() + json.dumps({**events_of(folder)[-1], "round": 3, "accuracy": 0.999}) + "\n{")
    (folder.path / "samples" / "round_0000003.png").write_bytes(b"of a round that is done again")
    session = Session(spec)
    assert [event["round"] for event in events_of(folder)] == [1, 2]
    assert sorted(folder.samples()) == [1, 2]
    list(session)
    assert [event["round"] for event in events_of(folder)] == [1, 2, 3, 4]
    assert events_of(folder)[2]["accuracy"] != 0.999


def test_a_line_that_is_being_written_is_left_for_later(make_spec: MakeSpec) -> None:
    folder = finish(make_spec())
    events = folder.path / "events.jsonl"
    whole = events.read_text()
    for cut in (1, 20, len(whole) // 3):
        events.write_text(whole[:-cut])
        assert [event["round"] for event in events_of(folder)] == [1]
    events.write_text(whole + '{"round": 3, "acc')
    assert [event["round"] for event in events_of(folder)] == [1, 2]
    assert [report.round for report in folder.reports(start=1)] == [2]
    assert folder.result()["rounds"] == 2


def test_what_writing_held_up_is_counted_and_goes_on_after_a_stop(make_spec: MakeSpec) -> None:
    session = Session(make_spec(rounds=3))
    held = [report.cost.writing_s for report in session]
    assert held[0] == 0 < held[1] < held[2] < session.run.cost.writing_s
    events = events_of(part(make_spec(rounds=4, out="other"), 2))
    resumed = events_of(finish(make_spec(rounds=4, out="other")))
    assert resumed[2]["cost"]["writing_s"] >= events[1]["cost"]["writing_s"]
    assert resumed[3]["cost"]["writing_s"] > resumed[2]["cost"]["writing_s"]


def test_a_folder_from_before_writing_was_counted_goes_on(make_spec: MakeSpec) -> None:
    folder = part(make_spec(rounds=3), 2)
    checkpoint, events = folder.path / "checkpoint.pt", folder.path / "events.jsonl"
    state = torch.load(checkpoint, weights_only=True)
    del state["cost"]["writing_s"]
    torch.save(state, checkpoint)
    (folder.path / "digests.json").unlink()  # which no version had then
    old = events_of(folder)
    for event in old:
        del event["cost"]["writing_s"]
    events.write_text("".join(json.dumps(event) + "\n" for event in old))
    assert folder.result()["seconds"] == pytest.approx(sum(old[1]["cost"][f"{name}_s"] for name in PHASES))
    assert events_of(finish(make_spec(rounds=3)))[2]["cost"]["writing_s"] == 0
    assert student(folder) == student(finish(make_spec(rounds=3, out="whole")))


# other processes


def resume_in_a_process(folder: RunFolder, first: str = "") -> subprocess.Popen[bytes]:
    code = (
        f"import sys, torch; torch.set_num_threads({torch.get_num_threads()})\n"  # rounding is that of the threads
        f"from dfkd_lab import RunFolder, Session\n{first}\n"
        "for report in Session(RunFolder(sys.argv[1]).spec()): pass"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(folder.path)], stderr=subprocess.PIPE)


def wait_for(true: Callable[[], Any], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_run_that_is_killed_is_seen_stopped_and_resumes_to_the_same_student(make_spec: MakeSpec) -> None:
    sizes = {"rounds": 24, "checkpoint_s": 0.0, "data": "none", "preset": "digits"}
    folder = runs.prepare(make_spec(method="ssd_kd", out="killed", **sizes))
    with resume_in_a_process(folder) as process:
        wait_for(lambda: len(events_of(folder)) >= 3 or process.poll() is not None)
        assert folder.status()["state"] == "running"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert folder.status()["state"] == "stopped"
    assert 3 <= len(events_of(folder)) < 24
    resumed = finish(make_spec(method="ssd_kd", out="killed", **sizes))
    whole = finish(make_spec(method="ssd_kd", out="whole", **sizes))
    assert student(resumed) == student(whole)
    assert [event["round"] for event in events_of(resumed)] == list(range(1, 25))


HALF_OF_ROUND_3 = """
import io, time
save = torch.save
def half(state, file):
    whole = io.BytesIO()
    save(state, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // (2 if state["round"] == 3 else 1)])
    file.flush()
    time.sleep(60 if state["round"] == 3 else 0)
torch.save = half
"""


def test_a_run_that_is_killed_while_it_writes_has_the_checkpoint_before(make_spec: MakeSpec) -> None:
    sizes = {"rounds": 5, "checkpoint_s": 0.0}
    folder = runs.prepare(make_spec(out="killed", **sizes))
    checkpoint, temporary = folder.path / "checkpoint.pt", folder.path / "checkpoint.pt.tmp"
    with resume_in_a_process(folder, HALF_OF_ROUND_3) as process:
        wait_for(lambda: len(events_of(folder)) >= 4 or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
    assert 0 < temporary.stat().st_size < checkpoint.stat().st_size
    assert torch.load(checkpoint, weights_only=True)["round"] == 2
    assert student(finish(make_spec(out="killed", **sizes))) == student(finish(make_spec(out="whole", **sizes)))
    assert not temporary.exists()


def test_pause_run_and_stop_can_be_asked_from_outside(make_spec: MakeSpec) -> None:
    spec = make_spec(rounds=10_000, data="none", preset="digits")
    folder, failed = RunFolder(spec.out), []

    def work() -> None:
        try:
            finish(spec)
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=work)
    writer.start()
    wait_for(lambda: events_of(folder) or failed)
    folder.request("pause")
    wait_for(lambda: folder.status()["state"] == "paused" or failed)
    paused_at = len(events_of(folder))
    time.sleep(0.3)
    assert len(events_of(folder)) == paused_at
    folder.request("run")
    wait_for(lambda: len(events_of(folder)) > paused_at or failed)
    folder.request("stop")
    writer.join(60)
    assert not failed
    assert folder.status()["state"] == "stopped"
    assert len(events_of(folder)) == folder.status()["round"] < 10_000


def test_a_pause_is_no_work(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(make_spec(rounds=2, data="none", preset="digits"))
    said: list[str] = []
    asked = iter(["pause", "pause", "run"])
    monkeypatch.setattr(session.folder, "take_request", lambda: next(asked, ""))
    assert session.requests.at_step(lambda: None, said.append) > 0
    assert said == ["paused", "running"]
    assert session.requests.at_step(lambda: None, said.append) == 0
    session.run.on_step = lambda: 1000.0  # seconds, of which none was computed in
    assert [report.cost.synthesis_s + report.cost.distillation_s for report in session] == [0, 0]


def test_a_second_writer_is_refused_until_the_first_is_done(make_spec: MakeSpec) -> None:
    spec = make_spec(rounds=3)
    first = Session(spec)
    view = iter(first)
    next(view)
    with pytest.raises(RunError, match=f"is being written by process {os.getpid()}"):
        Session(spec)
    assert len(list(view)) == 2
    assert list(Session(spec)) == []


def test_what_was_asked_before_the_start_is_not_obeyed(make_spec: MakeSpec) -> None:
    spec = make_spec()
    runs.prepare(spec).request("stop")
    assert len(events_of(finish(spec))) == 2


# what can go wrong


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "of another network", "code"])
def test_a_damaged_checkpoint_is_one_sentence_and_holds_no_lock(make_spec: MakeSpec, damage: str) -> None:
    spec = make_spec(rounds=3)
    folder = part(spec, 1)
    checkpoint = folder.path / "checkpoint.pt"
    content = checkpoint.read_bytes()
    if damage == "of another network":
        state = torch.load(checkpoint, weights_only=True)
        state["student"] = {}
        torch.save(state, checkpoint)
    elif damage == "code":
        torch.save({"round": Bomb(folder.path / "boom")}, checkpoint)
    else:
        checkpoint.write_bytes({"truncated": content[: len(content) // 2], "garbage": b"?" * 999, "empty": b""}[damage])
    with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read .*; remove it to begin again") as error:
        Session(spec)
    assert "\n" not in str(error.value)
    assert not (folder.path / "boom").exists()
    checkpoint.write_bytes(content)
    assert len(events_of(finish(spec))) == 3


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("name", ["checkpoint.pt", "status.json", "student.safetensors", "seal.json"])
def test_a_full_disk_ends_the_run_with_a_sentence_and_the_checkpoint_before_it_still_resumes(
    make_spec: MakeSpec, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(rounds=3, checkpoint_s=0.0)
    folder, session = RunFolder(spec.out), Session(spec)
    process = f".{os.getpid()}" if name == "student.safetensors" else ""
    temporary = folder.path / f"{name}{process}.tmp"
    with monkeypatch.context() as patch:
        with pytest.raises(RunError, match=r"cannot write .*No space left on device; round \d is saved") as error:  # noqa: PT012
            for report in session:
                if report.round == 2:
                    session.writer.wait()
                    fill_the_disk(patch, temporary)
        assert not temporary.exists()
    assert folder.status()["state"] in ("failed", "running")
    saved = torch.load(folder.path / "checkpoint.pt", weights_only=True)["round"]
    assert saved >= 2
    assert f"round {saved} is saved" in str(error.value)
    assert student(finish(spec)) == student(finish(make_spec(rounds=3, out="whole")))


def test_a_log_that_cannot_be_written_ends_the_run_and_it_resumes(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, opened = make_spec(rounds=3), Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if path.name == "events.jsonl" and "a" in mode and len(events_of(RunFolder(spec.out))) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, mode, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(RunError, match=r"cannot write .*events\.jsonl: No space left on device; round 1 is saved"):
            finish(spec)
    assert RunFolder(spec.out).status()["state"] == "failed"
    assert student(finish(spec)) == student(finish(make_spec(rounds=3, out="whole")))


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user for whom a read-only folder is read-only."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match=r"cannot make the run folder .*; give another \(out\)"):
        Session(make_spec(out="file/run"))
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    spec = make_spec(out="locked/run")
    with without_privileges(), pytest.raises(RunError, match=r"cannot make the run folder .*Permission denied"):
        runs.prepare(spec)


def test_divergence_keeps_the_checkpoint_before_it(make_spec: MakeSpec) -> None:
    spec = make_spec(rounds=4, checkpoint_s=0.0)
    session = Session(spec)
    with pytest.raises(RunError, match=r"round 3: the loss '.*' is not a number.*the state of round 2 is kept"):  # noqa: PT012
        for report in session:
            if report.round == 2:
                next(session.run.student.parameters()).data.fill_(float("nan"))
    folder = RunFolder(spec.out)
    assert folder.status()["state"] == "failed"
    assert [event["round"] for event in events_of(folder)] == [1, 2]
    assert student(finish(spec)) == student(finish(make_spec(rounds=4, out="whole")))


@pytest.mark.parametrize(
    ("out", "place"),
    [
        ("mine", "runs/mine"),
        ("runs/mine", "runs/mine"),
        ("./mine", "runs/mine"),
        ("sweep/one", "runs/sweep/one"),
        ("runs/sweep/one", "runs/sweep/one"),
        ("", "runs/dafl-digits-convnet_8-seed0"),
    ],
)
def test_a_relative_name_is_below_runs_wherever_it_is_said(
    out: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunFolder.of(runs.plan(method="dafl", out=out).spec).path == Path(place)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert RunFolder.of(runs.plan(method="dafl", out=out).spec).path == Path("..", place)
    assert RunFolder.of(runs.plan(method="dafl", out=f"../{place}").spec).path == Path("..", place)
    assert RunFolder.of(runs.plan(method="dafl", out=str(tmp_path / "mine")).spec).path == tmp_path / "mine"


@pytest.mark.parametrize(
    "out", ["..", "../mine", "a/../../b", ".", "runs", ".hidden", "a/.b", "a\0b", "/", " ", "a\nb", "a" * 300]
)
def test_what_cannot_be_a_run_folder_is_refused_when_it_is_planned(out: str) -> None:
    with pytest.raises(SpecError, match=r"out = .* is no run folder; allowed: a name below runs/, or an absolute path"):
        runs.plan(method="dafl", out=out)


def test_a_run_inside_a_run_is_refused_and_a_home_is_one(make_spec: MakeSpec, tmp_path: Path) -> None:
    outer = part(make_spec(), 1)
    with pytest.raises(SpecError, match=r"is inside the run folder .*run; allowed"):
        runs.plan(method="dafl", out=str(outer.path / "inner"))
    assert RunFolder.of(runs.plan(method="dafl", out="~/mine").spec).path == Path.home() / "mine"


def test_a_folder_that_is_moved_under_a_run_is_said_to_be(make_spec: MakeSpec, tmp_path: Path) -> None:
    session = Session(make_spec(rounds=3))
    rounds = iter(session)
    next(rounds)
    session.folder.path.rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="was moved or removed while the run wrote it"):
        list(rounds)


def test_a_moved_folder_goes_on_where_it_is(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = part(make_spec(rounds=3, out="before"), 1)
    elsewhere = tmp_path / "elsewhere"
    folder.path.rename(elsewhere)
    assert folder.status()["state"] == "gone"
    assert "moved, renamed or removed" in folder.status()["message"]
    monkeypatch.chdir(tmp_path)
    moved = RunFolder("elsewhere")
    assert finish(moved.spec()).path == elsewhere
    assert len(moved.reports()) == 3
    assert not folder.path.exists()


def test_folders_of_folders_are_listed_and_what_is_inside_a_run_is_not(make_spec: MakeSpec, tmp_path: Path) -> None:
    outer, inner = (finish(make_spec(out=out)) for out in ("sweep/one", "two"))
    (inner.path / "samples" / "spec.yaml").write_text("method: dafl")
    assert {each.path for each in runs.list_runs(tmp_path)} == {outer.path, inner.path}


def test_what_is_no_run_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run folder"):
        RunFolder(tmp_path).spec()
    assert events_of(RunFolder(tmp_path)) == []
    assert RunFolder(tmp_path).status()["state"] == "new"
    assert RunFolder(tmp_path).samples() == {}
    assert RunFolder(tmp_path).manifest() == {}


# planning


def test_a_plan_takes_names_of_both_kinds_and_records_every_setting() -> None:
    mixed = runs.plan(method="dafl", balance="3", seed="4")
    nested = runs.plan({"method": "dafl", "settings": {"balance": 3.0}, "seed": 4})
    assert mixed.spec == nested.spec
    assert mixed.settings.keys() == {*settings_of(methods.find("dafl"))}
    assert (mixed.balance, mixed.seed, mixed.rounds) == (3.0, 4, 30)
    with pytest.raises(AttributeError, match="did you mean 'balance'"):
        _ = mixed.balnce
    with pytest.raises(SpecError, match="balance is given twice"):
        runs.plan(method="dafl", balance=3, settings={"balance": 3})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"method": "dalf"}, "did you mean 'dafl'"),
        ({"method": "dafl", "balanse": 1}, "did you mean 'balance'"),
        ({"method": "dafl", "sede": 1}, "did you mean 'seed'"),
        ({"student": "convnet_9"}, "did you mean 'convnet_8'"),
        ({"data": "digit"}, "did you mean 'digits'"),
        ({"method": "deepinversion", "preset": "cifar9"}, "preset"),
        ({"method": "dafl", "balance": -1}, "out of range"),
        ({"rounds": 1.5}, "whole number"),
        ({"rounds": None}, "rounds = None is not a whole number; allowed: a whole number 0 to 10,000,000"),
        ({"method": None}, "method = None is not text"),
        ({"settings": None}, "settings = None is not a dictionary"),
        ({"method": "dafl", "settings": {"balance": None}}, "balance = None is not a number"),
        ({"method": "dafl", "settings": {"balance": {"a": 1}}}, "balance = {'a': 1} is not a number"),
        ({"method": "dafl", "settings": {"balanse": {"a": 1}}}, "did you mean 'balance'"),
        ({"method": "dafl", "settings": {1: 2}}, "'1' is not a setting of DAFL"),
        ({"out": "~nobody-of-that-name/x"}, "out = '~nobody-of-that-name/x' is no run folder"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_words(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        runs.plan(values)


@pytest.mark.parametrize(("data", "teacher", "preset"), [("digits", "x.pt", "digits"), ("none", "digits", "digits")])
def test_the_preset_follows_the_evaluation_set_and_else_the_teacher(
    data: str, teacher: str, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(nets.classifier("convnet_8", 1, 10).state_dict(), "x.pt")
    auto = runs.plan(method="dafl", data=data, teacher=teacher)
    assert auto.settings == runs.plan(method="dafl", preset=preset).settings
    assert (
        runs.plan(method="dafl", data="none", teacher="x.pt", normalization="digits").settings
        == runs.plan(preset="paper", method="dafl").settings
    )


def test_runs_are_listed_newest_first(make_spec: MakeSpec, tmp_path: Path) -> None:
    for place, name in enumerate("abc"):
        folder = runs.prepare(make_spec(out=name))
        os.utime(folder.path, (place, place))
    assert [folder.name for folder in runs.list_runs(tmp_path)] == ["c", "b", "a"]


def test_a_synthesizer_that_nothing_moves_is_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match="give one a weight above 0"):
        make_spec(method="dafl", confidence=0.0, balance=0.0, activation=0.0)


def test_a_launched_run_that_was_killed_is_seen_stopped_by_its_parent(make_spec: MakeSpec) -> None:
    folder = runs.prepare(make_spec(rounds=10_000))
    child = runs.launch(folder)
    wait_for(lambda: folder.status()["state"] == "running")
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: folder.status()["state"] == "stopped")


def test_runs_stand_beside_the_notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert runs.runs_root().resolve() == tmp_path / "runs"


def test_a_request_made_while_one_is_read_waits_for_the_next_look(make_spec: MakeSpec, monkeypatch: Any) -> None:
    folder = runs.prepare(make_spec())
    folder.request("run")
    read = Path.read_text

    def meanwhile(path: Path, *arguments: Any, **options: Any) -> str:
        text = read(path, *arguments, **options)
        if path.name.startswith("control"):
            folder.request("stop")
        return text

    monkeypatch.setattr(Path, "read_text", meanwhile)
    assert folder.take_request() == "run"
    monkeypatch.undo()
    assert folder.take_request() == "stop"
    assert folder.take_request() == ""


def test_a_run_waits_for_the_lock_of_one_that_is_about_to_end(make_spec: MakeSpec) -> None:
    spec = make_spec(rounds=1, data="none", preset="digits")
    folder = runs.prepare(spec)
    ending = FileLock(folder.path / "lock", thread_local=False)
    ending.acquire()
    threading.Timer(0.3, ending.release).start()
    assert len(list(Session(spec))) == 1


def test_a_session_on_a_cpu_keeps_freed_memory_once_it_computes(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []
    monkeypatch.setattr("dfkd_lab.runs.session.keep_freed_memory", lambda: called.append(True))
    session = Session(make_spec("dafl", rounds=1))
    assert not called, "a plan or a session alone changes nothing of the process"
    list(session)
    assert called == [True]


@pytest.mark.parametrize("compile", ["no", pytest.param("yes", marks=pytest.mark.long)])
def test_a_session_in_half_precision_runs_with_an_evaluation_set(make_spec: MakeSpec, compile: str) -> None:
    """What is counted and measured before the first round meets a teacher that is held in half precision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, from inside its tracer
        session = Session(make_spec("fast", precision="bf16", compile=compile, evaluate_every=0))
        assert [report.round for report in session] == [1, 2]


def test_the_same_command_continues_a_run_of_the_version_before(make_spec: MakeSpec) -> None:
    spec = make_spec("dafl")
    folder = runs.prepare(spec)
    file = folder.path / "spec.yaml"
    values = yaml.safe_load(file.read_text())
    for name in ("buffer_on", "deterministic", "generator"):
        del values[name]
    file.write_text(yaml.safe_dump({**values, "compile": False}))
    assert folder.spec().compile == "auto"
    assert len(list(Session(spec))) == 2


def test_where_a_buffer_is_makes_no_other_run(make_spec: MakeSpec) -> None:
    runs.prepare(make_spec("dafl"))
    assert len(list(Session(make_spec("dafl", buffer_on="device")))) == 2


def test_a_fault_of_a_method_leaves_a_failed_run_and_its_traceback(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(make_spec("dafl"))
    monkeypatch.setattr(session.run, "advance", lambda: dict[str, int]()["nothing"])
    with pytest.raises(KeyError):
        list(session)
    status = session.folder.status()
    assert (status["state"], status["message"]) == (
        "failed",
        "KeyError: 'nothing'; nothing is saved and the same command continues from it",
    )
    assert len(list(Session(make_spec("dafl")))) == 2


def test_what_is_no_sample_grid_is_no_round(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for name in ("round_0000002.png", "round_abc.png", "round_².png", "round_.png", "other.png"):
        (tmp_path / "samples" / name).touch()
    os.mkfifo(tmp_path / "samples" / "round_0000003.png")
    assert [*RunFolder(tmp_path).samples()] == [2]


def test_a_process_that_said_much_is_quoted_by_its_last_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert launching.last_line(folder) == "its process ended without a word"
    (tmp_path / "log.txt").write_text("much\n" * 100_000 + "the last\n\n")
    assert launching.last_line(folder) == "the last"
    (tmp_path / "log.txt").unlink()
    os.mkfifo(tmp_path / "log.txt")
    assert launching.last_line(folder) == "its process ended without a word"
