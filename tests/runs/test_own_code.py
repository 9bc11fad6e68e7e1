"""Runs whose networks are from a user's own Python file: the same student, and nobody else's code is executed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd_lab import RunFolder, Session, launch, nets, plan, prepare, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.errors import DamagedFile, RunError, SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.runs import own_code, resolve
from tests.support import own_file, tiny

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with my.py, which leaves a mark whenever it is executed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(own_file(marker=tmp_path / "marker"))
    return tmp_path


def marks(here: Path) -> int:
    return (here / "marker").read_text().count("executed") if (here / "marker").exists() else 0


def own_run(out: str, **more: Any) -> Session:
    more = {"student": "my.py:Mine", "rounds": 2, **more}
    return Session(plan(tiny("dafl"), method="dafl", data="none", device="cpu", checkpoint_s=0, out=out, **more))


def stopped(out: str, **more: Any) -> RunFolder:
    """A run that was stopped after its first round, as somebody else's: nothing here has trusted its file."""
    session = own_run(out, **more)
    for _ in session:
        session.stop()
    python_file.TRUSTED.clear()
    return session.folder


def student_of(folder: RunFolder) -> bytes:
    return (folder.path / "student.safetensors").read_bytes()


def test_a_stopped_run_goes_on_to_the_same_student(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = own_run("whole")
    assert len(list(whole)) == 2
    folder = stopped("part")
    assert main(["resume", "part", "--trust-code"]) == 0
    assert student_of(folder) == student_of(whole.folder)
    assert len(folder.reports()) == 2


def test_a_killed_process_goes_on_to_the_same_student(here: Path) -> None:
    whole = own_run("whole", rounds=40)
    list(whole)
    folder = prepare(plan(dict(whole.spec.settings), method="dafl", student="my.py:Mine", rounds=40, data="none",
                          device="cpu", checkpoint_s=0, out="killed"))  # fmt: skip
    child = launch(folder, "unchanged")
    while len(folder.reports()) < 2 and child.poll() is None:
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert 2 <= len(folder.reports()) < 40, (folder.path / "log.txt").read_text()
    python_file.TRUSTED.clear()
    assert main(["resume", "killed", "--trust-code"]) == 0
    assert student_of(folder) == student_of(whole.folder)


def test_the_record_says_which_file_without_its_folder(here: Path) -> None:
    folder = stopped("run")
    assert folder.spec().student == f"{here / 'my.py'}:Mine"
    manifest = (folder.path / "manifest.json").read_text()
    assert json.loads(manifest)["student"]["net"] == "my.py:Mine"
    digest = own_code.recorded(folder, "student")
    assert json.loads(manifest)["sessions"][0]["code"] == {"student": {"file": "my.py", "sha256": digest}}
    assert len(digest) == 64
    assert str(here) not in manifest
    assert (folder.path / "student.py").read_text() == (here / "my.py").read_text()
    assert own_run("").folder.name == "dafl-digits-my-Mine-seed0"


def test_reading_a_folder_executes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = stopped("runs/run"), marks(here)
    for arguments in (["list"], ["compare", "run"], ["compare", "runs/run", "runs/run"], ["resume", "run"]):
        main(arguments)
    for action in (folder.spec, folder.result, folder.status, lambda: own_code.question(folder, folder.spec())):
        action()
    with pytest.raises(RunError):
        resolve(folder.spec())
    assert marks(here) == before


def test_without_trust_a_run_is_refused_in_one_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = stopped("run"), marks(here)
    assert main(["resume", "run"]) == 2
    said = capsys.readouterr().err
    for part in (f"the student's {here / 'my.py'}", own_code.recorded(folder, "student"), "is unchanged since",
                 f"resume {folder.path} --trust-code"):  # fmt: skip
        assert part in said
    assert said.count("\n") == 1
    with pytest.raises(RunError, match='trust_code="unchanged" in Python'):
        Session(folder.spec())
    assert marks(here) == before
    assert len(list(Session(folder.spec(), "unchanged"))) == 1


def test_an_edited_file_is_another_run_unless_a_person_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, folder = own_run("whole"), stopped("run")
    list(whole)
    python_file.TRUSTED.clear()
    copied = RunFolder(shutil.copytree(folder.path, folder.path.with_name("copied")))
    with (here / "my.py").open("a") as file:
        file.write("# edited\n")
    before = marks(here)
    for arguments in (["resume", "run"], ["resume", "run", "--trust-code"]):
        assert main(arguments) == 2
        assert "has changed since" in (said := capsys.readouterr().err)
        assert "--trust-code kept (what it had, in " in said
    assert marks(here) == before, "a changed file is not executed to find out that it is refused"
    with pytest.raises(RunError, match=r"my.py had sha256 \w+ when .*run began, and has \w+ now; take another folder"):
        own_run("run")
    python_file.TRUSTED.clear()
    assert main(["resume", "run", "--trust-code=kept"]) == 0
    assert student_of(folder) == student_of(whole.folder)
    assert main(["resume", "--trust-code", "changed", "copied"]) == 0
    texts = {path.name for path in copied.path.glob("*.py")}
    assert texts == {"student.py", f"student-{own_code.recorded(folder, 'student')[:12]}.py"}
    hashes = [each["code"]["student"]["sha256"] for each in copied.manifest()["sessions"]]
    assert len(set(hashes)) == len(hashes) == 2


def test_a_run_without_a_checkpoint_takes_the_file_as_it_is(here: Path) -> None:
    begun = own_run("run")
    begun._lock.release()  # as when its process was killed
    with (here / "my.py").open("a") as file:
        file.write("# mended\n")
    session = own_run("run")
    assert len(list(session)) == 2
    assert own_code.recorded(begun.folder, "student") == session.resolved.code["student"].sha256


def test_a_file_that_is_gone_leaves_its_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, folder = own_run("whole"), stopped("run")
    list(whole)
    python_file.TRUSTED.clear()
    (here / "my.py").unlink()
    for arguments in (["resume", "run"], ["resume", "run", "--trust-code"], ["resume", "run", "--trust-code=changed"]):
        assert main(arguments) == 2
        assert "is not there any more; read it, then: resume" in (said := capsys.readouterr().err)
        assert "changed (" not in said
    assert main(["resume", "run", "--trust-code", "kept"]) == 0
    assert student_of(folder) == student_of(whole.folder)


def test_a_copy_that_was_tampered_with_is_not_executed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = stopped("run"), marks(here)
    with (folder.path / "student.py").open("a") as file:
        file.write("# not mine\n")
    assert main(["resume", "run", "--trust-code=kept"]) == 2
    assert "is not the text that the run began with" in capsys.readouterr().err
    (folder.path / "student.py").unlink()
    assert main(["resume", "run", "--trust-code=kept"]) == 2
    assert "is not there, so no text of my.py:Mine is kept" in capsys.readouterr().err
    assert marks(here) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--trust-code=chnged"], "did you mean 'changed'? (allowed: unchanged, kept, changed)"),
        (["run", "--trust-code", "all"], "trust_code: 'all' is not a choice"),
        (["--trust-code", "kept"], "resume takes one run folder"),
        (["run", "run", "--trust-code"], "resume takes one run folder"),
    ],
)
def test_a_wrong_flag_is_refused(here: Path, arguments: list[str], sentence: str, capsys: Any) -> None:
    stopped("runs/run")
    assert main(["resume", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_manifest_of_nonsense_is_no_hash(here: Path) -> None:
    folder = stopped("run")
    nonsense: list[Any] = [{}, {"student": {}}, {"student": {"sha256": "\x1b[31m"}}]
    for sessions in ([], *([{"code": each}] for each in nonsense)):
        (folder.path / "manifest.json").write_text(json.dumps({"sessions": sessions}))
        assert own_code.recorded(folder, "student") == ""
    (folder.path / "manifest.json").write_text(json.dumps({"sessions": [{"code": 3}]}))
    with pytest.raises(DamagedFile, match=r"sessions\[0\].code is 3, not an object"):
        own_code.recorded(folder, "student")


def test_a_checkpoint_never_decides_what_is_executed(here: Path) -> None:
    list(session := own_run("run"))
    file, before = session.folder.path / "student.safetensors", marks(here)
    python_file.TRUSTED.clear()
    with pytest.raises(SpecError, match=r"no checkpoint decides what is executed; say which: FILE.py:NAME@"):
        teachers.load(str(file))
    assert marks(here) == before
    teacher = teachers.load(f"my.py:Mine@{file}")
    assert (teacher.card.shape, teacher.describe()["net"]) == ((1, 16, 16), "my.py:Mine")
    assert str(here) not in json.dumps({**teacher.describe(), "name": ""})


def test_a_teacher_of_a_file_trusts_and_resumes_as_a_student_does(here: Path, capsys: Any) -> None:
    nets.trust("my.py:Mine")
    torch.save(nets.classifier("my.py:Mine", 1, 10).state_dict(), here / "mine.pth")
    more = {"teacher": "my.py:Mine@mine.pth", "student": "convnet_8", "normalization": "digits"}
    whole = own_run("whole", **more)
    list(whole)
    folder = stopped("run", **more)
    assert main(["resume", "run"]) == 2
    assert f"the teacher's {here / 'my.py'}" in capsys.readouterr().err
    assert main(["resume", "run", "--trust-code"]) == 0
    assert student_of(folder) == student_of(whole.folder)
    assert (folder.path / "teacher.py").is_file()


@pytest.fixture
def notebook(here: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dfkd_lab", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, env=environment)

    return run


@pytest.mark.long
def test_the_command_line_and_a_notebook_give_the_same_student(here: Path, notebook: Any) -> None:
    settings = {"student": "my.py:Mine", "rounds": "2", "data": "none", **{k: str(v) for k, v in tiny("dafl").items()}}
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    words = [part for name, value in settings.items() for part in ("-p", name, value)]
    for done in (notebook("run", "dafl", *flags, "--out", "a"),
                 notebook("notebook", "10_run", "-p", "method", "dafl", *words, "-p", "out", "b")):  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert student_of(RunFolder("runs/a")) == student_of(RunFolder("runs/b"))
