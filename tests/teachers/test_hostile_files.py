"""Files that are no teachers, or not what they say: each is loaded or refused in one sentence, whatever it asks for."""

import argparse
import collections
import datetime
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dfkd_lab import data, nets, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.errors import SpecError
from dfkd_lab.teachers import checkpoints, identify, pickle_reader

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Of a small network, each tensor distinct."""
    torch.manual_seed(3)
    state = nets.classifier("convnet_8", 1, 10).state_dict()
    return {name: torch.rand_like(value) if value.is_floating_point() else value for name, value in state.items()}


def saved(content: Any, path: Path, **how: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, **how)
    return path


def refusal(name: Path | str) -> str:
    with pytest.raises(SpecError) as error:
        teachers.load(str(name), "digits")
    said = str(error.value)
    assert said.isprintable(), "one line, and nothing that a terminal obeys"
    assert Path(str(name).rpartition("@")[2]).name in said
    return said


def is_loaded(path: Path, weights: Weights, net: str = "convnet_8") -> bool:
    state = teachers.load(f"{net}@{path}", "digits").model.net.state_dict()
    return all(value.equal(weights[name]) for name, value in state.items())


def itself() -> dict[str, Any]:
    holder: dict[str, Any] = {}
    holder["state_dict"] = holder
    return holder


def nested(times: int) -> Any:
    value: Any = {}
    for _ in range(times):
        value = {"model": value}
    return value


class Written:
    """Is pickled as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def zipped(path: Path, entries: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def safetensors(path: Path, header: Any, values: bytes = b"", claimed: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if claimed is None else claimed) + text + values)
    return path


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"), io.BytesIO())


def arrays(path: Path, write: Callable[..., None]) -> None:
    with path.open("wb") as file:
        write(file, np.zeros(3))


def traced(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Conv2d(1, 2, 3).eval(), torch.rand(1, 1, 8, 8)).save(str(path))


OTHER_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: path.write_bytes(b""), "is empty"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "no checkpoint"),
    "text": (lambda path: path.write_text("weights, some day"), "no checkpoint"),
    "a page": (lambda path: path.write_text("<!DOCTYPE html><html>quota exceeded"), "failed download"),
    "a pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x" * 99)), "gzip"),
    "tar": (tarred, "tar archive"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "ONNX": (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(99)), "ONNX"),
    "npy": (lambda path: arrays(path, np.save), "NumPy"),
    "npz": (lambda path: arrays(path, np.savez), "NumPy"),
    "TorchScript": (traced, "torch.jit.load(FILE).state_dict()"),
    "zip of files": (lambda path: zipped(path, {"model.pth": b"x"}), "zip archive of other files"),
    "zip without an end": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), "truncated"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": [1.0]})), "no checkpoint of torch.save"),
    "pickle cut": (lambda path: path.write_bytes(b"\x80\x02}q\x00X\xff\xff\xff\x7fab"), "at once"),
    "zip bomb": (
        lambda path: zipped(path, {"a/data.pkl": b".", "a/data/0": bytes(1 << 22)}, zipfile.ZIP_DEFLATED),
        "is packed",
    ),
    "a key that nobody lives to hash": (  # a tuple of twice a tuple of twice ...
        lambda path: zipped(path, {"a/data.pkl": b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s."}),
        "holds no state dict",
    ),
    "header of a terabyte": (lambda path: safetensors(path, {}, claimed=1 << 40), "safetensors header"),
    "header too short": (lambda path: safetensors(path, b'{"a":'), "not a readable checkpoint"),
    "offsets beyond the file": (
        lambda path: safetensors(path, {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
        "not a readable checkpoint",
    ),
    "shape beyond the offsets": (
        lambda path: safetensors(path, {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, bytes(4)),
        "not a readable checkpoint",
    ),
    "too many tensors": (
        lambda path: safetensors(
            path, {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(7000)}
        ),
        "7000 tensors; allowed: up to 6000",
    ),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", OTHER_FILES)
def test_a_file_is_refused_by_what_it_is_not_by_its_suffix(kind: str, suffix: str, tmp_path: Path) -> None:
    path, (write, sentence) = tmp_path / f"file{suffix}", OTHER_FILES[kind]
    write(path)
    assert sentence in refusal(path)


CONTENTS: dict[str, tuple[Callable[[], Any], str]] = {
    "itself": (itself, "holds no state dict"),
    "200 deep": (lambda: nested(200), "holds no state dict"),
    "numbers": (lambda: {"epoch": 3, "loss": torch.zeros(())}, "holds no state dict"),
    "a list": (lambda: [torch.zeros(2, 2)], "holds no state dict"),
    "an object": (lambda: argparse.Namespace(a=1), "more than tensors (argparse.Namespace)"),
    "a call of the system": (lambda: {"model": {}, "x": Written(os.system, "true")}, "it would run posix.system"),
    "an evaluation": (lambda: {"model": {}, "x": Written(eval, "1")}, "it would run __builtin__.eval"),
    "arrays": (lambda: {"conv1.weight": np.zeros((2, 2)), "a": torch.zeros(2, 2)}, "more than tensors ('conv1.weight'"),
    "a sparse tensor": (lambda: {"w": torch.eye(3).to_sparse()}, "'w' is a sparse tensor"),
    "a quantized one": (lambda: {"w": torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8)}, "'w' is a quant"),
    "one without values": (lambda: {"w": torch.empty(1 << 30, 1 << 20, device="meta")}, "'w' is a meta tensor"),
    "a nested one": (lambda: {"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, "'w' is a nested"),
    "of 8 bits": (lambda: {"w": torch.ones(2, 2).to(torch.float8_e4m3fn)}, "'w' has numbers of a kind"),
    "128 GB of one number": (lambda: {"w": torch.zeros(1, 1).expand(1 << 20, 1 << 15)}, "'w' has the shape [1048576,"),
    "overlapping": (lambda: {"w": torch.zeros(9).as_strided((4, 4), (1, 1))}, "'w' has the shape [4, 4]"),
    "a long name": (lambda: {"w" * 5000: torch.zeros(2, 2)}, "a name of 5000 characters"),
    "a name that steers": (lambda: {"w\x1b[2J\n\u202e": torch.zeros(2, 2)}, r"called 'w\x1b[2J\n\u202e'"),
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.filterwarnings("ignore")
def test_contents_that_cannot_be_weights_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    make, sentence = CONTENTS[kind]
    assert sentence in refusal(saved(make(), tmp_path / "file.pth"))


@pytest.mark.parametrize("legacy", [False, True])
def test_more_operations_than_any_training_script_needs_are_refused(
    legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickle_reader, "MOST_OPERATIONS", 1000)
    content = {"history": list(range(2000)), "model": {}}
    path = saved(content, tmp_path / "file.pth", _use_new_zipfile_serialization=not legacy)
    assert "more than 1000 operations" in refusal(path)


@pytest.mark.parametrize("claimed", [3, 1 << 40, -1])
def test_what_a_file_says_of_its_size_is_not_believed(claimed: int, tmp_path: Path) -> None:
    weights = {"fc.weight": torch.rand(10, 32)}
    path = saved(weights, tmp_path / "file.pth", _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    place = content.rindex(struct.pack("<q", weights["fc.weight"].numel()))
    path.write_bytes(content[:place] + struct.pack("<q", claimed) + content[place + 8 :])
    assert ("'fc.weight' has the shape" if claimed == 3 else "truncated") in refusal(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path, weights: Weights) -> None:
    path = saved(weights, tmp_path / "file.pth")
    content = bytearray(path.read_bytes())
    content[content.index(weights["fc.weight"].numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert "truncated (Bad CRC-32" in refusal(path)


UNUSABLE: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "NaN": ("fc.weight", lambda value: value * torch.nan, "values of 'fc.weight' are NaN or infinite"),
    "infinite": ("fc.bias", lambda value: value / 0, "10 of 10 values of 'fc.bias' are NaN or infinite"),
    "too large": ("fc.bias", lambda value: value.double() + 1e300, "values of 'fc.bias' are NaN or infinite"),
    "whole": ("fc.weight", lambda value: value.to(torch.int8), "'fc.weight' holds int8 numbers; allowed: float16"),
    "bool": ("fc.weight", lambda value: value > 0, "'fc.weight' holds bool numbers"),
    "complex": ("fc.weight", lambda value: value.to(torch.complex64), "'fc.weight' holds complex64 numbers"),
    "negative variance": ("{variance}", lambda value: value - 5, "has a variance of -"),
    "empty": ("fc.weight", lambda value: value[:0], "convnet_8"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("said", ["", "convnet_8@"])
def test_numbers_that_no_network_works_with_are_named(kind: str, said: str, tmp_path: Path, weights: Weights) -> None:
    name, change, sentence = UNUSABLE[kind]
    name = next(each for each in weights if each.endswith("running_var")) if "{" in name else name
    path = saved({**weights, name: change(weights[name])}, tmp_path / "file.pth")
    assert sentence in refusal(f"{said}{path}")


BESIDE: dict[str, Any] = {
    "namespace": argparse.Namespace(lr=0.1, path=Path("somewhere")),
    "numpy number": np.float64(71.2),
    "numpy array": np.zeros(3),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "date": datetime.datetime(2024, 1, 1),
    "path": Path("somewhere"),
    "set": {1, 2},
    "bytes": b"abc",
    "range": range(3),
    "type": dict,
    "network": nn.Linear(2, 2),
}


@pytest.mark.parametrize("how", [{}, {"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}], ids=str)
def test_plain_data_beside_the_weights_is_no_obstacle(how: Any, tmp_path: Path, weights: Weights) -> None:
    assert is_loaded(saved({**BESIDE, "state_dict": weights, "epoch": 3}, tmp_path / "file.tar", **how), weights)


def test_a_network_pickled_whole_gives_its_weights_and_runs_nothing(tmp_path: Path, weights: Weights) -> None:
    net = nets.classifier("convnet_8", 1, 10)
    net.load_state_dict(weights)
    assert is_loaded(saved(net, tmp_path / "whole.pth"), weights)
    assert is_loaded(saved({"model": nn.DataParallel(net)}, tmp_path / "parallel.pth"), weights)


def test_what_a_checkpoint_names_is_neither_imported_nor_called(
    tmp_path: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_by_a_checkpoint.py").write_text("raise SystemExit('imported')")
    touched = tmp_path / "touched"
    beside = {"a": Written(Path.touch, touched), "b": Written(collections.OrderedDict)}
    path = saved({**beside, "model": weights}, tmp_path / "file.pth")
    content = zipfile.ZipFile(path).read("file/data.pkl")
    renamed = content.replace(b"ccollections\nOrderedDict\n", b"cimported_by_a_checkpoint\nX\n", 1)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    zipped(path, {**entries, "file/data.pkl": renamed})
    monkeypatch.syspath_prepend(str(tmp_path))
    teachers.load(f"convnet_8@{path}", "digits")
    assert not touched.exists()


def test_entries_are_tried_in_turn_and_named(tmp_path: Path, weights: Weights) -> None:
    other = {"projector.weight": torch.zeros(4, 4)}
    path = saved({"ema": {"shadow": other}, "state_dict": dict(other), "student": weights}, tmp_path / "file.pth")
    teacher = teachers.load(str(path), "digits")
    assert teacher.card.recipe == "convnet_8 found for a bare checkpoint, weights from 'student'"
    path = saved({"ema": {"shadow": other}, "state_dict": dict(other)}, tmp_path / "file.pth")
    assert "file.pth (tried: 'ema.shadow', 'state_dict') fits no known network" in refusal(path)


@pytest.mark.parametrize(
    "spelling", ["module.{}", "_orig_mod.module.{}", "model._orig_mod.{}", "net.backbone.module.{}", "model.model.{}"]
)
def test_wrappers_in_any_nesting_are_taken_off(spelling: str, weights: Weights) -> None:
    found = identify.find({spelling.format(name): value for name, value in weights.items()})
    assert found is not None
    assert found.weights.keys() == {name for name in weights if "num_batches" not in name}


def test_a_wrapper_around_one_stage_is_taken_off(weights: Weights) -> None:
    first = next(iter(weights)).partition(".")[0]
    for wrapper in identify.INNER:
        found = identify.find({re_wrapped(name, first, wrapper): value for name, value in weights.items()})
        assert found is not None
        assert found.net == "convnet_8"


def re_wrapped(name: str, first: str, wrapper: str) -> str:
    return name.replace(f"{first}.", f"{first}.{wrapper}.", 1) if name.startswith(f"{first}.") else name


EXTRAS: dict[str, Weights] = {
    "criterion": {"criterion.pos_weight": torch.tensor(3.2)},
    "metric": {"val_acc.tp": torch.zeros(10), "val_acc.fn": torch.zeros(10)},
    "confusion": {"quality.confmat": torch.zeros(10, 10), "quality.total": torch.tensor(3)},
    "class weights": {"loss.weight": torch.ones(10)},
    "averages": {"n_averaged": torch.tensor(3), "num_updates": torch.tensor(7)},
}


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("kind", EXTRAS)
def test_tensors_of_no_layer_are_dropped_with_a_word(kind: str, prefix: str, tmp_path: Path, weights: Weights) -> None:
    state = {prefix + name: value for name, value in weights.items()} | EXTRAS[kind]
    path = saved({"state_dict": state}, tmp_path / "file.ckpt.pth")
    recipe = teachers.load(str(path), "digits").card.recipe
    assert f"without {' and '.join(EXTRAS[kind])}, of no layer" in recipe
    assert is_loaded(path, weights)


@pytest.mark.parametrize(
    "layer",
    [
        {"gate.weight": torch.ones(3)},
        {"criterion.centers": torch.ones(10, 4)},
        {"scale": torch.tensor(2.0)},
        {"normalize.mean": torch.zeros(1), "normalize.std": torch.ones(1)},
        {"acc.weight": torch.ones(4, 4), "acc.bias": torch.ones(4)},
    ],
    ids=lambda layer: next(iter(layer)),
)
def test_what_could_be_a_layer_is_never_dropped(layer: Weights, tmp_path: Path, weights: Weights) -> None:
    path = saved({**{f"model.{name}": value for name, value in weights.items()}, **layer}, tmp_path / "file.pth")
    assert f"unexpected {next(iter(layer))}" in refusal(f"convnet_8@{path}")


def test_what_is_no_tensor_among_the_weights_is_dropped_with_a_word(tmp_path: Path, weights: Weights) -> None:
    path = saved({**weights, "epoch": 3, "lr": 0.1}, tmp_path / "file.pth")
    assert teachers.load(str(path), "digits").card.recipe.endswith(", without epoch and lr, no tensors")


def carded(path: Path, weights: Weights, **changes: Any) -> Path:
    card = {"net": "convnet_8", "classes": 10, "shape": [1, 16, 16], "mean": [0.3], "std": [0.3], "data": "digits"}
    save_file(weights, path, metadata={"dfkd_lab": json.dumps({**card, "recipe": "", **changes})})
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 10**9},
        {"classes": 10.0},
        {"classes": True},
        {"classes": 99_999},
        {"shape": [1, 10**6, 10**6]},
        {"shape": [1, -16, 16]},
        {"shape": [1, 16]},
        {"shape": [1, 16, [16]]},
        {"mean": [float("nan")]},
        {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]},
        {"mean": []},
        {"std": [0]},
        {"std": ["1"]},
        {"net": "torchvision:resnet50"},
        {"net": "no network"},
        {"net": "convnet_8\x1b[2J"},
        {"net": None},
        {"data": "digits\nall is well"},
        {"data": 3},
        {"recipe": "\u202egnol"},
        {"recipe": "x" * 5000},
        {"surprise": 1},
    ],
    ids=ascii,
)
def test_a_card_that_cannot_be_is_refused_before_it_is_acted_on(
    changes: dict[str, Any], tmp_path: Path, weights: Weights
) -> None:
    said = refusal(carded(tmp_path / "file.safetensors", weights, **changes))
    assert len(said) < 800


def test_a_card_thousands_deep_is_refused(tmp_path: Path, weights: Weights) -> None:
    path = tmp_path / "file.safetensors"
    save_file(weights, path, metadata={"dfkd_lab": "[" * 20_000 + "]" * 20_000})
    refusal(path)


def test_a_safetensors_file_under_another_name_is_read(tmp_path: Path, weights: Weights) -> None:
    path = carded(tmp_path / "file.pth", weights)
    assert teachers.load(str(path)).card.data == "digits"
    other = saved(weights, tmp_path / "file.safetensors")
    assert is_loaded(other, weights)
    assert is_loaded(other.rename(tmp_path / "file.anything"), weights)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe, loop, long = tmp_path / "pipe.pth", tmp_path / "loop.pth", tmp_path / ("x" * 4000 + ".pth")
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path in (pipe, loop, long, tmp_path, Path("/dev/zero")):
        assert "there is no file" in refusal(f"convnet_8@{path}")
        with pytest.raises(SpecError, match=r"no regular file|cannot be read"):
            checkpoints.read(path)


@pytest.mark.parametrize("wish", ["cifar10", "folder:/somewhere", "no set"])
def test_a_card_makes_nothing_be_downloaded_or_read(
    wish: str, tmp_path: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DFKD_DATA", raising=False)
    asked: list[str] = []
    monkeypatch.setattr(data, "evaluation_set", lambda name, *_: asked.append(name))
    assert main(["teachers", str(carded(tmp_path / "file.safetensors", weights, data=wish))]) == 0
    assert asked == ["none"]
    assert f"not measured; the file names {wish}" in capsys.readouterr().out


def test_what_steers_a_terminal_is_escaped_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["teachers", str(tmp_path / "a\x1b[2J\nb.pth")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said
