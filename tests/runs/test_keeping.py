"""What a person does with run folders: a note and tags, another name, the bin and back; the run stays the same run."""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from dfkd_lab import runs
from dfkd_lab.errors import DamagedFile, RunError, SpecError
from dfkd_lab.runs import contents, keeping, launching
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import RunSpec

MakeSpec = Callable[..., RunSpec]


@pytest.fixture
def prepared(make_spec: MakeSpec) -> Callable[[str], RunFolder]:
    """``prepared(name)``: a run folder that no process has begun."""
    return lambda name: runs.prepare(make_spec(out=name))


def at_work(folder: RunFolder) -> None:
    status = {"state": "running", "round": 1, "pid": os.getpid(), "host": "elsewhere"}
    (folder.path / "status.json").write_text(json.dumps(status))


def test_a_label_is_kept_on_one_line_and_can_be_taken_off(prepared: Callable[[str], RunFolder]) -> None:
    folder = prepared("one")
    assert contents.label(folder.path) == {"note": "", "tags": []}
    keeping.write_label(folder, " the <b>best</b>\n so far ", ["paper", " x  y ", "", "paper"])
    assert contents.label(folder.path) == {"note": "the <b>best</b> so far", "tags": ["paper", "x y"]}
    at_work(folder)
    keeping.write_label(folder, tags=["späť"])
    assert contents.label(folder.path) == {"note": "", "tags": ["späť"]}
    keeping.write_label(folder)
    assert not (folder.path / "label.json").exists()
    with pytest.raises(RunError, match=r"nowhere is not a run folder"):
        keeping.write_label(RunFolder(folder.path.with_name("nowhere")), "a note")


@pytest.mark.parametrize(
    ("note", "tags", "said"),
    [
        ("n" * 501, [], "note has 501 characters; allowed: up to 500"),
        ("\x1b[31m", [], r"note = '\\x1b\[31m' cannot be printed; allowed: a line of text"),
        ("", ["t" * 41], "allowed: 1 to 40 characters of a line, and no comma"),
        ("", ["one,two"], "tag = 'one,two'; allowed: 1 to 40 characters"),
        ("", [str(each) for each in range(21)], "tags are 21; allowed: up to 20"),
    ],
)
def test_what_is_no_label_is_refused_and_the_one_before_stays(
    prepared: Callable[[str], RunFolder], note: str, tags: list[str], said: str
) -> None:
    folder = prepared("one")
    keeping.write_label(folder, "before")
    with pytest.raises(SpecError, match=said):
        keeping.write_label(folder, note, tags)
    assert contents.label(folder.path)["note"] == "before"


@pytest.mark.parametrize(
    "text", ["[]", '{"note": 1}', '{"tags": ["a,b"]}', '{"note": "\\u0007"}', " " * 20_000, '{"tags": "abc"}']
)
def test_a_damaged_label_is_refused_with_the_cure(prepared: Callable[[str], RunFolder], text: str) -> None:
    folder = prepared("one")
    (folder.path / "label.json").write_text(text)
    with pytest.raises(DamagedFile, match=r"label\.json is damaged .*; remove it, and the run has no note and no tags"):
        contents.label(folder.path)


def test_a_note_makes_no_run_newer(prepared: Callable[[str], RunFolder], tmp_path: Path) -> None:
    for place, name in enumerate("ab"):
        os.utime(prepared(name).path, (place, place))
    keeping.write_label(RunFolder(tmp_path / "a"), "old")
    assert [each.name for each in runs.list_runs(tmp_path)] == ["b", "a"]


@pytest.mark.slow
def test_a_run_that_was_renamed_or_restored_goes_on_bit_for_bit(make_spec: MakeSpec, tmp_path: Path) -> None:
    list(Session(make_spec(method="ssd_kd", out="whole", rounds=3)))
    session = Session(make_spec(method="ssd_kd", out="before", rounds=3))
    for report in session:
        if report.round == 1:
            session.stop()
    folder = keeping.rename(RunFolder(tmp_path / "before"), "after")
    keeping.write_label(folder, "goes on", ["renamed"])
    assert (folder.path, Path(folder.spec().out)) == (tmp_path / "after", tmp_path / "after")
    session = Session(folder.spec())
    next(iter(session))
    del session
    binned = keeping.delete(folder, tmp_path)
    restored = keeping.restore(binned, tmp_path)
    list(Session(restored.spec()))
    assert restored.path == tmp_path / "after"
    assert not (tmp_path / "before").exists()
    students = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("whole", "after")]
    assert students[0] == students[1]
    assert contents.label(restored.path)["tags"] == ["renamed"]


@pytest.mark.parametrize("name", ["", " ", ".hidden", "~", "~me", "a/b", "../a", "a/", "\x07", "n" * 201, "runs/a"])
def test_what_is_no_name_is_refused(prepared: Callable[[str], RunFolder], name: str) -> None:
    folder = prepared("one")
    with pytest.raises(SpecError, match=r"is no name for a run folder; allowed: up to 200 bytes"):
        keeping.rename(folder, name)
    with pytest.raises(SpecError, match=r"is no name for a run folder"):
        keeping.rename(folder, str(folder.path.with_name("absolute")))
    assert folder.exists()


def test_what_is_taken_at_work_or_of_a_sweep_keeps_its_name(prepared: Callable[[str], RunFolder]) -> None:
    folder, cell = prepared("one"), prepared("sweep/cell")
    prepared("two")
    (folder.path.parent / "link").symlink_to("nowhere")
    for taken in ("two", "one", "link", "sweep"):
        with pytest.raises(SpecError, match=f"name = '{taken}' is taken in .*; give another"):
            keeping.rename(folder, taken)
    (cell.path.parent / "sweep.yaml").write_text("name: sweep")
    with pytest.raises(RunError, match="is of the sweep sweep, which would compute it again; give it a note"):
        keeping.rename(cell, "other")
    at_work(folder)
    with pytest.raises(RunError, match="is at work; stop it first"):
        keeping.rename(folder, "three")


def test_what_is_at_work_is_not_deleted_even_before_it_says_so(
    prepared: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    folder = prepared("one")
    with FileLock(folder.path / "lock"), pytest.raises(RunError, match="is at work; stop it first"):
        keeping.delete(folder, tmp_path)
    at_work(folder)
    with pytest.raises(RunError, match="is at work; stop it first"):
        keeping.delete(folder, tmp_path)
    assert folder.exists()


def test_what_any_process_has_begun_is_not_moved_before_it_says_a_word(
    prepared: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    folder = prepared("one")
    child = launching.begin([sys.executable, "-c", "import time; time.sleep(60)"], folder.path / "log.txt")
    with pytest.raises(RunError, match="one is starting; stop it first"):
        keeping.delete(folder, tmp_path)
    with pytest.raises(RunError, match="one is starting; stop it first"):
        keeping.rename(folder, "other")
    child.kill()
    child.wait()
    assert keeping.delete(folder, tmp_path).exists()


def test_the_bin_is_not_listed_keeps_both_of_a_name_and_gives_them_back(
    prepared: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    first = keeping.delete(prepared("inner/one"), tmp_path)
    second = keeping.delete(prepared("inner/one"), tmp_path)
    assert [each.path.relative_to(tmp_path).as_posix() for each in (first, second)] == [
        ".bin/inner/one",
        ".bin/inner/one-2",
    ]
    assert runs.list_runs(tmp_path) == []
    assert len(runs.list_runs(tmp_path / ".bin")) == 2
    with pytest.raises(SpecError, match="is in the bin already"):
        keeping.delete(first, tmp_path)
    assert keeping.restore(second, tmp_path, "inner/one").path == tmp_path / "inner/one"
    assert keeping.restore(first, tmp_path).path == tmp_path / "inner/one-2", "what is taken gets a number"
    with pytest.raises(SpecError, match=r"is not below .*\.bin"):
        keeping.restore(RunFolder(tmp_path / "inner/one"), tmp_path)


def test_only_an_emptied_bin_is_erased(prepared: Callable[[str], RunFolder], tmp_path: Path) -> None:
    assert keeping.empty_bin(tmp_path) == 0
    kept = prepared("kept")
    for name in ("one", "two"):
        keeping.delete(prepared(name), tmp_path)
    assert keeping.empty_bin(tmp_path) == 2
    assert not (tmp_path / ".bin").exists()
    assert kept.exists()


@pytest.mark.parametrize("name", ["~me", ".hidden", "runs/q", "L" * 230, " led", "a\nb"])
def test_whatever_a_folder_is_called_comes_back(
    name: str, prepared: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    folder = RunFolder(prepared("one").path.rename(tmp_path / name))
    assert keeping.restore(keeping.delete(folder, tmp_path), tmp_path).path == folder.path
    assert keeping.restore(keeping.delete(folder, tmp_path), tmp_path, name).path == folder.path
    assert not (tmp_path / ".bin").exists()


@pytest.mark.parametrize("name", ["../out", ".bin/other", ".", "inner/../.."])
def test_nothing_is_brought_back_to_where_no_run_is_looked_for(
    name: str, prepared: Callable[[str], RunFolder], tmp_path: Path
) -> None:
    binned = keeping.delete(prepared("one"), tmp_path)
    with pytest.raises(SpecError, match=r"is not below|is in the bin"):
        keeping.restore(binned, tmp_path, name)
    keeping.delete(prepared("outer/inner"), tmp_path)
    (tmp_path / "outer").rmdir()
    prepared("outer")
    with pytest.raises(SpecError, match="would be inside the run folder"):
        keeping.restore(RunFolder(tmp_path / ".bin/outer/inner"), tmp_path)
    assert binned.exists()


def test_only_runs_that_are_named_are_erased(prepared: Callable[[str], RunFolder], tmp_path: Path) -> None:
    first, second = (keeping.delete(prepared(name), tmp_path) for name in ("inner/one", "inner/two"))
    (tmp_path / ".bin" / "precious").mkdir()
    with pytest.raises(SpecError, match="is not below"):
        keeping.empty_bin(tmp_path, [first, prepared("kept")])
    assert keeping.empty_bin(tmp_path, [first]) == 1
    assert (first.exists(), second.exists()) == (False, True)
    at_work(second)
    with pytest.raises(RunError, match="is at work; stop it first"):
        keeping.empty_bin(tmp_path)
    (second.path / "status.json").unlink()
    assert keeping.empty_bin(tmp_path) == 1
    assert [each.name for each in (tmp_path / ".bin").iterdir()] == ["precious"]


def test_a_lock_that_cannot_be_asked_for_is_a_sentence(
    prepared: Callable[[str], RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path) -> bool:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(file))

    folder = prepared("one")
    monkeypatch.setattr(keeping, "is_held", refuse)
    for change in (lambda: keeping.rename(folder, "two"), lambda: keeping.delete(folder, tmp_path)):
        with pytest.raises(RunError, match=r"cannot tell whether .*one is at work: Read-only file system"):
            change()


def test_nothing_outside_is_deleted(
    prepared: Callable[[str], RunFolder], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = prepared("one")
    root = tmp_path_factory.mktemp("mine")
    (root / "link").symlink_to(other.path)
    for folder in (other, RunFolder(root / "link"), RunFolder(root)):
        with pytest.raises(SpecError, match="is not below"):
            keeping.delete(folder, root)
    assert other.exists()
