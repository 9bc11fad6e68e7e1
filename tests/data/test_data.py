"""Real data: each format from small files written here, what is refused, and the real sets where they are at hand."""

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import socket
import urllib.error
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits
from torch import Tensor

from dfkd_lab import data, nets, runs, teachers
from dfkd_lab.data import published, registry
from dfkd_lab.data.digits import HELD_OUT, read_originals
from dfkd_lab.engine import metrics
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs import seal, session
from dfkd_lab.runs.planning import ResolvedRun, settled
from dfkd_lab.runs.seal import SealBroken
from dfkd_lab.teachers.teacher_spec import TeacherSpec

SIZES = {"train": 6, "test": 4}
CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion_mnist": "FashionMNIST",
           "svhn": "SVHN"}  # fmt: skip
Written = dict[str, tuple[np.ndarray, np.ndarray]]


def test_the_digits_are_those_of_scikit_learn() -> None:
    theirs, found = load_digits(), [read_originals(train) for train in (True, False)]
    images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).roll(-HELD_OUT)
    assert torch.equal(images, torch.from_numpy(theirs.images).float()[order])
    assert torch.equal(labels, torch.from_numpy(theirs.target).long()[order])


def contents(name: str) -> Written:
    """Images [N, C, H, W] and labels [N] of two splits, other ones for each set; the first image is a 0."""
    draw = np.random.default_rng(len(name))
    shape = (1, 28, 28) if "mnist" in name else (3, 32, 32)
    return {
        split: (
            draw.integers(0, 256, (n, *shape), np.uint8),
            np.append(0, 1 + draw.permutation(9)).astype(np.uint8)[:n],
        )
        for split, n in SIZES.items()
    }


def keep(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.md5(content).hexdigest()


def write_cifar(name: str, root: Path, written: Written, patch: pytest.MonkeyPatch) -> None:
    source = getattr(torchvision.datasets, CLASSES[name])
    key = "labels" if name == "cifar10" else "fine_labels"
    for split, (images, labels) in written.items():
        parts = 2 if (name, split) == ("cifar10", "train") else 1
        rows = []
        for part in range(parts):
            some = slice(part, None, parts)
            batch = {"data": images[some].reshape(-1, 3072), key: labels[some].tolist()}
            rows.append([file := f"{split}_{part}", keep(root / source.base_folder / file, pickle.dumps(batch, 4))])
        patch.setattr(source, f"{split}_list", rows)
    meta = keep(root / source.base_folder / source.meta["filename"], pickle.dumps({source.meta["key"]: list("ab")}))
    patch.setattr(source, "meta", {**source.meta, "md5": meta})


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_mnist(name: str, root: Path, written: Written, patch: pytest.MonkeyPatch) -> None:
    source, rows = getattr(torchvision.datasets, CLASSES[name]), []
    for prefix, (images, labels) in zip(("train", "t10k"), written.values(), strict=True):
        for file, array in (("images-idx3", images[:, 0]), ("labels-idx1", labels)):
            path = root / source.__name__ / "raw" / f"{prefix}-{file}-ubyte.gz"
            rows.append((path.name, keep(path, gzip.compress(idx(array)))))
    patch.setattr(source, "resources", rows)


def write_svhn(name: str, root: Path, written: Written, patch: pytest.MonkeyPatch) -> None:
    rows = {}
    for split, (images, labels) in written.items():
        path = root / f"{split}_32x32.mat"
        packed = io.BytesIO()
        savemat(packed, {"X": images.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
        rows[split] = ["", path.name, keep(path, packed.getvalue())]
    patch.setattr(torchvision.datasets.SVHN, "split_list", rows)


WRITERS = {"cifar10": write_cifar, "cifar100": write_cifar, "mnist": write_mnist, "fashion_mnist": write_mnist,
           "svhn": write_svhn}  # fmt: skip
every_set = pytest.mark.parametrize("name", CLASSES)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty $DFKD_DATA, an empty cache, and a network that is not there."""

    def no_network(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def write(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Written]:
    """``write(name)``: small files of that set in $DFKD_DATA (or ``below``), whose MD5s are the published ones now."""

    def write(name: str, below: Path = root) -> Written:
        WRITERS[name](name, below, written := contents(name), monkeypatch)
        return written

    return write


Write = Callable[..., Written]


def same(split: data.Split | None, images: np.ndarray, labels: np.ndarray) -> bool:
    assert split is not None
    assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
    order = sorted(range(len(labels)), key=lambda place: split.labels.tolist().index(labels[place]))
    return np.array_equal(split.images.numpy(), images[order]) and np.array_equal(split.labels.numpy(), labels[order])


@every_set
def test_each_format_is_read_as_it_was_written(write: Write, name: str) -> None:
    written = write(name)
    assert same(data.training_set(name), *written["train"])
    assert same(data.evaluation_set(name), *written["test"])
    assert not same(data.evaluation_set(name), written["test"][0][:, :, ::-1], written["test"][1])


@every_set
def test_the_cache_is_looked_at_after_the_environment(write: Write, name: str, tmp_path: Path, root: Path) -> None:
    written = write(name, tmp_path / "cache/datasets")
    assert same(data.evaluation_set(name), *written["test"])
    for file in (tmp_path / "cache/datasets").rglob("*"):
        if file.is_file():
            other = root / file.relative_to(tmp_path / "cache/datasets")
            other.parent.mkdir(parents=True, exist_ok=True)
            other.write_bytes(b"other")
    with pytest.raises(SpecError, match=str(root)):
        data.evaluation_set(name)


def test_only_the_files_of_the_split_are_needed(write: Write, root: Path) -> None:
    written = write("cifar10")
    for file in root.rglob("train_*"):
        file.unlink()
    assert same(data.evaluation_set("cifar10"), *written["test"])


@every_set
def test_another_file_than_the_published_is_refused_before_it_is_decoded(
    write: Write, name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(name)
    changed = root / published.files_of(CLASSES[name], train=False)[0][0]
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("decoded"))
    changed.write_bytes(changed.read_bytes()[:-1])
    with pytest.raises(SpecError, match=f"{changed} is damaged or not the published file") as error:
        data.evaluation_set(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_files_that_are_unpacked_already_are_taken_as_torchvision_takes_them(
    write: Write, name: str, root: Path
) -> None:
    written = write(name)
    for packed in root.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    assert same(data.evaluation_set(name), *written["test"])
    assert same(data.training_set(name), *written["train"])


def test_a_new_data_set_is_one_row(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written = write("mnist")
    (tmp_path / "data/MNIST").rename(tmp_path / "data/KMNIST")
    monkeypatch.setattr(torchvision.datasets.KMNIST, "resources", torchvision.datasets.MNIST.resources)
    row = dataclasses.replace(registry.ROWS["mnist"], source="KMNIST", read=partial(published.read, "kmnist", "KMNIST"),
                              normalization=((0.19,), (0.35,)))  # fmt: skip
    monkeypatch.setitem(registry.ROWS, "kmnist", row)
    assert same(data.evaluation_set("kmnist"), *written["test"])
    assert "kmnist" in data.TRAINING_SETS
    weights = tmp_path / "net.pth"
    torch.save(nets.classifier("convnet_8", 1, 10).state_dict(), weights)
    resolved = runs.plan(method="kd", data="kmnist", teacher=str(weights))
    assert (resolved.teacher.card.mean, resolved.teacher.card.shape) == ((0.19,), (1, 28, 28))
    assert resolved.preset == "small_gray"
    assert TeacherSpec("convnet_8", "kmnist").path.name.startswith("kmnist-convnet_8")


@every_set
def test_a_set_that_is_nowhere_says_where_it_was_looked_for(name: str, root: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        data.evaluation_set(name)
    said = str(error.value)
    first = published.files_of(CLASSES[name], train=False)[0][0]
    assert f"data = '{name}': no {first} in {root} and {tmp_path / 'cache/datasets'}" in said
    assert "no network" in said
    assert "set DFKD_DATA" in said
    assert socket.getdefaulttimeout() is None
    assert "\n" not in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith("tmp")]


@every_set
def test_torchvision_downloads_into_the_cache_once(
    write: Write, name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, downloads = getattr(torchvision.datasets, CLASSES[name]), []

    def download(self: Any) -> None:
        downloads.append(Path(self.root))
        write(name, Path(self.root))
        for packed in Path(self.root).rglob("*.gz"):
            packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))

    monkeypatch.setattr(source, "download", download)
    written = contents(name)
    write(name, tmp_path / "elsewhere")
    assert same(data.evaluation_set(name), *written["test"])
    assert same(data.evaluation_set(name), *written["test"])
    assert len(downloads) == 1
    assert not downloads[0].exists()
    assert not list(root.rglob("*"))
    assert (tmp_path / "cache/datasets" / published.files_of(CLASSES[name], train=False)[0][0]).is_file()


# names


def test_every_set_can_be_planned_and_all_but_none_can_be_learned_from(tmp_path: Path) -> None:
    classified = {"digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "svhn"}
    assert {name: data.task(name) for name in data.EVALUATION_SETS} == {
        **dict.fromkeys(classified, "classification"),
        **dict.fromkeys(("scenes", "camvid"), "segmentation"),
        "none": "",
    }
    assert set(data.EVALUATION_SETS) - set(data.TRAINING_SETS) == {"none"}
    for name in classified:
        row = data.TRAINING_SETS[name]
        net = nets.classifier("convnet_8", row.shape[0], row.classes)
        teacher = teachers.adopt(f"of_{name}", net, row.shape, row.classes, name, tmp_path)
        assert settled({"method": "kd", "data": name, "teacher": teacher}).data == name
    with pytest.raises(SpecError, match="data: 'cifar-10' is not a data set; did you mean 'cifar10'"):
        runs.plan(data="cifar-10")
    with pytest.raises(SpecError, match="did you mean 'cifar10'"):
        data.training_set("cifar-10")
    assert data.evaluation_set("none") is None


# folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of gray gradients: wide ones under "a", high ones under "b"."""
    draw = np.random.default_rng(0)
    for split, n in (("train", 3), ("val", 2)):
        for name, size in (("a", (20, 40)), ("b", (40, 20))):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for place in range(n):
                pixels = draw.integers(0, 256, (*size, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{place}.png")
    return tmp_path / "images"


def test_a_folder_is_resized_and_cropped_at_the_center_to_the_teachers_shape(folder: Path) -> None:
    split = data.evaluation_set(f"folder:{folder}", (3, 20, 20))
    assert split is not None
    assert (split.images.shape, split.images.dtype) == ((4, 3, 20, 20), torch.uint8)
    assert split.labels.tolist() == [0, 0, 1, 1]
    pixels = np.asarray(Image.open(folder / "val/a/1.png"))
    assert np.array_equal(split.images[1].permute(1, 2, 0), pixels[:, 10:30])
    assert data.training_set(f"folder:{folder}", (1, 8, 10)).images.shape == (6, 1, 8, 10)
    half = data.evaluation_set(f"folder:{folder}", (3, 10, 10))
    assert half is not None
    blocks = split.images.float().unflatten(2, (10, 2)).unflatten(4, (10, 2)).mean((3, 5))
    assert (half.images.float() - blocks).abs().mean() < 20  # a triangle of twice the width, not a box


def test_a_test_folder_serves_where_there_is_no_val(folder: Path) -> None:
    before = data.evaluation_set(f"folder:{folder}", (3, 8, 8))
    (folder / "val").rename(folder / "test")
    after = data.evaluation_set(f"folder:{folder}", (3, 8, 8))
    assert before is not None
    assert after is not None
    assert torch.equal(before.images, after.images)


def refused(name: str, shape: tuple[int, int, int] | None = (3, 8, 8)) -> str:
    with pytest.raises(SpecError) as error:
        data.evaluation_set(name, shape)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_that_cannot_be_is_refused_in_words(folder: Path) -> None:
    name = f"folder:{folder}"
    assert "not to None" in refused(name, None)
    assert "[1 or 3, H, W]" in refused(name, (4, 8, 8))
    (folder / "val/a/0.png").write_bytes((folder / "val/a/1.png").read_bytes()[:300])
    assert f"{folder}/val/a/0.png is not a readable image" in refused(name)
    (folder / "val/a/0.png").write_bytes(b"no image")
    assert f"{folder}/val/a/0.png is not a readable image" in refused(name)
    for file in (folder / "val/a").iterdir():
        file.unlink()
    assert f"class 'a' has no images in {folder}/val/a;" in refused(name)


def test_a_folder_is_looked_at_when_a_run_is_planned(folder: Path, tmp_path: Path) -> None:
    assert runs.plan(method="kd", data=f"folder:{folder}").data == f"folder:{folder}"
    with pytest.raises(SpecError, match=r"there is no val/ or test/ in .*absent"):
        runs.plan(data=f"folder:{tmp_path}/absent")
    (folder / "val/b").rename(folder / "val/c")
    with pytest.raises(SpecError, match=r"only one of .*val and .*train has the class 'b'"):
        runs.plan(data=f"folder:{folder}")
    (tmp_path / "empty/val").mkdir(parents=True)
    with pytest.raises(SpecError, match=r"empty/val holds no folders"):
        runs.plan(data=f"folder:{tmp_path}/empty")
    (folder / "train").rename(folder / "untrained")
    with pytest.raises(SpecError, match=r"there is no train/"):
        data.training_set(f"folder:{folder}", (3, 8, 8))


# uint8 all the way to the batch


class BrightestChannel(torch.nn.Module):
    """Predicts the channel with the largest sum, and fails on images that are not in [0, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.float32
        assert images.max() <= 1
        return images.sum((2, 3))


def test_uint8_and_float_images_measure_and_hash_alike_in_batches() -> None:
    torch.manual_seed(0)  # without two channels that are as bright
    images = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8)
    labels = images.sum((2, 3)).argmax(1)
    labels[:10] = (labels[:10] + 1) % 3
    model = Frozen(BrightestChannel(), (0.0,), (1.0,))
    assert metrics.Accuracy(images, labels, 16)(model) == pytest.approx(0.8)
    assert metrics.Accuracy(images.float() / 255, labels, 16)(model) == pytest.approx(0.8)
    assert torch.equal(to_float(images), images.float() / 255)
    assert to_float(images.double()) is not None
    digest = data.Split(images, labels).hashes()
    assert digest["images_sha256"] == hashlib.sha256(images.numpy().tobytes()).hexdigest()
    assert digest["labels_sha256"] == hashlib.sha256(labels.numpy().tobytes()).hexdigest()


@pytest.fixture
def color_teacher(tmp_path: Path) -> Path:
    """An untrained teacher of CIFAR's shape and 10 classes."""
    torch.manual_seed(0)
    path = tmp_path / "color.safetensors"
    card = teachers.Card("convnet_8", 10, (3, 32, 32), (0.5,), (0.25,))
    teachers.save(Classifier(nets.classifier("convnet_8", 3, 10), card.mean, card.std), card, path)
    return path


@pytest.fixture
def color_run(color_teacher: Path, tmp_path: Path, tiny: Callable[[str], dict[str, Any]]) -> Callable[..., ResolvedRun]:
    """``color_run(method, data)``: the plan of two tiny rounds with that teacher."""

    def make(method: str, name: str) -> ResolvedRun:
        settings = {**tiny(method), "s_steps": 2}
        where = {"teacher": str(color_teacher), "out": str(tmp_path / method), "device": "cpu"}
        return runs.plan(method=method, data=name, rounds=2, settings=settings, **where)

    return make


@pytest.mark.parametrize("method", ["kd", "alone"])
def test_a_reference_learns_from_a_set_and_the_record_names_it(
    write: Write, color_run: Callable[..., ResolvedRun], method: str, root: Path
) -> None:
    written = {split: (np.tile(x, (5, 1, 1, 1)), np.arange(5 * len(x)) % 10) for split, (x, _) in contents("").items()}
    with pytest.MonkeyPatch.context() as patch:
        WRITERS["cifar10"]("cifar10", root, written, patch)
        reports = list(session.Session(spec := color_run(method, "cifar10")))
    assert all(0 <= report.accuracy <= 1 for report in reports if report.accuracy is not None)
    folder = runs.RunFolder(spec.out)
    evaluation = folder.manifest()["evaluation"]
    assert (evaluation["name"], evaluation["n"]) == ("cifar10", 20)
    assert evaluation["images_sha256"] == hashlib.sha256(written["test"][0].tobytes()).hexdigest()
    order = np.concatenate([np.arange(30)[0::2], np.arange(30)[1::2]])
    digest = hashlib.sha256(written["train"][0][order].tobytes()).hexdigest()
    assert folder.seal()["real_images"] == {"name": "cifar10", "n": 30, "images_sha256": digest}


def test_a_run_on_a_folder_fits_it_to_the_teacher(folder: Path, color_run: Callable[..., ResolvedRun]) -> None:
    for split in ("train", "val"):
        for name in "cdefghij":
            (folder / split / name).mkdir()
            Image.new("RGB", (50, 40), "red").save(folder / split / name / "0.png")
    spec = color_run("kd", f"folder:{folder}")
    assert [report.round for report in session.Session(spec)] == [1, 2]
    assert runs.RunFolder(spec.out).manifest()["evaluation"]["n"] == 12
    assert runs.RunFolder(spec.out).seal()["real_images"]["n"] == 14


def test_another_shape_than_the_teachers_is_refused(write: Write, color_run: Callable[..., ResolvedRun]) -> None:
    write("mnist")
    with pytest.raises(SpecError, match=r"data = 'mnist' has images \[1, 28, 28\] .*; allowed: cifar10, svhn"):
        color_run("kd", "mnist")


# the seal


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_sealed_process_cannot_read_a_set_wherever_it_is(
    write: Write, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(name, tmp_path / "cache/datasets")
    data.evaluation_set(name)
    with pytest.raises(SealBroken, match="belongs to a data set"), seal.Seal():
        data.evaluation_set(name)


def test_a_sealed_process_cannot_read_a_folder_or_the_downloads(folder: Path, root: Path, tmp_path: Path) -> None:
    data.evaluation_set(f"folder:{folder}", (3, 8, 8))
    with pytest.raises(SealBroken, match="belongs to a data set"), seal.Seal():
        data.evaluation_set(f"folder:{folder}", (3, 8, 8))
    other = tmp_path / "cache/datasets/renamed.bin"
    keep(other, b"")
    with pytest.raises(SealBroken, match="belongs to a data set"), seal.Seal():
        other.read_bytes()
    (tmp_path / "bitmap.ppm").write_bytes(b"")
    with pytest.raises(SealBroken, match="belongs to a data set"), seal.Seal():
        (tmp_path / "bitmap.ppm").read_bytes()


# the real ones


@pytest.fixture
def real() -> None:
    if not os.environ.get("DFKD_DATA"):
        pytest.skip("needs $DFKD_DATA")


@pytest.mark.data
@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("name", CLASSES)
def test_the_real_set_is_what_was_published(name: str) -> None:
    if not all(published.is_here(CLASSES[name], train) for train in (True, False)):
        pytest.skip(f"$DFKD_DATA has no {name}")
    sizes = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000), "svhn": (73_257, 26_032)}
    training, held_out = data.training_set(name), data.evaluation_set(name)
    assert held_out is not None
    assert (len(training.labels), len(held_out.labels)) == sizes.get(name, (60_000, 10_000))
    assert len(training.images) == len(training.labels)
    assert len(training.labels.unique()) == len(held_out.labels.unique()) == (100 if name == "cifar100" else 10)
    if name in teachers.NORMALIZATIONS:
        mean = torch.tensor(teachers.NORMALIZATIONS[name][0])
        assert torch.allclose(to_float(training.images).mean((0, 2, 3)), mean, atol=2e-4)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_kd_learns_from_the_real_cifar10(color_run: Callable[..., ResolvedRun]) -> None:
    if not any((root / "cifar-10-batches-py/data_batch_1").is_file() for root in published.roots()):
        pytest.skip("$DFKD_DATA has no cifar10")
    reports = list(session.Session(spec := color_run("kd", "cifar10")))
    assert [report.round for report in reports] == [1, 2]
    assert runs.RunFolder(spec.out).manifest()["evaluation"]["n"] == 10_000
    assert runs.RunFolder(spec.out).seal()["real_images"]["n"] == 50_000
    assert not runs.RunFolder(spec.out).seal()["data_free"]
