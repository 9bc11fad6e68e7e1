"""Classifiers by name: their size, their shapes, and that every one can be observed, trained and saved."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import zoo
from dfkd_lab.nets.generators import UpsamplingConv2d
from dfkd_lab.nets.initialization import kaiming
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.layers import head_of, stages_of
from dfkd_lab.primitives.observer import Observer

pytestmark = pytest.mark.slow

PUBLISHED = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "wrn16_1": 175_066,
    "wrn16_2": 691_674,
    "wrn40_1": 563_930,
    "wrn40_2": 2_243_546,
    "vgg11": 9_231_114,
    "vgg16": 14_728_266,
    "vgg11_5pool": 9_231_114,
}
"""Exact counts at 3 channels and 10 classes. He et al. (2016), table 6, rounds the first five to 0.27, 0.46, 0.66, 0.85
and 1.7 million, Zagoruyko and Komodakis (2016), table 1 and figure 4, WRN-40-2 to 2.2, WRN-16-2 to 0.7 and WRN-40-1 to
0.6; those with torchvision's body follow from what torchvision publishes (test below)."""

TORCHVISION_1000 = {
    "resnet18": (11_689_512, 512 * 1000 + 1000, 3 * 64 * (49 - 9)),
    "resnet34": (21_797_672, 512 * 1000 + 1000, 3 * 64 * (49 - 9)),
    "resnet50": (25_557_032, 2048 * 1000 + 1000, 3 * 64 * (49 - 9)),
    "vgg11": (132_868_840, 123_642_856, 0),
    "vgg16": (138_365_992, 123_642_856, 0),
    "mobilenet_v2": (3_504_872, 1280 * 1000 + 1000, 0),
    "shufflenet_v2": (2_278_604, 1024 * 1000 + 1000, 0),
}
"""torchvision's ``num_params`` for ImageNet, and of these the head's and the larger stem's."""

MAPS = {
    "convnet_8": [(8, 32), (16, 16), (32, 8)],
    "lenet5": [(6, 28), (16, 10), (120, 1)],
    "resnet20": [(16, 32), (32, 16), (64, 8)],
    "resnet20_b": [(16, 32), (32, 16), (64, 8)],
    "resnet18": [(64, 32), (128, 16), (256, 8), (512, 4)],
    "resnet50": [(256, 32), (512, 16), (1024, 8), (2048, 4)],
    "wrn40_2": [(32, 32), (64, 16), (128, 8)],
    "vgg11": [(64, 16), (128, 8), (256, 4), (512, 4), (512, 4)],
    "vgg11_5pool": [(64, 16), (128, 8), (256, 4), (512, 2), (512, 1)],
    "resnet18_maxpool": [(64, 16), (128, 8), (256, 4), (512, 2)],
    "mobilenet_v2": [(24, 32), (32, 16), (96, 8), (1280, 4)],
    "shufflenet_v2": [(116, 16), (232, 8), (1024, 4)],
}
"""Channels and side of each stage's map for images of 32x32."""

NORMS = {
    "lenet5": 0,
    "resnet20": 19,
    "resnet20_b": 21,
    "resnet56_b": 57,
    "resnet18": 20,
    "resnet34": 36,
    "resnet50": 53,
    "wrn16_1": 13,
    "wrn40_2": 37,
    "vgg11": 8,
    "vgg16": 13,
    "mobilenet_v2": 52,
    "shufflenet_v2": 56,
}

LARGE = ("resnet110", "resnet110_b", "resnet50", "resnet34_maxpool", "resnet50_maxpool", "vgg16", "vgg16_5pool")
SMALL = [name for name in nets.CLASSIFIERS if name not in LARGE]


def meta(name: str, channels: int = 3, classes: int = 10) -> nn.Module:
    """A network without memory, for its shapes."""
    with torch.device("meta"):
        return nets.classifier(name, channels, classes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name: str) -> None:
    assert nets.parameter_count(meta(name)) == PUBLISHED[name]


@pytest.mark.parametrize("name", TORCHVISION_1000)
def test_parameters_are_those_torchvision_publishes_but_for_stem_and_head(name: str) -> None:
    whole, head, stem = TORCHVISION_1000[name]
    net = meta(name)
    linear = head_of(net)
    assert linear is not None
    assert nets.parameter_count(net) == whole - head - stem + nets.parameter_count(linear)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 9, 18])
def test_a_cifar_resnet_has_the_parameters_of_its_formula(n: int) -> None:
    block = sum(2 * 9 * width**2 + 4 * width for width in (16, 32, 64))
    widened = 9 * (16 * 32 + 32 * 64 - 32**2 - 64**2)  # the first convolution of stages 2 and 3 has half the inputs
    plain = 9 * 3 * 16 + 32 + n * block + widened + 64 * 10 + 10
    assert nets.parameter_count(meta(f"resnet{6 * n + 2}")) == plain
    shortcuts = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert nets.parameter_count(meta(f"resnet{6 * n + 2}_b")) == plain + shortcuts


def test_lenet_has_the_parameters_of_its_formula() -> None:
    layers = [(1 * 25 + 1) * 6, (6 * 25 + 1) * 16, (16 * 25 + 1) * 120, (120 + 1) * 84, (84 + 1) * 10]
    assert nets.parameter_count(meta("lenet5", channels=1)) == sum(layers) == 61_706
    half = [(1 * 25 + 1) * 3, (3 * 25 + 1) * 8, (8 * 25 + 1) * 60, (60 + 1) * 42, (42 + 1) * 10]
    assert nets.parameter_count(meta("lenet5_half", channels=1)) == sum(half) == 15_738


# 3 channels and 10 classes have most of the tests below
@pytest.mark.parametrize(("channels", "classes"), [pytest.param(3, 10, marks=pytest.mark.long), (1, 100)])
@pytest.mark.parametrize("name", nets.CLASSIFIERS)
def test_every_network_builds_for_its_channels_and_classes(name: str, channels: int, classes: int) -> None:
    net = meta(name, channels, classes)
    logits = net(torch.zeros(2, channels, 32, 32, device="meta"))
    assert logits.shape == (2, classes)
    linear = head_of(net)
    assert linear is not None
    assert linear.out_features == classes


@pytest.mark.parametrize("name", [name for name in nets.CLASSIFIERS if not name.endswith("5pool")])
def test_images_of_28_pixels_are_taken_too(name: str) -> None:
    assert meta(name, 1)(torch.zeros(2, 1, 28, 28, device="meta")).shape == (2, 10)


def test_lenet_sees_28_pixels_in_a_frame_of_zeros() -> None:
    net, images = nets.classifier("lenet5", 1, 10), torch.rand(2, 1, 28, 28)
    assert torch.equal(net(images), net(nn.functional.pad(images, [2] * 4)))


@pytest.mark.parametrize("name", MAPS)
def test_stage_maps_have_their_published_sizes(name: str) -> None:
    net, found = meta(name), []
    for stage in stages_of(net):
        stage.register_forward_hook(lambda _stage, _inputs, output: found.append(output.shape))
    net(torch.zeros(2, 3, 32, 32, device="meta"))
    assert [(shape[1], shape[2]) for shape in found] == MAPS[name]


def test_a_vgg_halves_the_maps_of_its_fourth_stage_only_for_images_of_64_pixels() -> None:
    net, found = meta("vgg11"), []
    stages_of(net)[3].register_forward_hook(lambda _stage, _inputs, output: found.append(output.shape[2]))
    for side in (32, 48, 64, 96):
        net(torch.zeros(2, 3, side, side, device="meta"))
    assert found == [4, 6, 4, 12]


DEFAULT = 3**-0.5
"""Of torch's layers: U(-1/sqrt(n), 1/sqrt(n)) for n inputs has this times 1/sqrt(n) as standard deviation."""


@pytest.mark.parametrize("name", ["resnet18", "resnet18_maxpool", "vgg11", "vgg11_5pool", "wrn40_2", "resnet20_b"])
def test_weights_start_as_those_of_the_public_code(name: str) -> None:
    torch.manual_seed(0)
    net = nets.classifier(name, 3, 10)
    by_default = name in ("resnet18", "vgg11_5pool")
    for layer in (each for each in net.modules() if isinstance(each, nn.Conv2d)):
        inputs, outputs = layer.weight[0].numel(), layer.weight[:, 0].numel()
        wanted = DEFAULT / inputs**0.5 if by_default else (2 / outputs) ** 0.5
        assert float(layer.weight.detach().std()) == pytest.approx(wanted, rel=0.15)
        assert by_default or layer.bias is None or not layer.bias.any()
    head = head_of(net)
    assert head is not None
    small = name == "vgg11"
    assert float(head.weight.detach().std()) == pytest.approx(
        0.01 if small else DEFAULT / head.in_features**0.5, rel=0.1
    )
    assert bool(head.bias.any()) is (name not in ("vgg11", "wrn40_2"))
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(bool((layer.weight == 1).all()) for layer in norms), "no residual branch begins at 0"


def test_kaiming_draws_the_filters_of_a_resnet_of_four_stages_and_no_other_network() -> None:
    for name, changes in (("resnet18", True), ("resnet20", False), ("wrn16_1", False), ("lenet5", False)):
        torch.manual_seed(0)
        net = nets.classifier(name, 3, 10)
        before = {key: value.clone() for key, value in net.state_dict().items()}
        kaiming(net)
        changed = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
        filters = {key for key, value in before.items() if value.ndim == 4}
        assert changed == (filters if changes else set())
    torch.manual_seed(0)
    resnet: Any = nets.classifier("resnet34", 3, 10)
    kaiming(resnet)
    assert float(resnet.layer4[2].conv2.weight.detach().std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_layers_are_counted(name: str) -> None:
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in meta(name).modules()) == NORMS[name]


@pytest.mark.parametrize("name", SMALL)
def test_the_observer_sees_every_network_whole_and_nothing_is_overwritten(name: str) -> None:
    teacher = Frozen(nets.classifier(name, 3, 10), (0.5,), (0.5,))
    observer = Observer(teacher, nets.classifier("resnet8", 3, 10))
    kept: list[Tensor] = []
    for stage in stages_of(teacher):
        stage.register_forward_hook(lambda _stage, _inputs, output: kept.append(output.detach().clone()))
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    needs = frozenset({"features", "statistics", "preactivations", "instance_means", "gradients"})
    seen = observer(images, needs=needs, graph=True)
    linear = head_of(teacher)
    assert linear is not None
    assert seen.features is not None
    assert torch.allclose(linear(seen.features), seen.logits)
    assert len(seen.statistics) == len(seen.preactivations) == len(seen.instance_means) == len(observer.batch_norms)
    assert all(torch.equal(now, then) for now, then in zip(seen.maps, kept, strict=True))
    assert [each.shape for each in seen.gradients] == [each.shape for each in seen.maps]
    seen.logits.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("name", SMALL)
def test_one_step_changes_every_weight_and_the_state_survives_a_round_trip(name: str) -> None:
    torch.manual_seed(0)
    net, images, labels = nets.classifier(name, 3, 10), torch.rand(4, 3, 32, 32), torch.arange(4)
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    nn.functional.cross_entropy(net(images), labels).backward()
    optimizer.step()
    resting = [key for key, value in net.named_parameters() if torch.equal(value, before[key]) and value.ndim > 1]
    assert not resting
    again = nets.classifier(name, 3, 10)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.eval()(images), net.eval()(images))


def test_option_a_takes_every_second_pixel_between_channels_of_zeros() -> None:
    net: Any = nets.classifier("resnet8", 3, 10)
    block = net.layer2[0].eval()
    for layer in (block.bn1, block.bn2):
        nn.init.zeros_(layer.weight)
    x = torch.rand(2, 16, 8, 8)
    shortcut = block(x)
    assert torch.equal(shortcut[:, 8:24], x[:, :, ::2, ::2])
    assert shortcut[:, :8].abs().sum() == shortcut[:, 24:].abs().sum() == 0


def test_a_wide_network_activates_before_it_convolves() -> None:
    net: Any = nets.classifier("wrn16_2", 3, 10).eval()
    x = torch.rand(2, 16, 8, 8)
    first = net.layer1[0]
    active = torch.relu(first.bn1(x))
    inner = first.conv2(torch.relu(first.bn2(first.conv1(active))))
    assert torch.allclose(first(x), first.shortcut(active) + inner)
    y = torch.rand(2, 32, 8, 8)
    plain = net.layer1[1]
    inner = plain.conv2(torch.relu(plain.bn2(plain.conv1(torch.relu(plain.bn1(y))))))
    assert torch.allclose(plain(y), y + inner)


def test_torchvision_networks_come_by_name_with_their_own_input() -> None:
    assert nets.parameter_count(meta("torchvision:resnet18", classes=1000)) == 11_689_512
    assert zoo.input_of("torchvision:resnet18") == zoo.Input(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert zoo.input_of("torchvision:inception_v3").side == 299
    assert meta("torchvision:mobilenet_v3_small")(torch.zeros(2, 3, 224, 224, device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "channels", "sentence"),
    [
        ("resnet21", 3, "'resnet21' is not a network; did you mean 'resnet"),
        ("torchvision:resnet19", 3, "'resnet19' is not a network of torchvision; did you mean 'resnet"),
        ("torchvision:raft_large", 3, "'raft_large' is not a network of torchvision"),
        ("torchvison:resnet18", 3, "'torchvison' is not a source of networks; did you mean 'torchvision'?"),
        ("torchvision:resnet18", 1, "the networks of torchvision take images of 3 channels, not 1"),
    ],
)
def test_a_network_that_cannot_be_is_refused(name: str, channels: int, sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        nets.classifier(name, channels, 10)
    assert str(error.value).startswith(sentence)


def test_timm_is_an_extra_whose_absence_is_said_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SpecError, match=r"^timm is not installed; run: pip install 'dfkd_lab\[timm\]'"):
        nets.check("timm:resnet18")


class Timm:
    """What of timm is called, for where it is not installed; the last test asks the real one."""

    @staticmethod
    def list_models() -> list[str]:
        return ["tiny"]

    @staticmethod
    def list_pretrained() -> list[str]:
        return ["tiny.in1k"]

    @staticmethod
    def create_model(name: str, pretrained: bool, in_chans: int, num_classes: int) -> nn.Module:
        assert not pretrained
        return nn.Sequential(
            nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )


def test_timm_networks_come_by_name_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", Timm)
    assert nets.classifier("timm:tiny", 1, 7)(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    with pytest.raises(SpecError, match="'tinny' is not a network of timm; did you mean 'tiny'"):
        nets.check("timm:tinny")


def test_timm_itself() -> None:
    pytest.importorskip("timm")
    assert zoo.input_of("timm:resnet18.a1_in1k").side == 224
    assert nets.parameter_count(meta("timm:resnet18", classes=1000)) == 11_689_512
    with pytest.raises(SpecError, match="is not a network of timm"):
        nets.check("timm:resnet18.nonsense")
    with pytest.raises(SpecError, match="is not a network of timm"):
        nets.check("timm:hf-hub:timm/resnet18.a1_in1k")


def test_upsampling_and_convolution_in_one_are_those_one_after_the_other() -> None:
    torch.manual_seed(0)
    layer, images = UpsamplingConv2d(3, 5).double(), torch.randn(2, 3, 4, 6, dtype=torch.double)
    plain = nn.Conv2d(3, 5, 3, padding=1).double()
    assert layer.load_state_dict(plain.state_dict())
    found: list[list[Tensor]] = []
    for net in (layer, nn.Sequential(nn.Upsample(scale_factor=2), plain)):
        shown = images.clone().requires_grad_()
        out = net(shown)
        found.append([out, *torch.autograd.grad(out.square().sum(), [shown, *net.parameters()])])
    torch.testing.assert_close(*found)
