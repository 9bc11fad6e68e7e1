"""A method that reads real data fails its run and cannot be called data-free."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision.io  # noqa: F401 - whose reader in C is looked at once it is there
from torch import Tensor

from dfkd_lab import methods
from dfkd_lab.engine.recipe import MethodContext, Recipe, WeightedLoss
from dfkd_lab.errors import RunError
from dfkd_lab.methods.dafl import DAFL
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.runs import records
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.seal import Seal, SealBroken
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import RunSpec

MakeSpec = Callable[..., RunSpec]
OPENED = "the distillation opened .*, which belongs to a data set; a data-free run must not"
STARTED = "the distillation started a process, which could read data unseen; a data-free run must not"


def reads_digits() -> None:
    from sklearn.datasets import load_digits

    load_digits()


def reads_an_array() -> None:
    np.load("real.npy")


def reads_an_image_by_its_descriptor() -> None:
    os.close(os.open("real.png", os.O_RDONLY))


def reads_and_hides_it() -> None:
    with contextlib.suppress(Exception):
        np.load("real.npy")


def reads_and_dresses_it_up() -> None:
    try:
        np.load("real.npy")
    except Exception:
        raise ValueError("something else") from None


def reads_a_link() -> None:
    Path("link.bin").symlink_to("real.npy")
    Path("link.bin").read_bytes()


def reads_from_c() -> None:
    torch.from_file("real.npy", size=3, dtype=torch.uint8)


def maps_a_storage() -> None:
    torch.UntypedStorage.from_file("real.npy", False, 3)


def decodes_an_image_in_c() -> None:
    torch.ops.image.read_file("real.png")  # what torchvision.io.read_file and decode_image call


def opens_tensors_in_c() -> None:
    safetensors.torch.load_file("real.npy")


def opens_a_database() -> None:
    sqlite3.connect("anything.at.all")


def connects() -> None:
    with socket.socket() as mine:
        mine.connect(("127.0.0.1", 9))


def starts_a_process() -> None:
    subprocess.run([sys.executable, "-c", "open('real.npy')"], check=False)


def starts_a_shell() -> None:
    os.system("cat real.npy")


def starts_a_worker() -> None:
    worker = multiprocessing.get_context("spawn").Process(target=reads_an_array)
    worker.start()
    worker.join()


CHEATS = [
    (reads_digits, OPENED),
    (reads_an_array, OPENED),
    (reads_an_image_by_its_descriptor, OPENED),
    (reads_and_hides_it, OPENED),
    (reads_and_dresses_it_up, OPENED),
    (reads_a_link, OPENED),
    (reads_from_c, OPENED),
    (maps_a_storage, OPENED),
    (decodes_an_image_in_c, OPENED),
    (opens_tensors_in_c, OPENED),
    (opens_a_database, "the distillation opened the database anything.at.all"),
    (connects, "the distillation used the network"),
    (starts_a_process, STARTED),
    (starts_a_shell, STARTED),
    (starts_a_worker, STARTED),
]


def cheating(cheat: Callable[[], object], when: str) -> type[Any]:
    """DAFL that cheats while it composes, or in a term."""

    def term(seen: Observation) -> Tensor:
        cheat()
        return seen.logits.sum(1)

    @dataclasses.dataclass(frozen=True)
    class Cheat(DAFL):
        def compose(self, context: MethodContext) -> Recipe:
            if when == "composing":
                cheat()
            recipe = super().compose(context)
            if when == "a term":
                recipe.losses["cheat"] = WeightedLoss(0.001, term)
            return recipe

    return Cheat


@pytest.fixture
def real_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("real.npy", np.zeros(3))
    Path("real.png").write_bytes(b"")


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("when", ["composing", "a term"])
@pytest.mark.parametrize(("cheat", "sentence"), CHEATS, ids=lambda each: getattr(each, "__name__", ""))
def test_cheating_fails_the_run_and_the_record_says_so(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, cheat: Any, sentence: str, when: str
) -> None:
    spec = make_spec()
    monkeypatch.setitem(methods.METHODS, "dafl", cheating(cheat, when))
    with pytest.raises(RunError, match=sentence):
        list(Session(spec))
    if when == "composing":  # nothing has begun
        assert not Path(spec.out).exists()
        return
    seal = RunFolder(spec.out).seal()
    assert seal["data_free"] is False
    assert seal["sessions"][0]["violations"]
    assert not (Path(spec.out) / "student.safetensors").exists()


@pytest.mark.usefixtures("real_data")
def test_a_later_honest_session_does_not_wash_the_record(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec()
    with monkeypatch.context() as patch:
        patch.setitem(methods.METHODS, "dafl", cheating(reads_an_array, "a term"))
        with pytest.raises(RunError, match=OPENED):
            list(Session(spec))
    list(Session(spec))
    assert RunFolder(spec.out).seal()["data_free"] is False


def test_an_honest_run_is_data_free_and_names_what_it_knew(make_spec: MakeSpec) -> None:
    spec = make_spec()
    list(Session(spec))
    seal = RunFolder(spec.out).seal()
    assert seal["data_free"] is True
    assert seal["evaluation_set"] == "digits"
    assert len(seal["teacher_file"]["sha256"]) == 64
    assert seal["sessions"][0]["sealed_rounds"] == spec.rounds
    assert seal["sessions"][0]["violations"] == []


@pytest.mark.usefixtures("real_data")
def test_between_rounds_the_seal_is_open(make_spec: MakeSpec) -> None:
    for _ in Session(make_spec()):
        np.load("real.npy")
        assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0
    assert RunFolder(make_spec().out).seal()["data_free"] is True


def test_the_runs_own_files_may_be_read_while_it_is_sealed(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec()
    own = Path(spec.out) / "own.npy"
    monkeypatch.setitem(methods.METHODS, "dafl", cheating(lambda: np.load(own) is None, "a term"))
    session = Session(spec)
    np.save(own, np.zeros(2))
    list(session)
    assert RunFolder(spec.out).seal()["data_free"] is True


def test_the_environment_variable_names_a_folder_of_data(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "data" / "anything.at.all"
    secret.parent.mkdir()
    torch.save(torch.zeros(2), secret)
    monkeypatch.setenv("DFKD_DATA", str(secret.parent))
    monkeypatch.setitem(methods.METHODS, "dafl", cheating(lambda: torch.load(secret) is None, "a term"))
    with pytest.raises(RunError, match=OPENED):
        list(Session(make_spec()))


def test_code_may_be_called_like_a_data_set(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar_helpers.py").write_text("")
    monkeypatch.setitem(
        methods.METHODS, "dafl", cheating(lambda: (tmp_path / "cifar_helpers.py").read_text(), "a term")
    )
    list(Session(spec := make_spec()))
    assert RunFolder(spec.out).seal()["data_free"] is True


def test_while_a_method_composes_another_thread_may_read_and_start_what_it_likes(tmp_path: Path) -> None:
    file = tmp_path / "digits.npy"
    seen: list[Any] = []
    file.write_bytes(b"")
    seal = Seal()

    def elsewhere() -> None:
        seen.append(file.read_bytes())
        seen.append(subprocess.run([sys.executable, "-c", ""], check=False).returncode)

    with seal.of_this_thread():
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()
    assert seen == [b"", 0]
    with pytest.raises(SealBroken, match="belongs to a data set"), seal.of_this_thread():
        file.read_bytes()


# what was open before, and other names for the same file


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list open files")


@needs_proc
@pytest.mark.parametrize("how", ["a handle", "a map"])
def test_a_round_does_not_begin_while_a_data_set_is_open(tmp_path: Path, how: str) -> None:
    np.save(tmp_path / "real.npy", np.zeros(3))
    held: Any = (tmp_path / "real.npy").open("rb") if how == "a handle" else np.load(tmp_path / "real.npy", "r")
    seal = Seal()
    with pytest.raises(SealBroken, match=r"real\.npy, which belongs to a data set, is open as a round begins"), seal:
        pass
    assert seal.record()["data_free"] is False
    held.close() if how == "a handle" else held._mmap.close()
    with Seal():
        pass


@needs_proc
@pytest.mark.parametrize("way", ["its number", "/proc/self/fd", "/dev/fd"])
def test_a_handle_by_another_name_is_the_file_it_is_of(tmp_path: Path, way: str) -> None:
    np.save(tmp_path / "real.npy", np.zeros(3))
    with (tmp_path / "real.npy").open("rb") as held, pytest.raises(SealBroken, match="belongs to a data set"):
        Seal().on_event("open", (held.fileno() if way == "its number" else f"{way}/{held.fileno()}", "rb", 0))


def test_a_link_inside_the_run_folder_does_not_make_a_data_set_its_own(tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", np.zeros(3))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "own.npy").symlink_to(tmp_path / "real.npy")
    with pytest.raises(SealBroken, match="belongs to a data set"), Seal([tmp_path / "run"]):
        (tmp_path / "run" / "own.npy").read_bytes()


def test_a_folder_of_data_that_is_a_link_and_has_links_is_data_under_each_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "big").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.bin").write_bytes(b"1")
    (tmp_path / "disk" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "sets").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "sets"))
    for name in ("sets/linked/x.bin", "disk/linked/x.bin", "elsewhere/x.bin"):
        with pytest.raises(SealBroken, match="belongs to a data set"), Seal():
            (tmp_path / name).read_bytes()


def test_what_the_seal_replaces_is_there_again_behind_it(tmp_path: Path) -> None:
    torch.arange(4, dtype=torch.uint8).numpy().tofile(tmp_path / "harmless")
    before = (torch.from_file, safetensors.torch.safe_open, torch.ops.image.read_file, subprocess._fork_exec)  # type: ignore[attr-defined]
    with (seal := Seal()):
        assert torch.from_file(str(tmp_path / "harmless"), size=4, dtype=torch.uint8).tolist() == [0, 1, 2, 3]
    assert str(tmp_path / "harmless") in seal.record()["opened_during_distillation"]
    assert before == (
        torch.from_file, safetensors.torch.safe_open, torch.ops.image.read_file, subprocess._fork_exec,  # type: ignore[attr-defined]
    )  # fmt: skip


# what the record says


def test_the_record_says_what_was_watched_and_way_by_way_what_was_not(make_spec: MakeSpec) -> None:
    spec = make_spec()
    for number, _ in enumerate(Session(spec)):
        if number == 0:
            np.save(Path(spec.out) / "own.npy", np.zeros(2))
    seal = RunFolder(spec.out).seal()
    assert {"c_libraries", "network", "memory", "run_folder", "between_rounds"} <= seal["not_watched"].keys()
    assert any("sqlite3" in sentence for sentence in seal["sessions"][0]["watched"])
    assert seal["sessions"][0]["data_files_in_run_folder"] == [str(Path(spec.out, "own.npy").resolve())]
    assert (seal["rounds"], seal["watched_rounds"]) == (2, 2)
    assert seal["verdict"].startswith("was watched in 2 of 2 rounds, and read no real data in a way that the seal sees")


def test_what_the_distillation_made_itself_and_what_is_gone_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "passing").write_text("")
    with (seal := Seal()):
        with tempfile.TemporaryFile(dir=tmp_path) as file:
            file.write(b"1")
        (tmp_path / "note").write_text("mine")
        (tmp_path / "note").read_text()
        (tmp_path / "passing").read_text()
        (tmp_path / "passing").unlink()
    record = seal.record()
    assert record["opened_during_distillation"] == []
    assert record["opened_and_gone_since"] == 1


def test_a_killed_run_vouches_for_the_rounds_it_kept_and_its_next_session_for_the_rest(make_spec: MakeSpec) -> None:
    spec = make_spec(rounds=4, checkpoint_s=0.0)
    folder, session = RunFolder(spec.out), Session(spec)
    view = iter(session)
    for _ in range(3):
        next(view)
    session.writer.wait()
    killed = {name: (folder.path / name).read_bytes() for name in ("checkpoint.pt", "seal.json", "digests.json")}
    list(view)
    for name, content in killed.items():  # as a kill behind round 3 leaves them
        (folder.path / name).write_bytes(content)
    list(Session(spec))
    seal = folder.seal()
    assert [(each["from_round"], each["sealed_rounds"]) for each in seal["sessions"]] == [(0, 3), (3, 1)]
    assert seal["data_free"] is True


@pytest.mark.parametrize("lost", ["the record of a session", "every record"])
def test_rounds_without_a_record_are_not_called_data_free(make_spec: MakeSpec, lost: str) -> None:
    spec = make_spec(rounds=3, checkpoint_s=0.0)
    folder, session = RunFolder(spec.out), Session(spec)
    for report in session:
        if report.round == 2:
            session.stop()
    (folder.path / "digests.json").unlink()
    older = json.loads((folder.path / "seal.json").read_text())
    older["sessions"] = [{"sealed_rounds": 1, "data_free": True, "violations": []}]  # as version 0.2.0 wrote it
    (folder.path / "seal.json").write_text(json.dumps(older)) if lost != "every record" else (
        folder.path / "seal.json"
    ).unlink()
    list(Session(spec))
    seal, watched = folder.seal(), 2 if lost != "every record" else 1
    assert seal["data_free"] is False
    assert seal["verdict"] == f"was watched in {watched} of 3 rounds; what the others read is not known"


def test_rounds_that_were_forgotten_count_once(make_spec: MakeSpec) -> None:
    before = [{"sealed_rounds": 4, "data_free": True, "violations": []}, {"from_round": 3, "sealed_rounds": 5}]
    folder = RunFolder(make_spec().out)
    folder.path.mkdir()
    (folder.path / "seal.json").write_text(json.dumps({"sessions": before}))
    assert [each["sealed_rounds"] for each in records.kept_sessions(folder, 3)] == [3, 0]


def test_a_finished_folder_of_an_older_version_is_read_by_what_it_has() -> None:
    session = {"sealed_rounds": 2, "data_free": True, "violations": []}
    older = {"data_free": True, "sessions": [session]}
    assert records.verdict(older, 2).startswith("was watched in 2 of 2 rounds")
    assert records.verdict(older, 5).startswith("was watched in 2 of 5 rounds")
    assert records.verdict({"sessions": [{**session, "violations": ["x"]}]}, 2).startswith("READ DATA")
