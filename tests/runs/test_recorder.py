"""A run goes on from what it wrote, as it wrote it: digests, two generations of checkpoints, and what a log holds."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dfkd_lab.__main__ import main
from dfkd_lab.errors import DamagedFile, RunError
from dfkd_lab.runs import contents, recorder, standing
from dfkd_lab.runs.folder import RunFolder, list_runs
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import RunSpec
from dfkd_lab.system.processes import is_alive, started
from tests.support import events_of

MakeSpec = Callable[..., RunSpec]
ROUNDS = 4


@pytest.fixture
def spec(make_spec: MakeSpec) -> RunSpec:
    """Of a run that was stopped after two rounds, with a checkpoint of each."""
    spec = make_spec(rounds=ROUNDS, checkpoint_s=0.0, data="none", preset="digits")
    session = Session(spec)
    for report in session:
        if report.round == 2:
            session.stop()
    return spec


@pytest.fixture
def whole(make_spec: MakeSpec) -> bytes:
    """The student that nobody disturbs."""
    return student_of(make_spec(rounds=ROUNDS, checkpoint_s=0.0, data="none", preset="digits", out="whole"))


def student_of(spec: RunSpec) -> bytes:
    for _ in Session(spec):
        pass
    return (Path(spec.out) / "student.safetensors").read_bytes()


def begins_after(spec: RunSpec) -> int:
    session = Session(spec)
    session._lock.release()
    return session.run.round


def flip(file: Path, at: float = 0.5) -> None:
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 64
    file.write_bytes(content)


@pytest.mark.parametrize("at", [0.01, 0.3, 0.6, 0.99])
def test_a_flipped_bit_is_named_and_the_checkpoint_before_gives_the_same_student(
    spec: RunSpec, whole: bytes, at: float
) -> None:
    folder = RunFolder(spec.out)
    flip(folder.path / "checkpoint.pt", at)
    session = Session(spec)
    assert session.run.round == 1
    (sentence,) = session.said
    assert "its SHA-256 is not that of what was written" in sentence
    assert "going on from round 1, which checkpoint.previous.pt has" in sentence
    assert (folder.path / "checkpoint.damaged.pt").exists()
    for _ in session:
        pass
    assert (folder.path / "student.safetensors").read_bytes() == whole
    assert [event["round"] for event in events_of(folder)] == [1, 2, 3, 4]


def test_after_a_damage_the_generations_are_two_again(spec: RunSpec, whole: bytes) -> None:
    folder = RunFolder(spec.out)
    flip(folder.path / "checkpoint.pt")
    session = Session(spec)
    for report in session:
        if report.round == 3:
            session.stop()
    flip(folder.path / "checkpoint.pt")
    assert begins_after(spec) == 2
    assert student_of(spec) == whole


def test_with_both_generations_damaged_nothing_goes_on_and_without_the_newest_it_begins_again(
    spec: RunSpec, whole: bytes
) -> None:
    folder = RunFolder(spec.out)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        flip(folder.path / name)
    with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read \(.*\); remove it to begin again"):
        Session(spec)
    (folder.path / "checkpoint.pt").unlink()
    assert begins_after(spec) == 0
    assert student_of(spec) == whole


def test_killed_where_a_file_system_has_no_links_the_state_before_is_there(spec: RunSpec, whole: bytes) -> None:
    folder = RunFolder(spec.out)
    (folder.path / "checkpoint.pt").rename(folder.path / "checkpoint.previous.pt")
    (folder.path / "checkpoint.pt.tmp").write_bytes(b"half")
    session = Session(spec)
    assert session.run.round == 2
    assert not session.said  # nothing of it is lost
    for _ in session:
        pass
    assert (folder.path / "student.safetensors").read_bytes() == whole


def test_a_folder_without_digests_goes_on(spec: RunSpec, whole: bytes) -> None:
    (RunFolder(spec.out).path / "digests.json").unlink()
    assert student_of(spec) == whole


@pytest.mark.parametrize("name", ["manifest.json", "seal.json", "digests.json"])
def test_a_damaged_record_is_refused_with_what_to_do_and_that_helps(spec: RunSpec, whole: bytes, name: str) -> None:
    file = RunFolder(spec.out).path / name
    text = file.read_text()
    file.write_text(text.replace(": 0", ": 7").replace("true", "false") if name != "digests.json" else text[:-9])
    with pytest.raises(DamagedFile, match=rf"{name} is damaged \(.*\); remove it") as refused:
        Session(spec)
    assert "\n" not in str(refused.value)
    file.unlink()
    assert student_of(spec) == whole


def test_a_changed_log_is_refused_and_the_line_is_named_where_it_can_be(spec: RunSpec) -> None:
    log = RunFolder(spec.out).path / "events.jsonl"
    before = log.read_text()
    for changed, reason in (
        (before.replace('"round": 2', '"round": 3'), r"line 2 of .* is damaged \(it says round 3\)"),
        (before.replace('"agreement"', '"agreemend"'), r"line 1 of .*health has no agreement"),
        (before.replace('"alarms": []', '"alarms": [""]', 1), r"its first 2 lines are not what was written"),
        (before.partition("\n")[0] + "\n", r"its first 2 lines are not what was written"),
    ):
        log.write_text(changed)
        with pytest.raises(DamagedFile, match=reason):
            Session(spec)
    log.write_text(before)
    assert begins_after(spec) == 2


def test_a_spec_that_was_changed_after_a_checkpoint_is_another_run(spec: RunSpec) -> None:
    file = RunFolder(spec.out).path / "spec.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**values, "seed": 5, "settings": {**values["settings"], "batch": 17}}))
    with pytest.raises(RunError, match=r"spec.yaml: it was changed .* \(seed: 0 -> 5; batch: 16 -> 17\)"):
        Session(RunFolder(spec.out).spec())
    file.write_text(yaml.safe_dump({**values, "checkpoint_s": 7.0}))
    assert begins_after(RunFolder(spec.out).spec()) == 2


def test_a_teacher_that_was_exchanged_is_refused(spec: RunSpec) -> None:
    folder = RunFolder(spec.out)
    manifest = folder.manifest()
    manifest["teacher"]["sha256"] = "0" * 64
    (folder.path / "manifest.json").write_text(json.dumps(manifest))
    (folder.path / "digests.json").unlink()
    with pytest.raises(RunError, match=r"another teacher: .* was begun with 0000"):
        Session(spec)


def test_a_result_is_read_without_the_log_while_that_is_as_it_was(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(spec.out)
    with monkeypatch.context() as patch:
        patch.setattr(contents, "report", None)
        kept = folder.result()
    status = folder.path / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "events_bytes": 1}))
    assert kept == folder.result()
    assert kept["rounds"] == 2
    assert kept["images"] > 0


def test_only_what_is_new_of_a_log_is_read(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, parsed = RunFolder(spec.out), []
    read = contents.report
    monkeypatch.setattr(
        contents, "report", lambda path, number, line: parsed.append(number) or read(path, number, line)
    )
    assert [each.round for each in folder.reports()] == [1, 2]
    assert folder.reports(2) == []
    student_of(spec)
    parsed.clear()
    assert [each.round for each in folder.reports(2)] == [3, 4]  # the file was replaced meanwhile
    assert parsed == [3, 4]
    assert [each.round for each in folder.reports(1)] == [2, 3, 4]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "method: [",
        "method: !!python/name:os.system",
        "\0",
        "a: &a [*a]",
        "? " * 2000,
        "1: 2",
        "x: " + "y" * 300_000,
    ],
)
def test_a_spec_that_cannot_be_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(RunError, match=r"spec\.yaml is damaged \(.*\); put it back from a copy") as refused:
        RunFolder(tmp_path).spec()
    assert "\n" not in str(refused.value)


def test_a_damaged_run_is_a_row_and_the_others_are_listed(
    spec: RunSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = RunFolder(spec.out)
    bad = good.path.with_name("bad")
    bad.mkdir()
    (bad / "spec.yaml").write_text("- a")
    (bad / "events.jsonl").write_text("garbage\n")
    assert main(["list", str(good.path.parent)]) == 0
    said = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1] for line in said.out.splitlines()[1:]}
    assert rows == {str(good.path): "stopped", str(bad): "damaged"}
    assert said.err.startswith(f"line 1 of {bad / 'events.jsonl'} is damaged (no JSON")
    assert main(["compare", str(bad), str(good.path)]) == 2
    said = capsys.readouterr()
    assert {line.split()[0]: line.split()[1] for line in said.out.splitlines()[1:]} == {
        "bad": "damaged",
        good.name: "stopped",
    }
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"state": 3, "round": 0}', '{"state": "running", "round": 0, "pid": []}']
)
def test_a_damaged_status_is_a_state(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    assert RunFolder(tmp_path).status()["state"] == "damaged"


def test_a_run_of_another_machine_is_stale_when_it_has_been_silent(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.write_text(json.dumps({**standing.written("running", 3, 9, ""), "host": "elsewhere", "pid": 1}))
    assert RunFolder(tmp_path).status()["state"] == "running"
    old = time.time() - standing.STALE_S - 5
    os.utime(file, (old, old))
    found = RunFolder(tmp_path).status()
    assert found["state"] == "stale"
    assert found["message"].startswith("nothing was heard of it on elsewhere for")
    ahead = time.time() + 3600  # a clock that went back
    os.utime(file, (ahead, ahead))
    assert RunFolder(tmp_path).status()["state"] == "running"


def test_a_number_that_another_process_has_by_now_is_not_the_run(tmp_path: Path) -> None:
    status = {**standing.written("running", 3, 9, ""), "host": socket.gethostname()}
    (tmp_path / "status.json").write_text(json.dumps(status))
    assert RunFolder(tmp_path).status()["state"] == "running"
    if started(os.getpid()) is not None:
        (tmp_path / "status.json").write_text(json.dumps({**status, "process_started": 1}))
        assert RunFolder(tmp_path).status()["state"] == "stopped"
    assert not is_alive(10**12)
    assert not is_alive(-1)


def test_at_work_a_run_says_so_within_a_round(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    session, times = Session(spec), []
    monkeypatch.setattr("dfkd_lab.runs.recorder.HEARTBEAT_S", 0.0)
    monkeypatch.setattr(session.recorder, "beat", lambda *_: times.append(session.run.round))
    session.requests._looked = 0.0
    session._on_step()
    assert times


def test_a_terminated_run_is_saved_and_says_call_again(spec: RunSpec, whole: bytes) -> None:
    folder = RunFolder(spec.out)
    code = (
        "import os, signal, sys, torch; torch.set_num_threads(1)\n"
        "from dfkd_lab import RunFolder, Session\n"
        "session = Session(RunFolder(sys.argv[1]).spec())\n"
        "for report in session: os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('never')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder.path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "")
    assert (folder.status()["state"], folder.status()["round"]) == ("stopped", 3)
    assert student_of(spec) == whole
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_round_that_would_not_end_in_time_is_given_up(
    spec: RunSpec, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfkd_lab.runs.requests.GRACE_S", -1)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    session = Session(spec)
    try:
        with pytest.raises(SystemExit) as end:  # noqa: PT012
            for report in session:
                if report.round == 3:
                    monkeypatch.setattr(session.requests, "_read", lambda: os.kill(os.getpid(), signal.SIGTERM))
                session.requests._looked = -9.0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 75
    status = session.folder.status()
    assert (status["state"], status["round"]) == ("stopped", 3)
    assert status["message"].startswith("terminated within a round; round 3 is saved")
    assert student_of(spec) == whole


def test_a_handler_that_somebody_has_set_is_left_alone(spec: RunSpec) -> None:
    before = signal.signal(signal.SIGTERM, mine := lambda *_: None)
    try:
        for _ in Session(spec):
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_folder_that_is_removed_under_a_run_does_not_come_back(spec: RunSpec) -> None:
    folder, session = RunFolder(spec.out), Session(spec)
    with pytest.raises(RunError, match="was moved or removed while the run wrote it"):  # noqa: PT012
        for _ in session:
            session.writer.wait()
            shutil.rmtree(folder.path)
    assert not folder.path.exists()


def test_a_thousand_folders_are_listed_by_their_summaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = {**standing.written("finished", 9, 9, ""), "events_bytes": 2}
    status["result"] = standing.result_of(None, [0.5, 0.7])
    for number in range(1000):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "spec.yaml").write_text("method: dafl")
        (folder / "events.jsonl").write_text("x\n")  # which would be refused
        (folder / "status.json").write_text(json.dumps(status))
    assert main(["list", str(tmp_path)]) == 0
    assert all(each.result()["last"] == 0.7 for each in list_runs(tmp_path))


@pytest.mark.parametrize("round", [True, 10**20, -1, 1.0, "1"])
def test_a_state_of_no_round_is_a_sentence(round: Any, tmp_path: Path) -> None:
    torch.save({"round": round}, tmp_path / recorder.CHECKPOINT)
    with pytest.raises(DamagedFile, match=r"checkpoint.pt is damaged \(it has no round that can be\); put it back"):
        recorder.saved_state(RunFolder(tmp_path))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_checkpoint_that_is_no_file_is_not_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / recorder.CHECKPOINT)
    with pytest.raises(DamagedFile, match=r"checkpoint.pt is damaged \(it is no file\); put it back"):
        recorder.saved_state(RunFolder(tmp_path))


@pytest.mark.parametrize(("name", "reason"), [
    ("seal.json", r"seal.json is damaged \(its SHA-256 is not that of what was written\)"),
    ("events.jsonl", "events.jsonl is no file; put it back"),
])  # fmt: skip
def test_a_record_that_became_a_pipe_is_not_waited_for(spec: RunSpec, name: str, reason: str) -> None:
    file = RunFolder.of(spec).path / name
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DamagedFile, match=reason):
        Session(spec)
