"""Teachers of any height and width are shown images of their shape by every method; else the run is refused before."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import Session, SpecError, nets, plan, teachers
from dfkd_lab.errors import RecipeError
from dfkd_lab.methods import METHODS, remark
from dfkd_lab.nets.generators import Generator, upsamplings
from dfkd_lab.nets.large_generators import DCGANGenerator, DeepGenerator

pytestmark = pytest.mark.slow

Shape = tuple[int, int, int]
SHAPES: list[Shape] = [(3, 48, 32), (1, 30, 30), (3, 17, 23), (2, 8, 64)]
DATA_FREE = [name for name, method in METHODS.items() if not remark(method)]


WHOLE = ("deepinversion", "ssd_kd")
"""Methods with every shape and every generator in every run of the tests; each other one takes its turn at one."""
OTHER = {"cgdd", "deepinversion", "fssc", "mad", "mb_dfkd", "noise", "pre_dfkd", "spaceshipnet"}
REFUSED = {"dcgan": OTHER, "deep": {*OTHER, "nayer"}}
"""Methods whose generator takes the target class, has details of its own, or is read inside."""


def by_turns(kinds: Sequence[Any]) -> list[Any]:
    """Every data-free method with every kind; what is not WHOLE's, no method's turn and not refused at once is long."""
    rows = []
    for turn, method in enumerate(DATA_FREE):
        for at, kind in enumerate(kinds):
            quick = method in WHOLE or turn % len(kinds) == at or method in REFUSED.get(kind, ())
            rows.append(pytest.param(method, kind, marks=[] if quick else [pytest.mark.long]))
    return rows


class Looking(nn.Module):
    """A classifier that keeps the shapes of what it was shown."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
        )  # fmt: skip
        self.seen: set[tuple[int, ...]] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add(tuple(x.shape[1:]))
        out: Tensor = self.body(x)
        return out


@pytest.mark.parametrize(("method", "shape"), by_turns(SHAPES), ids=str)
def test_what_is_drawn_is_what_the_teacher_takes(
    method: str, shape: Shape, tiny: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    net = Looking(shape[0])
    teacher = teachers.adopt("mine", net, shape, 10, "none", tmp_path)
    settings = tiny(method)
    for name in ("attention", "cam", "grad_cam"):  # this teacher has no stages
        if name in METHODS[method].__dataclass_fields__:
            settings[name] = 0.0
    spec = plan(
        method=method, rounds=2, teacher=teacher, student="convnet_8", data="none", out=str(tmp_path / "run"),
        device="cpu", settings=settings,
    ).spec  # fmt: skip
    session = Session(spec)
    looked = [each for each in session.run.teacher.modules() if isinstance(each, Looking)]
    for each in looked:
        each.seen.clear()
    list(session)
    assert {seen for each in looked for seen in each.seen} <= {shape}


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 16), (3, 64, 64), (3, 224, 224), *SHAPES], ids=str)
def test_the_shared_generator_begins_small_and_ends_at_the_size(shape: Shape) -> None:
    net = Generator(16, shape, 8)
    assert net(torch.randn(2, 16)).shape == (2, *shape)
    assert max(net.first_size) <= 8
    assert len(net.ends) == 1 + upsamplings(*shape[1:])


def test_its_parameters_do_not_grow_with_the_area() -> None:
    small, large = (nets.parameter_count(Generator(256, (3, side, side), 64)) for side in (32, 224))
    assert large < 2 * small


@pytest.mark.parametrize("shape", [(3, 224, 224), (3, 128, 128), (3, 100, 60), (1, 17, 40)], ids=str)
@pytest.mark.parametrize("kind", [DCGANGenerator, DeepGenerator])
def test_the_published_generators_draw_any_size(kind: Any, shape: Shape) -> None:
    net = kind(16, shape, 4).eval()
    images = net(torch.randn(2, *net.latent_shape))
    assert images.shape == (2, *shape)
    assert 0 <= images.min() < images.max() <= 1


def test_the_published_generators_have_the_parameters_of_their_layers() -> None:
    z, g = 256, 64
    deep = [(z, 2 * g), (2 * g, 2 * g), (2 * g, g), (g, g), (g, g)]
    convolutions = sum(9 * a * b + b + 2 * b for a, b in deep) + 9 * g * 3 + 3
    assert nets.parameter_count(DeepGenerator(z, (3, 224, 224), g)) == convolutions
    wide = [(8 * g, 4 * g), (4 * g, 2 * g), (2 * g, g), (g, g)]
    transposed = sum(16 * a * b + b + 2 * b for a, b in wide) + 2 * 8 * g + 9 * g * 3 + 3
    assert nets.parameter_count(DCGANGenerator(z, (3, 128, 128), g)) == (z + 1) * 8 * g * 64 + transposed


@pytest.mark.parametrize(("method", "generator"), by_turns(["dcgan", "deep"]))
def test_a_published_generator_runs_or_is_refused_in_a_sentence(
    method: str, generator: str, tiny: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    spec = {"method": method, "rounds": 2, "settings": tiny(method), "data": "none", "device": "cpu"}
    try:
        resolved = plan(**spec, generator=generator, out=str(tmp_path / "run"))
    except SpecError as error:
        refused = str(error)
    else:
        refused = ""
        assert len(list(Session(resolved))) == 2
    assert not refused or re.search(r"generator = '(auto|.*; allowed: (generator = )?'auto)'", refused)
    assert bool(refused) == (method in REFUSED[generator])


def test_a_synthesizer_of_another_size_is_refused_before_the_run(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfkd_lab.engine.context.Generator", lambda z, shape, *rest, **more: Generator(
        z, (shape[0], shape[1] + 4, shape[2]), *rest, **more))  # fmt: skip
    with pytest.raises(RecipeError, match=r"takes images of 1x16x16 .*, and NoiseGenerator draws 1x20x16"):
        make_run("dfad")
