"""The student's loss on an image of the buffer is known of each round since the image was made."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dfkd_lab import RunFolder
from dfkd_lab.errors import DamagedFile
from dfkd_lab.runs import examination, examine, loss_history
from dfkd_lab.runs.recorder import Recorder
from tests.support import finished


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose buffer holds images of several rounds."""
    return finished(tmp_path_factory.mktemp("losses") / "kept", rounds=4)


@pytest.fixture
def mine(kept: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it."""
    return RunFolder(shutil.copytree(kept.path, tmp_path / "mine"))


def files_of(folder: RunFolder) -> dict[int, Path]:
    return {round: loss_history.file_of(grid) for round, grid in folder.samples().items()}


@pytest.mark.parametrize("views", [0, 2])
def test_an_image_s_losses_begin_when_it_is_made_and_end_with_what_the_buffer_has(tmp_path: Path, views: int) -> None:
    folder = finished(tmp_path / "run", rounds=4, cache_views=views)
    examine(folder)
    images = examination.read(folder.path).images
    assert images.history_rounds.tolist() == [1, 2, 3, 4]
    assert torch.equal(images.history[:, -1], images.losses)
    assert [int(known) for known in (~images.history.isnan()).sum(1)] == [age + 1 for age in images.ages.tolist()]
    assert len({*images.ages.tolist()}) > 1
    of_round_2 = torch.from_numpy(np.load(files_of(folder)[2]))
    old = images.ages >= 2
    assert torch.equal(images.history[old, 1], of_round_2[old[: len(of_round_2)].nonzero().flatten()])


def test_what_a_run_forgets_when_it_goes_on_from_a_checkpoint_is_forgotten_here_too(mine: RunFolder) -> None:
    whole = {round: file.read_bytes() for round, file in files_of(mine).items()}
    Recorder(mine, mine.spec()).begin(2)
    assert {*(mine.path / "samples").glob("*.losses.npy")} == {*files_of(mine).values()}
    assert {round: file.read_bytes() for round, file in files_of(mine).items()} == {1: whole[1], 2: whole[2]}


def test_a_memory_that_asks_for_no_loss_keeps_none(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", "fast")
    assert not any(file.exists() for file in files_of(folder).values())
    examine(folder)
    images = examination.read(folder.path).images
    assert (images.history, images.history_rounds) == (None, None)


def test_a_run_from_before_losses_were_kept_is_examined_without(mine: RunFolder) -> None:
    for file in files_of(mine).values():
        file.unlink()
    examine(mine)
    images = examination.read(mine.path).images
    assert images.losses is not None
    assert images.history is None


DAMAGE = {
    "empty": b"",
    "text": b"losses",
    "of another type": np.zeros(3),
    "a matrix": np.zeros((3, 3), np.float32),
    "less than nothing": -np.ones(3, np.float32),
    "no number": np.full(3, np.nan, np.float32),
    "more than there are images": np.zeros(2**16, np.float32),
    "objects": np.array([{}], object),
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=[*DAMAGE])
def test_a_damaged_file_is_named_with_what_to_do(mine: RunFolder, content: bytes | np.ndarray) -> None:
    file = files_of(mine)[2]
    file.write_bytes(content) if isinstance(content, bytes) else np.save(file, content, allow_pickle=True)
    with pytest.raises(DamagedFile, match=r"02\.losses\.npy is damaged .*; remove it, and only the losses of"):
        examine(mine)
    file.unlink()
    examine(mine)
    assert examination.read(mine.path).images.history_rounds.tolist() == [1, 3, 4]


def test_a_header_that_promises_more_than_there_is_takes_no_memory(mine: RunFolder) -> None:
    file = files_of(mine)[1]
    header = file.read_bytes()[:128]
    before = header[header.index(b"(") : header.index(b")") + 1]
    file.write_bytes(header.replace(before, b"(%d,)" % 10**12).ljust(128)[:128])
    with pytest.raises(DamagedFile, match="is damaged"):
        examine(mine)


def test_losses_beyond_all_bounds_are_still_kept(tmp_path: Path) -> None:
    loss_history.write(tmp_path / "a.npy", torch.tensor([0.0, torch.finfo(torch.float32).max]))
    assert loss_history._losses(tmp_path / "a.npy", 2).tolist() == pytest.approx([0.0, loss_history.LARGEST])
