"""Networks that give a class for each pixel: their size and shapes; each can be trained, folded and counted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.engine import flops
from dfkd_lab.engine.precision import Autocast
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import trial, zoo
from dfkd_lab.nets.wrap import Classifier, Frozen, folded, named_logits
from dfkd_lab.primitives.layers import layers_of
from dfkd_lab.primitives.observer import Observer

pytestmark = pytest.mark.slow

TORCHVISION_21 = {
    "deeplabv3_resnet50": (42_004_074, 1024),
    "deeplabv3_resnet101": (60_996_202, 1024),
    "deeplabv3_mobilenet_v3_large": (11_029_328, 40),
    "fcn_resnet50": (35_322_218, 1024),
    "fcn_resnet101": (54_314_346, 1024),
    "lraspp_mobilenet_v3_large": (3_221_538, 0),
}
"""torchvision's ``num_params`` for 21 classes, and the channels that its auxiliary head reads, which is left out."""
SMALL = ("unet_24", "unet_8", "deeplabv3_mobilenet_v2", "torchvision:lraspp_mobilenet_v3_large")


def images_of(channels: int, height: int, width: int, n: int = 2) -> Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0))


def meta(name: str, channels: int = 3, classes: int = 11) -> nn.Module:
    """A network without memory, for its shapes."""
    with torch.device("meta"):
        return nets.classifier(name, channels, classes)


@pytest.fixture(autouse=True)
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        raise AssertionError("weights were fetched")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)


@pytest.mark.parametrize("name", [*nets.SEGMENTERS, *(f"torchvision:{each}" for each in TORCHVISION_21)])
def test_logits_are_of_the_images_height_and_width(name: str) -> None:
    net, sizes = meta(name), [(30, 45), (16, 16)]
    for height, width in [*sizes, (48, 48), (45, 30), (17, 31)] if name.startswith("unet") else sizes:
        output = net(torch.zeros(2, 3, height, width, device="meta"))
        assert named_logits(output).shape == (2, 11, height, width)
    assert nets.task_of(name) == trial.task_of(name, (3, 48, 48), 11) == "segmentation"


@pytest.mark.parametrize("width", [24, 16, 12, 8])
def test_a_unet_has_the_parameters_of_its_formula(width: int) -> None:
    channels, classes = 1, 11
    down = [(4 * channels, width), (width, width), (width, 2 * width), (2 * width, 2 * width)]
    deep = [(2 * width, 4 * width), (4 * width, 4 * width)]
    up = [(4 * width, 2 * width), (2 * width, 2 * width), (2 * width, width), (width, width)]
    layers = sum(9 * inputs * outputs + 2 * outputs for inputs, outputs in (*down, *deep, *up))
    counted = nets.parameter_count(meta(f"unet_{width}", channels, classes))
    assert counted == layers + (width + 1) * classes
    assert {24: 240_563, 12: 60_671}.get(width, counted) == counted


@pytest.mark.parametrize("name", TORCHVISION_21)
def test_torchvisions_have_the_parameters_that_it_publishes_but_for_the_auxiliary_head(name: str) -> None:
    published, read = TORCHVISION_21[name]
    inner = read // 4
    auxiliary = 9 * read * inner + 2 * inner + (inner + 1) * 21 if read else 0
    assert nets.parameter_count(meta(f"torchvision:{name}", classes=21)) == published - auxiliary
    assert zoo.input_of(f"torchvision:{name}") == zoo.Input(520, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_deeplab_on_mobilenet_v2_works_at_an_eighth_of_the_size_with_dropout() -> None:
    torch.manual_seed(0)
    net: Any = nets.classifier("deeplabv3_mobilenet_v2", 3, 11).eval()
    mobilenet_v2, last = 3_504_872 - 1281 * 1000, 320 * 1280 + 2 * 1280
    pyramid = 320 * 256 * (1 + 3 * 9 + 1) + 5 * 512
    head = pyramid + 5 * 256 * 256 + 512 + 9 * 256 * 256 + 512 + 257 * 11
    assert nets.parameter_count(net) == mobilenet_v2 - last + head
    assert net.backbone(images_of(3, 64, 128)).shape == (2, 320, 8, 16)
    dilations = [layer.dilation[0] for layer in net.backbone.modules() if getattr(layer, "kernel_size", 0) == (3, 3)]
    assert dilations == [1] * 11 + [2] * 6 + [4]
    branches = [branch[0].dilation[0] for branch in net.classifier[0].convs[1:4]]
    assert branches == [12, 24, 32], "DFAD's, not torchvision's"
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.5]
    deep = net.backbone[17].conv[2].weight.detach()
    assert float(deep.std()) == pytest.approx((2 / deep[0].numel()) ** 0.5, rel=0.02), "over inputs"
    images = images_of(1, 32, 32)
    gray = nets.classifier("deeplabv3_mobilenet_v2", 1, 3).eval()
    assert gray(images).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_gets_a_gradient_and_the_images_too(name: str) -> None:
    torch.manual_seed(0)
    net, images = nets.classifier(name, 3, 5), images_of(3, 32, 40).requires_grad_()
    named_logits(net(images)).square().mean().backward()
    assert not [key for key, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert images.grad is not None
    assert images.grad.abs().sum((0, 1)).gt(0).all(), "each pixel"


def test_a_unet_learns_where_a_pixel_is() -> None:
    """Two blobs of one color, told apart by their surroundings: a network that only sees a pixel cannot."""
    torch.manual_seed(0)
    net = nets.classifier("unet_8", 1, 3)
    images, classes = torch.zeros(8, 1, 30, 34), torch.zeros(8, 30, 34, dtype=torch.long)
    for n in range(8):
        for class_, size in ((1, 5), (2, 10)):
            top, left = 2 + 2 * n, (3 + 3 * n + 13 * class_) % 24
            rows, columns = slice(top, top + size), slice(left, left + size)
            images[n, :, rows, columns], classes[n, rows, columns] = 1, class_
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), classes).backward()
        optimizer.step()
    right = net(images).argmax(1) == classes
    assert min(float(right[classes == class_].float().mean()) for class_ in range(3)) > 0.9


def test_a_unet_starts_by_kaimings_over_outputs() -> None:
    torch.manual_seed(0)
    net: Any = nets.classifier("unet_24", 1, 11)
    widest = net.stages[2][0].weight.detach()
    assert float(widest.std()) == pytest.approx((2 / (9 * 96)) ** 0.5, rel=0.02)
    assert not net.head.bias.any()


def test_odd_sizes_are_seen_in_a_frame_of_zeros_that_is_cut_off_again() -> None:
    net, images = nets.classifier("unet_8", 1, 4).eval(), images_of(1, 19, 27)
    framed = net(nn.functional.pad(images, (0, 1, 0, 1)))
    assert torch.equal(net(images), framed[:, :, :19, :27])


def test_the_stages_of_a_unet_are_its_levels_down_and_up() -> None:
    teacher = Frozen(nets.classifier("unet_8", 1, 4), (0.5,), (0.5,))
    observer = Observer(teacher, Classifier(nets.classifier("unet_12", 1, 4), (0.5,), (0.5,)), shape=(1, 32, 48))
    seen = observer(images_of(1, 32, 48), needs=frozenset({"maps", "statistics"}))
    assert [tuple(each.shape[1:]) for each in seen.maps] == [
        (8, 16, 24), (16, 8, 12), (32, 4, 6), (16, 8, 12), (8, 16, 24)
    ]  # fmt: skip
    assert [each.shape[1] for each in seen.student_maps] == [12, 24, 48, 24, 12]
    assert len(seen.statistics) == 10


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(3, 32, 48), (3, 17, 33)], ids=str)
def test_a_folded_teacher_gives_the_same_logits(name: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    net = nets.classifier(name, 3, 5)
    for layer in (each for each in net.modules() if isinstance(each, nn.BatchNorm2d)):
        assert layer.running_mean is not None
        assert layer.running_var is not None
        layer.running_mean.normal_(0, 0.1)
        layer.running_var.uniform_(0.5, 2)
        nn.init.normal_(layer.bias, 0, 0.1)
    teacher, images = Frozen(net, [0.5] * 3, [0.25] * 3), images_of(*shape)
    found = folded(teacher, shape)
    assert found is not teacher
    assert not [layer for layer in found.modules() if isinstance(layer, nn.BatchNorm2d)]
    wanted = teacher(images)
    assert float(wanted.std()) > 1e-4
    torch.testing.assert_close(found(images), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    other = images_of(3, shape[1] + 3, shape[2] + 2)
    assert found(other).shape[2:] == other.shape[2:], "a trace that holds one size would not"


@pytest.mark.parametrize("name", SMALL)
def test_networks_compute_in_bfloat16_with_channels_last(name: str) -> None:
    torch.manual_seed(0)
    autocast, images = Autocast(torch.device("cpu"), "bf16"), images_of(3, 32, 33)
    for wrap in (Frozen, Classifier):
        model = wrap(nets.classifier(name, 3, 5).eval(), [0.5] * 3, [0.25] * 3)
        wanted = model(images).detach()
        autocast.prepare(model, (3, 32, 33))
        filters = [layer.weight for layer in model.modules() if isinstance(layer, nn.Conv2d)]
        assert all(each.is_contiguous(memory_format=torch.channels_last) for each in filters)
        assert {each.dtype for each in filters} == {torch.bfloat16 if wrap is Frozen else torch.float32}
        with autocast:
            found = model(images).float()
        torch.testing.assert_close(found.detach(), wanted, rtol=0, atol=0.1 * float(wanted.abs().max()))


def test_operations_of_a_unet_by_hand() -> None:
    width, size = 8, 32 * 32
    counted = flops.forward(nets.classifier("unet_8", 1, 4), torch.zeros(1, 1, 32, 32))
    fine = 9 * (4 * width + 2 * width**2) * size // 4
    middle = 9 * (2 * width**2 + 4 * width**2 + 4 * width**2 + 2 * width**2) * size // 16
    coarse = 9 * (8 * width**2 + 16 * width**2 + 8 * width**2) * size // 64
    assert counted == 2 * (fine + middle + coarse + width * 4 * size // 4)


class Pooled(nn.Module):
    """Maps and their spatial means, each behind a batch norm; a class for each pixel, or for the image."""

    def __init__(self, is_dense: bool):
        super().__init__()
        self.is_dense, self.shared = is_dense, nn.BatchNorm2d(4)
        self.first, self.maps, self.means = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.shared(self.maps(self.first(x)))
        means = self.shared(self.means(maps.mean((2, 3), keepdim=True)))
        return maps + means if self.is_dense else means.flatten(1)


def test_a_batch_norm_of_single_pixels_is_observed_in_classification_alone() -> None:
    dense, plain = Pooled(True), Pooled(False)
    assert layers_of(dense, (3, 8, 8)).batch_norms == [dense.maps, dense.shared, dense.shared]
    assert layers_of(plain, (3, 8, 8)).batch_norms == [plain.maps, plain.shared, plain.means, plain.shared]
    net: Any = nets.classifier("deeplabv3_mobilenet_v2", 3, 4)
    every = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    pooled = net.classifier[0].convs[4][2]
    assert layers_of(net, (3, 32, 32)).batch_norms == [layer for layer in every if layer is not pooled]


REFUSED = {
    "unknown": ("unet_9", 3, "'unet_9' is not a network; did you mean 'unet_"),
    "unknown deeplab": ("deeplab_mobilenet_v2", 3, "did you mean 'deeplabv3_mobilenet_v2'?"),
    "torchvision": (
        "torchvision:deeplabv3_resnet",
        3,
        "'deeplabv3_resnet' is not a network of torchvision; did you mean 'deeplabv3_resnet",
    ),
    "channels": ("torchvision:fcn_resnet50", 1, "the networks of torchvision take images of 3 channels, not 1"),
}


@pytest.mark.parametrize(("name", "channels", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_network_that_cannot_be_is_refused(name: str, channels: int, sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        nets.classifier(name, channels, 11)
    assert sentence in str(error.value)


def test_a_network_of_ones_own_cannot_take_the_name_of_one() -> None:
    with pytest.raises(SpecError, match="network 'unet_8' is taken"):
        nets.register("unet_8", lambda channels, classes: nn.Conv2d(channels, classes, 1))


@pytest.mark.parametrize(
    ("name", "task", "sentence"),
    [
        ("unet_8", "classification", "'unet_8' is a network of segmentation; allowed: one of classification, such as"),
        ("resnet8", "segmentation", "'resnet8' is a network of classification; allowed: one of segmentation, such as"),
        ("torchvision:resnet18", "segmentation", "'torchvision:resnet18' is a network of classification; allowed"),
    ],
)
def test_a_student_for_another_task_than_the_teachers_is_refused_by_name(name: str, task: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        trial.examine_student(name, nets.maker(name), (3, 32, 32), 10, task)


def test_students_that_fit_the_task_pass() -> None:
    for name in ("unet_8", "deeplabv3_mobilenet_v2"):
        trial.examine_student(name, nets.maker(name), (3, 32, 33), 10, "segmentation")


class Own(nn.Module):
    """A network of a user's own: one convolution, and whatever is made of its maps."""

    def __init__(self, end: Callable[[Tensor], Any], classes: int = 5):
        super().__init__()
        self.convolution, self.end = nn.Conv2d(3, classes, 3, padding=1), end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.convolution(x))


def dense(maps: Tensor) -> Tensor:
    return maps


OWN: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "probabilities": (lambda maps: maps.softmax(1), "gives probabilities; allowed: logits, so leave out the softmax"),
    "logarithms": (lambda maps: maps.log_softmax(1), "leave out the log_softmax"),
    "sigmoid": (torch.sigmoid, "numbers between 0 and 1; allowed: logits, so leave out the sigmoid"),
    "half size": (
        lambda maps: nn.functional.max_pool2d(maps, 2),
        r"gives \[2, 5, 8, 6\] for 2 images; allowed: logits \[2, 5, 16, 12\], so enlarge them with F.interpolate\(",
    ),
    "classifier": (lambda maps: maps.mean((2, 3)), r"gives \[2, 5\] .*leave out the pooling and end it with a conv"),
    "not flat": (lambda maps: maps.mean((2, 3), keepdim=True), "leave out the pooling and end it with a convolution"),
    "channels last": (
        lambda maps: maps.permute(0, 2, 3, 1),
        r"gives \[2, 16, 12, 5\].*, so permute\(0, 3, 1, 2\) them",
    ),
    "classes": (lambda maps: maps.argmax(1), r"gives \[2, 16, 12\] .*, so leave out the argmax"),
    "one image": (lambda maps: maps[:1], r"gives \[1, 5, 16, 12\] for 2 images; allowed: logits \[2, 5, 16, 12\]$"),
    "one class": (lambda maps: maps[:, :1], r"gives \[2, 1, 16, 12\] for 2 images; allowed: logits \[2, 5, 16, 12\]$"),
    "a list": (lambda maps: [maps], "gives a list for images; allowed: logits"),
    "only two": (lambda maps: maps if len(maps) < 3 else maps[:2], r"gives \[2, 5, 16, 12\] for 3 images"),
}
"""What a network of a user's own makes of maps [N, 5, 16, 12], and what is said of it for segmentation."""


@pytest.mark.parametrize(("end", "sentence"), OWN.values(), ids=OWN)
def test_what_gives_no_logits_of_pixels_is_refused_as_teacher_and_student(
    end: Callable[[Tensor], Any], sentence: str
) -> None:
    torch.manual_seed(0)
    teacher = Classifier(Own(end).eval(), (0.5,), (0.5,))
    with pytest.raises(SpecError, match=sentence) as error:
        trial.examine_teacher("teacher 'mine'", teacher, (3, 16, 12), 5, task="segmentation")
    assert "\n" not in str(error.value)
    nets.register("mine", lambda channels, classes: Own(end, classes))
    with pytest.raises(SpecError, match=f"'mine'.*{sentence}"):
        trial.examine_student("mine", nets.maker("mine"), (3, 16, 12), 5, "segmentation")


def test_ones_own_are_for_what_their_output_says() -> None:
    nets.register("dense", lambda channels, classes: Own(dense, classes))
    nets.register("named", lambda channels, classes: Own(lambda maps: {"out": maps, "aux": maps}, classes))
    nets.register("plain", lambda channels, classes: Own(lambda maps: maps.mean((2, 3)), classes))
    nets.register("coarse", lambda channels, classes: Own(lambda maps: maps[:, :, ::2, ::2], classes))
    assert nets.task_of("dense") is None
    state = torch.get_rng_state()
    for name, task in (("dense", "segmentation"), ("named", "segmentation"), ("plain", "classification")):
        assert trial.task_of(name, (3, 16, 12), 5) == task
    assert torch.equal(torch.get_rng_state(), state)
    assert nets.classifier("dense", 3, 5).training
    both = r"allowed: logits \[2, classes\], so end it with nn.*, or logits \[2, classes, 16, 12\], so enlarge them"
    with pytest.raises(SpecError, match=rf"'coarse' gives \[2, 5, 8, 6\] for 2 images; {both}"):
        trial.task_of("coarse", (3, 16, 12), 5)
    trial.examine_teacher("t", Classifier(Own(dense).eval(), (0.5,), (0.5,)), (3, 16, 12), 5, task="segmentation")
    trial.examine_student("dense", nets.maker("dense"), (3, 16, 12), 5, "segmentation")
    with pytest.raises(
        SpecError, match=r"gives \[2, 5, 16, 12\] .*allowed: logits \[2, 5\], so end it with nn.Adaptive"
    ):
        trial.examine_student("dense", nets.maker("dense"), (3, 16, 12), 5)
