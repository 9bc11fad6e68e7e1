"""Modules that are ordinary elsewhere, adopted as they are: each is distilled, or refused in a sentence with a cure."""

from __future__ import annotations

import random
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torchvision.ops import FrozenBatchNorm2d

from dfkd_lab import RunError, RunFolder, Session, SpecError, nets, plan, teachers
from dfkd_lab.primitives.layers import layers_of
from tests.support import tiny

SHAPE = (3, 8, 8)
CLASSES = 4
Norm = Callable[[int], nn.Module]


def body(norm: Norm = nn.BatchNorm2d, channels: int = 3) -> nn.Sequential:
    """Feature maps [N, 6, H, W], two norms inside."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1), norm(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), norm(6), nn.ReLU()
    )


def net(norm: Norm = nn.BatchNorm2d, channels: int = 3, classes: int = CLASSES, *more: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *body(norm, channels), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes), *more
    )  # fmt: skip


class Giving(nn.Module):
    """A network whose output is made into something else."""

    def __init__(self, give: Callable[..., Any], inner: nn.Module | None = None):
        super().__init__()
        self.inner, self.give = inner or net(), give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.inner(x))


class Taking(nn.Module):
    """A network whose images are made into something else first."""

    def __init__(self, take: Callable[[Tensor], Tensor], inner: nn.Module | None = None):
        super().__init__()
        self.inner, self.take = inner or net(), take

    def forward(self, x: Tensor) -> Any:
        return self.inner(self.take(x))


class Heads(NamedTuple):
    """What such a network gives while training."""

    logits: Tensor
    aux_logits: Tensor


class Auxiliary(nn.Module):
    """As Inception and GoogLeNet: a second head, with a batch norm of its own, that counts while training."""

    def __init__(self, named: bool = True):
        super().__init__()
        self.body, self.aux, self.named = body(), net(channels=6), named
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Any:
        maps = self.body(x)
        logits = self.fc(maps.mean((2, 3)))
        if not self.training:
            return logits
        return Heads(logits, self.aux(maps)) if self.named else (logits, self.aux(maps))


class TwoNames(nn.Module):
    """The same layers under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.fc = body(), nn.Linear(6, CLASSES)
        self.features = nn.Sequential(*list(self.backbone)[:4])

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.backbone(x).mean((2, 3)))


class Twice(nn.Module):
    """One convolution, one batch norm and one linear layer, each passed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.mix, self.fc = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(2):
            x = torch.relu(self.norm(self.conv(x)))
        return self.fc(self.mix(torch.relu(self.mix(x.mean((2, 3))))))


class OutOfOrder(nn.Module):
    """Batch norms of different widths and heads, registered in another order than images pass them, some never."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, CLASSES)
        self.late, self.unused, self.early = nn.BatchNorm2d(6), nn.BatchNorm2d(5), nn.BatchNorm2d(3)
        self.conv, self.projection = nn.Conv2d(3, 6, 3), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.late(self.conv(self.early(x)))).mean((2, 3)))


class OwnBatchNorm(nn.Module):
    """Somebody's copy of batch norm, with its statistics as maps [1, C, 1, 1]."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("running_var", torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.running_mean) / (self.running_var + 1e-5).sqrt()


class LayerOneIsLinear(nn.Module):
    """A multilayer perceptron, whose "layer1" gives no feature maps; it calls view."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(3 * 64, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer2(torch.relu(self.layer1(x.view(x.size(0), -1))))


class Recording(nn.Module):
    """Keeps what its last pass gave, as code for Grad-CAM does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()
        self.kept: list[Tensor] = []
        self(torch.rand(2, *SHAPE))

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.inner(x)
        self.kept = [self.last]
        print(end="")
        return self.last


class Growing(nn.Module):
    """Appends to a buffer in every pass."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()
        self.register_buffer("seen", torch.zeros(0, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        given = self.inner(x)
        self.seen = torch.cat([self.seen, given.detach()])
        return given


class Counting(nn.Module):
    """Gives something else in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = net(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x) * self.calls


class Demanding(nn.Module):
    """Wants more than images."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.inner(x) * mask


class Stateless(nn.Module):
    """Cannot be saved, nor be set to train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def state_dict(self, *more: Any, **names: Any) -> Any:
        raise RuntimeError("none")

    def train(self, mode: bool = True) -> Stateless:
        assert not mode, "trained enough"
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Untrainable(Stateless):
    """Cannot be set to train mode, but saved."""

    def state_dict(self, *more: Any, **names: Any) -> Any:
        return nn.Module.state_dict(self, *more, **names)


class Deciding(nn.Module):
    """Which layers it passes depends on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.long, self.short = net(), net(nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        return self.long(x) if len(x) < 4 else self.short(x)


class WithObject(nn.Module):
    """Has a state that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def wrapped(wrap: Callable[[Any], nn.Module]) -> nn.Module:
    made = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the older form of both norms deprecated
        made[3] = wrap(made[3])
    made(torch.rand(2, *SHAPE))
    return made


def compiled() -> nn.Module:
    made: Any = torch.compile(net())
    return made


def compiled_in_place() -> nn.Module:
    made = net()
    made.compile()
    return made


def patches(x: Tensor) -> Tensor:
    return x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 4, 4)


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = torch.jit.script(net())
    return made


def scripted_stages() -> nn.Module:
    parts = OrderedDict(layer1=body(), avgpool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(6, CLASSES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = torch.jit.script(nn.Sequential(parts))
    return made


def raising(x: Tensor) -> Tensor:
    raise KeyError("no such thing\nat all")


def in_place(x: Tensor) -> Tensor:
    return x.sub_(0.5).mul_(2)


ADOPTED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "dictionary": (lambda: Giving(lambda y: {"logits": y, "features": y}), 2),
    "dictionary of torchvision": (lambda: Giving(lambda y: OrderedDict(aux=y, out=y)), 2),
    "object": (lambda: Giving(lambda y: SimpleNamespace(logits=y, hidden_states=None)), 2),
    "auxiliary head": (Auxiliary, 2),
    "auxiliary head in a tuple": (lambda: Auxiliary(named=False), 2),
    "two names": (TwoNames, 2),
    "layers passed twice": (Twice, 2),
    "layers out of order": (OutOfOrder, 2),
    "weight norm": (lambda: wrapped(nn.utils.weight_norm), 2),
    "spectral norm": (lambda: wrapped(nn.utils.spectral_norm), 2),
    "parametrized weight norm": (lambda: wrapped(parametrizations.weight_norm), 2),
    "parametrized spectral norm": (lambda: wrapped(parametrizations.spectral_norm), 2),
    "scripted": (scripted, 0),
    "compiled in place": (compiled_in_place, 2),
    "compiled inside": (lambda: nn.Sequential(nn.Identity(), compiled()), 2),
    "patches in the batch": (lambda: Giving(lambda y: y.view(-1, 4, CLASSES).mean(1), Taking(patches)), 0),
    "scripted with stages": (scripted_stages, 0),
    "compiled": (compiled, 2),
    "data parallel": (lambda: nn.DataParallel(net()), 2),
    "averaged": (lambda: torch.optim.swa_utils.AveragedModel(net()), 2),
    "synchronized": (lambda: nn.SyncBatchNorm.convert_sync_batchnorm(net()), 2),
    "frozen": (lambda: net(FrozenBatchNorm2d), 2),
    "somebody's batch norm": (lambda: net(OwnBatchNorm), 2),
    "batch norm of vectors": (lambda: nn.Sequential(*net()[:-1], nn.BatchNorm1d(6), nn.Linear(6, CLASSES)), 3),
    "no running statistics": (lambda: net(lambda c: nn.BatchNorm2d(c, track_running_stats=False)), 0),
    "group norm": (lambda: net(lambda c: nn.GroupNorm(2, c)), 0),
    "instance norm": (lambda: net(nn.InstanceNorm2d), 0),
    "instance norm with statistics": (lambda: net(lambda c: nn.InstanceNorm2d(c, track_running_stats=True)), 0),
    "layer norm": (lambda: net(lambda c: nn.LayerNorm([c, 8, 8])), 0),
    "1x1 convolution": (lambda: nn.Sequential(*body(), nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 2),
    "perceptron that calls view": (LayerOneIsLinear, 0),
    "maps that are viewed": (
        lambda: nn.Sequential(Giving(lambda y: y.view(len(y), -1), body()), nn.Linear(6 * 64, CLASSES)),
        2,
    ),
    "half precision": (lambda: net().half(), 2),
    "double precision": (lambda: net().double(), 2),
    "no gradient wanted": (lambda: net().requires_grad_(False), 2),
    "in place": (lambda: Taking(in_place, nn.Sequential(nn.ReLU(inplace=True), *net())), 2),
    "normalizes by itself": (lambda: Taking(lambda x: (x - x.mean()) / x.std()), 2),
    "dropout": (lambda: nn.Sequential(nn.Dropout(0.5), *net()), 2),
    "recording": (Recording, 2),
    "wide outputs": (lambda: Giving(lambda y: y.double()), 2),
    "sigmoid inside": (lambda: net(nn.BatchNorm2d, 3, 6, nn.Sigmoid(), nn.Linear(6, CLASSES)), 2),
    "no head started": (lambda: nn.Sequential(*net()[:-1], zeroed(nn.Linear(6, CLASSES))), 2),
}
"""What is distilled, and how many batch norms are seen in a pass."""


def zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "tuple": (lambda: Giving(lambda y: (y, y)), "gives a tuple for images; .* calls them 'logits'"),
    "list": (lambda: Giving(lambda y: [y]), "gives a list for images; allowed"),
    "dictionary without logits": (lambda: Giving(lambda y: {"scores": y}), "gives a dict for images; allowed"),
    "nothing": (lambda: Giving(lambda y: None), "gives nothing for images"),
    "logits of a map": (
        lambda: nn.Sequential(*body(), nn.Conv2d(6, 4, 1, stride=2)),
        r"gives \[2, 4, 4, 4\] .*AdaptiveAvgPool2d",
    ),
    "logits of one place": (
        lambda: nn.Sequential(*body(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 4, 1)),
        r"gives \[2, 4, 1, 1\] .* so end it with .*nn.Flatten",
    ),
    "one logit": (lambda: net(classes=1), r"gives \[2, 1\] for 2 images; allowed: logits \[2, 4\]"),
    "too many classes": (lambda: net(classes=7), r"gives \[2, 7\] for 2 images; allowed: logits \[2, 4\]"),
    "softmax": (
        lambda: net(nn.BatchNorm2d, 3, CLASSES, nn.Softmax(1)),
        "gives probabilities; .* leave out the softmax",
    ),
    "log-softmax": (lambda: net(nn.BatchNorm2d, 3, CLASSES, nn.LogSoftmax(1)), "leave out the log_softmax"),
    "sigmoid": (lambda: net(nn.BatchNorm2d, 3, CLASSES, nn.Sigmoid()), "leave out the sigmoid"),
    "not a number": (lambda: Giving(lambda y: y * float("nan")), "gives no finite numbers"),
    "integers": (lambda: Giving(lambda y: y.mul(9).long()), "gives no finite numbers .*int64"),
    "random": (lambda: Taking(lambda x: F.dropout(x, 0.5)), "gives other logits for the same images in eval mode"),
    "counting": (Counting, "gives other logits for the same images in eval mode"),
    "growing": (Growing, "changes the size of 'net.seen' in its state with every pass"),
    "extra argument": (Demanding, r"cannot take images \[2, 3, 8, 8\] \(TypeError: .*mask"),
    "own error": (lambda: Taking(raising), r"cannot take images \[2, 3, 8, 8\] \(KeyError: 'no such thing"),
    "lazy": (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)), "not initialized yet .*1.weight"),
    "batch of one": (lambda: Taking(lambda x: x.view(1, *SHAPE)), r"cannot take images \[2, 3, 8, 8\]"),
    "batch of two": (lambda: Taking(lambda x: x.reshape(2, *SHAPE)), r"cannot take images \[3, 3, 8, 8\]"),
    "flattened batch": (lambda: Giving(lambda y: y.flatten()), r"gives \[8\] for 2 images"),
    "squeezed": (lambda: Giving(lambda y: y.squeeze()), r"gives \[4\] for 1 images; allowed: logits \[1, 4\]"),
    "other batch": (lambda: Giving(lambda y: torch.cat([y, y])), r"gives \[4, 4\] for 2 images"),
    "no gradient": (lambda: Giving(lambda y: y.detach()), "gives its images no gradient"),
    "no weights": (lambda: net().to("meta"), "cannot be copied to the CPU"),
    "no copy": (lambda: Giving(lambda y: y, locked()), "cannot be copied to the CPU"),
    "object in its state": (WithObject, "keeps .*_extra_state' in its state, which is no tensor"),
    "sparse": (lambda: Giving(lambda y: y.to_sparse()), "gives a tensor of layout torch.sparse_coo"),
    "no state": (Stateless, "has no state that can be saved .*RuntimeError: none"),
    "other channels": (lambda: net(channels=4), r"cannot take images \[2, 3, 8, 8\] \(RuntimeError: Given groups"),
    "too small": (lambda: nn.Sequential(nn.MaxPool2d(16), *net()), r"cannot take images \[2, 3, 8, 8\]"),
    "no module": (lambda: torch.relu, "is a builtin_function_or_method; allowed: an nn.Module"),
}


def locked() -> nn.Module:
    made = net()
    made.lock = threading.Lock()  # type: ignore[assignment]
    return made


def distil(teacher: str, folder: Path, method: str = "ssd_kd", student: str = "tiny") -> Session:
    """A round of a method that reads batch norms, if the teacher has any, and the head."""
    nets.CLASSIFIERS.setdefault("tiny", lambda channels, classes: net(channels=channels, classes=classes))
    sizes = {**tiny(method), "batch": 4, "width": 4, "z_dim": 4}
    session = Session(plan(sizes, method=method, rounds=1, teacher=teacher, student=student, data="none",
                           out=str(folder / method), device="cpu", precision="fp32"))  # fmt: skip
    assert len(list(session)) == 1
    return session


@pytest.mark.parametrize("name", ADOPTED)
def test_what_is_ordinary_is_distilled_with_every_batch_norm_it_passes(name: str, tmp_path: Path) -> None:
    make, norms = ADOPTED[name]
    torch.manual_seed(0)
    session = distil(teachers.adopt("mine", make(), SHAPE, CLASSES, "half", tmp_path), tmp_path)
    assert len(session.run.observer.batch_norms) == norms
    assert bool(session.spec.settings["bn_gap"]) == bool(norms)
    assert ("bn_gap" in next(iter(session.folder.reports())).health) == bool(norms)
    assert any("keeps no batch-norm statistics: bn_gap = 0" in each for each in session.resolved.notes) != bool(norms)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_distilled_is_refused_before_anything_is_registered(name: str, tmp_path: Path) -> None:
    make, sentence = REFUSED[name]
    torch.manual_seed(0)
    with pytest.raises(SpecError, match=f"teacher 'mine' .*{sentence}") as error:
        teachers.adopt("mine", make(), SHAPE, CLASSES, "half", tmp_path)
    assert "\n" not in str(error.value)
    assert "mine" not in nets.CLASSIFIERS
    assert not list(tmp_path.iterdir())


def make_of(module: Callable[[], Any]) -> Callable[[int, int], Any]:
    return lambda channels, classes: module()


STUDENTS: dict[str, Callable[[], nn.Module]] = {
    "auxiliary head": Auxiliary,
    "layers passed twice": Twice,
    "weight norm": lambda: wrapped(nn.utils.weight_norm),
    "scripted": scripted,
    "compiled in place": compiled_in_place,
    "data parallel": lambda: nn.DataParallel(net()),
    "frozen batch norm": lambda: net(FrozenBatchNorm2d),
    "perceptron that calls view": LayerOneIsLinear,
    "recording": Recording,
    "random in eval mode": lambda: Taking(lambda x: F.dropout(x, 0.5)),
    "batch norm of vectors": lambda: nn.Sequential(*net()[:-1], nn.BatchNorm1d(6), nn.Linear(6, CLASSES)),
}


@pytest.mark.parametrize("name", STUDENTS)
def test_an_ordinary_module_is_a_student(name: str, tmp_path: Path) -> None:
    nets.register("mine", make_of(STUDENTS[name]))
    teacher = teachers.adopt("teacher", net(), SHAPE, CLASSES, "half", tmp_path)
    session = distil(teacher, tmp_path, "dafl", student="mine")
    assert (session.folder.path / "student.safetensors").exists()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Auxiliary(named=False), "'mine' in train mode gives a tuple for images; allowed: logits"),
        (lambda: net(nn.BatchNorm2d, 3, CLASSES, nn.Softmax(1)), "gives probabilities; .* leave out the softmax"),
        (lambda: net().requires_grad_(False), "'mine' has no parameters to train"),
        (lambda: net().half(), r"'mine' has '0.weight' in torch.float16 on cpu; .* end with net.float\(\).cpu\(\)"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)), "not initialized yet .*1.weight"),
        (lambda: Taking(raising), r"cannot take images \[2, 3, 8, 8\] \(KeyError"),
        (lambda: raising(torch.ones(1)), r"'mine' cannot be made \(KeyError: 'no such thing"),
        (lambda: torch.relu, "'mine' gives a builtin_function_or_method; allowed: an nn.Module"),
        (lambda: Giving(lambda y: y * random.random()), "is not the same twice from one seed"),
        (lambda: Giving(lambda y: y.detach()), "'mine' gives its parameters no gradient"),
        (Untrainable, r"cannot be set to train mode \(AssertionError: trained enough"),
        (Growing, "changes the size of 'seen' in its state"),
        (WithObject, "'mine' keeps '_extra_state' in its state, which is no tensor"),
        (lambda: Giving(lambda y: y.squeeze()), r"gives \[4\] for 1 images"),
    ],
)
def test_what_cannot_be_a_student_is_refused_by_the_plan(make: Any, sentence: str, tmp_path: Path) -> None:
    nets.register("mine", make_of(make))
    teacher = teachers.adopt("teacher", net(), SHAPE, CLASSES, "half", tmp_path)
    with pytest.raises(SpecError, match=f"student: .*{sentence}") as error:
        distil(teacher, tmp_path, "dafl", student="mine")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "dafl").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"shape": (3, 8)}, "shape = .3, 8. and classes = 4; allowed"),
        ({"shape": (3, 0, 8)}, "shape = .3, 0, 8."),
        ({"classes": 0}, "classes = 0; allowed"),
        ({"normalization": "cifar10", "shape": (4, 8, 8)}, "normalization = 'cifar10' is of 3 channels"),
        ({"folder": "not_there"}, "folder = 'not_there': cannot write .*No such file"),
    ],
)
def test_what_adopt_is_told_is_checked(given: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    given = {"shape": SHAPE, "classes": CLASSES, "normalization": "half", "folder": tmp_path, **given}
    with pytest.raises(SpecError, match=sentence):
        teachers.adopt("mine", net(), **given)
    assert "mine" not in nets.CLASSIFIERS


def test_a_model_is_as_it_was_after_it_is_adopted(tmp_path: Path) -> None:
    model = wrapped(nn.utils.spectral_norm).train().double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    teachers.adopt("mine", model, SHAPE, CLASSES, "half", tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(each.requires_grad for each in model.parameters())


def test_statistics_of_layers_are_read_where_images_pass_them() -> None:
    torch.manual_seed(0)
    model = OutOfOrder().eval()
    layers = layers_of(model, SHAPE)
    assert layers.batch_norms == [model.early, model.late]
    assert layers.head is model.fc, "the last linear layer that is passed, not the last one there is"
    twice = Twice().eval()
    assert layers_of(twice, SHAPE).batch_norms == [twice.norm, twice.norm]
    assert layers_of(LayerOneIsLinear(), SHAPE).stages == [], "layer1 gives no feature maps"


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 5, 7), (4, 2, 9)], ids=str)
@pytest.mark.parametrize("method", ["dafl", "ssd_kd", "pre_dfkd"])
def test_very_small_images_are_distilled_or_refused(method: str, shape: Any, tmp_path: Path) -> None:
    teacher = teachers.adopt("mine", net(channels=shape[0]), shape, CLASSES, "half", tmp_path)
    if method != "pre_dfkd":
        distil(teacher, tmp_path, method)
        return
    with pytest.raises(SpecError, match=f"these are {shape[1]}x{shape[2]}; allowed: 6 pixels a side or more"):
        distil(teacher, tmp_path, method)


def test_a_module_that_fails_later_ends_the_run_in_a_sentence(tmp_path: Path) -> None:
    def choosy(x: Tensor) -> Tensor:
        if len(x) > 3:
            raise ValueError("at most three\nimages")
        return x

    teacher = teachers.adopt("mine", Taking(choosy), SHAPE, CLASSES, "half", tmp_path)
    with pytest.raises(RunError, match=r"the teacher failed on images \[4, 3, 8, 8\] \(ValueError: at most three\)"):
        distil(teacher, tmp_path)
    assert RunFolder(tmp_path / "ssd_kd").status()["state"] == "failed"


def test_batch_norms_that_are_passed_by_chance_end_the_run_in_a_sentence(tmp_path: Path) -> None:
    teacher = teachers.adopt("mine", Deciding(), SHAPE, CLASSES, "half", tmp_path)
    with pytest.raises(RunError, match="images passed 0 of the teacher's 2 batch norms, so which ones depends on"):
        distil(teacher, tmp_path)
