"""Finding the network of a bare state dict: wrappers, the spelling of other code, and what must not be taken."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.teachers import checkpoints, identify
from dfkd_lab.teachers.spellings import RIVALS

pytestmark = pytest.mark.slow

Weights = dict[str, Tensor]


def weights_of(name: str, channels: int = 3, classes: int = 10) -> Weights:
    """Distinct random tensors, also in the running statistics."""
    torch.manual_seed(1)
    net = nets.classifier(name, channels, classes)
    return {
        key: torch.rand_like(value) + 0.5 if value.is_floating_point() else value + 7
        for key, value in net.state_dict().items()
    }


def respelt(weights: Weights, *changes: tuple[str, str]) -> Weights:
    renamed = {}
    for name, value in weights.items():
        for old, new in changes:
            name = re.sub(old, new, name)
        renamed[name] = value
    assert len(renamed) == len(weights)
    return renamed


def same(weights: Weights, found: identify.Match | None) -> bool:
    """Whether every tensor went to its own name; counters may be left out."""
    assert found is not None
    wanted = {name: value for name, value in weights.items() if "num_batches" not in name}
    got = {name: value for name, value in found.weights.items() if "num_batches" not in name}
    return got.keys() == wanted.keys() and all(torch.equal(got[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(("channels", "classes"), [(3, 10), (1, 100)])
def test_every_network_is_found_by_its_own_tensors(channels: int, classes: int) -> None:
    for name in nets.CLASSIFIERS:
        with torch.device("meta"):
            weights = nets.classifier(name, channels, classes).state_dict()
        found = identify.find(weights)
        assert found is not None
        first = next((one for one, other in RIVALS.items() if other == name), name)  # by shapes; the names decide later
        assert (found.net, found.channels, found.classes, found.how) == (first, channels, classes, "")


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "encoder.", "_orig_mod.", "module._orig_mod.model."])
def test_prefixes_of_wrapping_modules_are_mended(prefix: str) -> None:
    weights = weights_of("resnet8")
    found = identify.find({prefix + name: value for name, value in weights.items()})
    assert same(weights, found)
    assert found is not None
    assert (found.net, found.how) == ("resnet8", "names without wrappers")


def test_an_encoder_beside_its_head_is_mended_too() -> None:
    weights = weights_of("resnet8")
    beside = {name if name.startswith("fc") else f"encoder.{name}": value for name, value in weights.items()}
    assert same(weights, identify.find(beside))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "net", "ema", "model_ema", "ema_state_dict"])
def test_the_entry_of_a_training_script_is_found(wrapper: str, tmp_path: Path) -> None:
    weights, path = weights_of("convnet_8", 1), tmp_path / "checkpoint.pt"
    torch.save({"epoch": 200, wrapper: {"state_dict": weights}, "acc": 91.5}, path)
    read = checkpoints.read(path)
    assert read.found_in == f"{wrapper}.state_dict"
    assert same(weights, identify.find(read.weights))


def test_averaged_weights_go_before_the_others(tmp_path: Path) -> None:
    averaged, path = weights_of("convnet_8", 1), tmp_path / "checkpoint.pt"
    raw = {name: value * 2 for name, value in averaged.items()}
    counted = {"n_averaged": torch.tensor(9), **{f"module.{name}": value for name, value in averaged.items()}}
    torch.save({"state_dict": raw, "ema_state_dict": counted}, path)
    assert same(averaged, identify.find(checkpoints.read(path).weights))


DIALECTS = {
    "resnet20": [(r"^fc\.", "linear.")],
    "resnet20_b": [(r"\.downsample\.", ".shortcut."), (r"^fc\.", "linear.")],
    "resnet18": [(r"\.downsample\.", ".shortcut."), (r"^fc\.", "classifier.")],
    "resnet56_b": [(r"^conv1\.", "init.0."), (r"^bn1\.", "init.1."), (r"layer(\d)", r"stage\1"), (r"^fc", "head")],
    "wrn16_2": [(r"layer(\d)", r"block\1.layer"), ("shortcut", "convShortcut")],
    "vgg11": [(r"stages\.\d", "features"), (r"^fc", "classifier")],
    "lenet5": [(r"stages\.(\d)\.0", r"conv\1"), (r"^fc\.", "fc2."), (r"^f6\.", "fc1.")],
    "shufflenet_v2": [(r"^stem\.", "conv1."), (r"^fc", "classifier.1")],
}
"""How other code spells the names."""


@pytest.mark.parametrize("name", DIALECTS)
def test_the_names_of_other_code_are_matched_by_structure(name: str) -> None:
    weights = weights_of(name)
    if name == "vgg11":  # numbered throughout
        places = {key.rpartition(".")[0]: str(place) for place, key in enumerate(weights) if key.startswith("stages")}
        theirs = {}
        for key, value in weights.items():
            path, _, kind = key.rpartition(".")
            theirs[f"features.{places[path]}.{kind}" if path in places else f"classifier.{kind}"] = value
    else:
        theirs = respelt(weights, *DIALECTS[name])
    found = identify.find(theirs)
    assert same(weights, found)
    assert found is not None
    assert found.net == name
    assert found.how in ("names respelt", "layers matched in order")


@pytest.mark.parametrize(
    ("ours", "theirs"), [("mobilenet_v2", "mobilenet_v2"), ("shufflenet_v2", "shufflenet_v2_x1_0")]
)
def test_a_network_trained_in_torchvisions_own_class_is_found(ours: str, theirs: str) -> None:
    weights = weights_of(f"torchvision:{theirs}")
    found = identify.find(weights)
    assert found is not None
    assert found.net == ours
    pairs = zip(found.weights.values(), (value for name, value in weights.items() if "num_b" not in name), strict=True)
    assert all(torch.equal(mine, other) for mine, other in pairs)


def test_safetensors_that_lost_the_order_are_matched_by_name(tmp_path: Path) -> None:
    weights, path = weights_of("resnet20_b"), tmp_path / "sorted.safetensors"
    save_file(respelt(weights, (r"\.downsample\.", ".shortcut."), (r"^fc\.", "linear.")), path)
    read = checkpoints.read(path).weights
    assert list(read) != list(weights)
    assert same(weights, identify.find(read))


def test_files_from_before_batch_norm_counted_are_loaded() -> None:
    weights = {name: value for name, value in weights_of("resnet8").items() if "num_batches" not in name}
    found = identify.find(weights)
    assert found is not None
    assert found.how == ""
    net: Any = nets.classifier("resnet8", 3, 10)
    identify.load(net, found.weights, "FILE")
    assert torch.equal(net.layer3[0].bn2.running_var, weights["layer3.0.bn2.running_var"])


class PreActivationNet(nn.Module):
    """A pre-activation ResNet-8 with option A: the shapes of ResNet-8, one by one and in order, in other blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, bias=False)
        for stage, (inputs, outputs) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            block = nn.Module()
            block.bn1, block.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, bias=False)
            block.bn2, block.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, bias=False)
            setattr(self, f"layer{stage}", nn.Sequential(block))
        self.bn = nn.BatchNorm2d(64)
        self.fc = nn.Linear(64, 10)


def test_equal_shapes_in_other_blocks_are_not_taken_for_the_same_network() -> None:
    weights, plain = PreActivationNet().state_dict(), nets.classifier("resnet8", 3, 10).state_dict()
    shapes: Callable[[Any], list[Any]] = lambda state: [v.shape for k, v in state.items() if "num_b" not in k]  # noqa: E731
    assert shapes(weights) == shapes(plain)
    assert identify.find(weights) is None
    assert "its layers" in identify.refusal("resnet8", weights) or "missing" in identify.refusal("resnet8", weights)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("resnet20", {"layer3.2.bn2.bias": None}, "does not fit the network 'resnet20': missing layer3.2.bn2.bias; "),
        ("resnet20", {"gate.weight": torch.zeros(3)}, "does not fit the network 'resnet20': unexpected gate.weight; "),
        ("resnet20", {"conv1.weight": torch.zeros(16, 3, 5, 5)}, "conv1.weight is (16, 3, 5, 5), not (16, 3, 3, 3); "),
        ("resnet56", {}, "missing layer1.3.conv1.weight and "),
        ("wrn16_1", {}, "the nearest known network is 'resnet20' (39 of 39 layers agree)"),
        ("", {"gate.weight": torch.zeros(3)}, "fits no known network; the nearest known network is 'resnet20'"),
    ],
)
def test_what_does_not_fit_is_named_with_the_nearest_network(name: str, change: Any, sentence: str) -> None:
    weights = {key: value for key, value in {**weights_of("resnet20"), **change}.items() if value is not None}
    assert identify.find(weights, [name] if name else nets.CLASSIFIERS) is None
    said = identify.refusal(name, weights)
    assert sentence in said
    assert "'resnet20' (" in said
    assert "\n" not in said


def test_tensors_without_any_convolution_are_no_network() -> None:
    weights = {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}
    assert identify.find(weights) is None
    assert identify.refusal("resnet8", weights) == "has no convolution, so it does not fit the network 'resnet8'"
    assert "it has no convolution" in identify.refusal("", weights)
