"""Files are whole or not there, and what is read back is of the shape that it must have."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd_lab.errors import DamagedFile
from dfkd_lab.system.files import no_file, sha256_of, write_atomically
from dfkd_lab.system.stored import Fields, misfit, parsed, read_json


def test_what_a_library_makes_of_a_full_disk_is_what_the_system_said(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    file.write_bytes(b"before")
    code = (
        "import resource, sys, torch; from pathlib import Path; from dfkd_lab.system.files import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "state = {'a': torch.ones(100_000)}\n"
        "try: write_atomically(Path(sys.argv[1]), lambda file: torch.save(state, file))\n"
        "except OSError as error: print(error.errno, error.filename)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(errno.EFBIG), str(file)]
    assert [each.name for each in tmp_path.iterdir()] == ["state.pt"]
    assert file.read_bytes() == b"before"


def test_a_link_that_lies_in_the_way_is_not_followed(tmp_path: Path) -> None:
    file, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("of somebody")
    for link in (file.with_name("file.tmp"), file):
        link.symlink_to(victim)
    write_atomically(file, b"ours")
    assert (file.read_bytes(), victim.read_text()) == (b"ours", "of somebody")
    assert not file.is_symlink()


def test_a_digest_is_announced_when_all_is_written_and_nothing_replaced(tmp_path: Path) -> None:
    file, seen = tmp_path / "file", []
    file.write_bytes(b"old")

    def announce(sha256: str) -> None:
        seen.append((sha256, file.read_bytes(), sha256_of(tmp_path / "file.tmp")))

    write_atomically(file, lambda out: torch.save({"a": 1}, out), announce=announce)
    assert seen == [(sha256_of(file), b"old", sha256_of(file))]


def test_what_a_killed_process_left_of_an_attempt_goes_with_the_next_one(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in ("file.7.tmp", "file.8.tmp", "file.other.tmp"))
    for each in (old, new, other):
        each.touch()
    for each in (old, other):
        os.utime(each, (0, 0))
    write_atomically(tmp_path / "file", b"whole", shared=True)
    assert {each.name for each in tmp_path.iterdir()} == {"file", "file.8.tmp", "file.other.tmp"}


def test_a_file_that_is_not_there_may_be_misspelt(tmp_path: Path) -> None:
    for name in ("resnet20.pth", "other.pth"):
        (tmp_path / name).touch()
    asked = tmp_path / "resnet2.pth"
    assert no_file(asked) == f"there is no file {asked}; did you mean 'resnet20.pth'?"
    assert no_file(tmp_path / "a.yaml") == f"there is no file {tmp_path / 'a.yaml'}"
    assert no_file(tmp_path / "gone" / "a") == f"there is no file {tmp_path / 'gone' / 'a'}"


def test_a_digest_of_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one and more")
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b", 3) != sha256_of(tmp_path / "b")
    assert not sha256_of(tmp_path / "a", 4)


SHAPE = Fields(needed={"n": int}, known={"x": (float, None), "list": [str], "in": Fields(others=float)})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"n": 1}, ""),
        ({"n": 1, "x": None, "list": [], "in": {"any": 1}, "unknown": [{}]}, ""),
        ({}, "it has no n"),
        ({"n": True}, "n is true, not a whole number"),
        ({"n": 2**63}, "n is out of range"),
        ({"n": 1.0}, "n is 1.0, not a whole number"),
        ({"n": 1, "x": "1"}, 'x is "1", not null'),
        ({"n": 1, "list": ["a", 2]}, "list[1] is 2, not text"),
        ({"n": 1, "in": {"a": []}}, "in.a is [], not a number"),
        ([1], "it is [1], not an object"),
    ],
)
def test_a_shape_says_what_does_not_fit(value: Any, reason: str) -> None:
    assert misfit(value, SHAPE) == reason


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"n": 1' + "0" * 5000 + "}", "\0"])
def test_what_is_no_json_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(DamagedFile, match=r"^here is damaged \(.*\); mend it$") as refused:
        parsed(text, SHAPE, "here", "mend it")
    assert "\n" not in str(refused.value)


def test_what_is_no_file_of_text_is_refused_and_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_json(tmp_path / "a", SHAPE, "") == {}
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    (tmp_path / "c").mkdir()
    os.mkfifo(tmp_path / "d")  # which would be waited for
    for name, reason in (("b", "its bytes are no text"), ("c", "is no file"), ("d", "is no file")):
        with pytest.raises(DamagedFile, match=f"{name} .*{reason}.*; mend it"):
            read_json(tmp_path / name, SHAPE, "mend it")
