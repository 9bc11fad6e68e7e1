"""The first losses of each certain method, step by step: of a run of ours, and of its algorithm told once more.

``python -m tests.reference.golden`` writes those of the algorithms to ``golden.json``. That is for a change of what a
method is meant to compute; the commit says which, and why.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn

from dfkd_lab import METHODS
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Run
from dfkd_lab.engine.recipe import Recipe
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.memories import VAEMemory
from dfkd_lab.system.rng import preserved
from tests.reference.algorithms import (
    cmi,
    dafl,
    deepinversion,
    dfad,
    fast,
    kd,
    nayer,
    pre_dfkd,
    spaceshipnet,
    zskt,
)
from tests.reference.algorithms.networks import MEAN, STD, SmallNet
from tests.reference.algorithms.notation import Log, Start, note

FILE = Path(__file__).with_name("golden.json")
SHAPE, CLASSES = (3, 8, 8), 4


@dataclass(frozen=True)
class Case:
    """A run: the method's defaults, or a preset's, but for sizes, which the algorithm gets too."""

    method: str
    algorithm: Callable[..., Log]
    rounds: int
    sizes: Mapping[str, Any]
    preset: str = ""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """For ours alone: what the algorithm has as its only way."""


STILL = {"padding": 0, "flip": False}
"""Views that draw nothing."""
STORED = {**STILL, "capacity": 100}
"""And a buffer that is never full."""
SMALL = {"batch": 6, "z_dim": 5, "width": 3}
TURNS = {**SMALL, "cycles": 2}
PHASE = {**SMALL, "g_steps": 3, "s_steps": 3}
PIXELS = {"batch": 6, "g_steps": 6, "s_steps": 3, "jitter": 1}
REAL = {"batch": 6, "s_steps": 4}
# rates and weights are the defaults, but where tiny networks would leave a step without effect: a clipped gradient
# (zskt), images on some of which both networks agree, and whose best is not the last (cmi)
CASES = {
    "kd": Case("kd", kd.distil, 2, REAL, fixed=STILL),
    "alone": Case("alone", kd.alone, 2, REAL, fixed=STILL),
    "dafl": Case("dafl", dafl.distil, 5, TURNS),
    "zskt": Case("zskt", zskt.distil, 2, {**TURNS, "s_steps": 3, "gap": 100.0}),
    "dfad": Case("dfad", dfad.distil, 5, {**TURNS, "s_steps": 2}),
    "deepinversion": Case("deepinversion", deepinversion.distil, 2, {**PIXELS, "form": "toolbox"}, fixed=STORED),
    "deepinversion_authors": Case(
        "deepinversion", deepinversion.distil, 2, {**PIXELS, "form": "authors"}, "cifar10", STORED
    ),
    "deepinversion_imagenet": Case(
        "deepinversion", deepinversion.distil, 1, {**PIXELS, "form": "imagenet", "g_steps": 104}, "imagenet", STORED
    ),
    "cmi": Case("cmi", cmi.distil, 4, {**PHASE, "g_steps": 4, "bank": 12, "negatives": 7, "g_lr": 0.02}, fixed=STORED),
    "fast": Case("fast", fast.distil, 4, {**PHASE, "warm_up": 2}, fixed=STORED),
    "nayer": Case("nayer", nayer.distil, 5, {**PHASE, "s_batch": 5, "warm_up": 2, "g_life": 2}, fixed=STORED),
    "spaceshipnet": Case("spaceshipnet", spaceshipnet.distil, 2, {**PHASE, "width": 4, "s_steps": 6}, fixed=STORED),
    "pre_dfkd": Case("pre_dfkd", pre_dfkd.distil, 2, {**TURNS, "s_steps": 3, "replayed": 4, "vae_steps": 2}),
}


class Begun(NamedTuple):
    """What a run of ours and the algorithm both start from."""

    run: Recorded
    teacher: SmallNet
    student: SmallNet
    weights: Start
    random: Tensor
    """The state of the random numbers."""


class Recorded(Run):
    """A run that notes the losses of every step, and what is made of them: what each optimizer is given."""

    def __init__(self, composed: ComposedRun):
        super().__init__(composed)
        self.log: Log = {}
        recipe = self.recipe
        self._note_first(recipe.synthesizer, "step", lambda loss, observation: {"synthesis": loss})
        self._note_first(recipe.memory, "feedback", lambda batch, losses: {"distillation": losses.mean()})
        if isinstance(recipe.memory, VAEMemory):
            learn = recipe.memory.loss
            recipe.memory.loss = lambda images: self._noted("vae", learn(images))  # type: ignore[method-assign]

    def _note_first(self, owner: Any, name: str, losses: Callable[..., dict[str, Tensor]]) -> None:
        """Let ``owner.name`` note the losses that it is called with."""
        method = getattr(owner, name)

        def noting(*arguments: Any) -> None:
            note(self.log, **losses(*arguments))
            method(*arguments)

        setattr(owner, name, noting)

    def _noted(self, name: str, loss: Tensor) -> Tensor:
        note(self.log, **{name: loss})
        return loss

    def _synthesis_step(self, losses: Any, needs: frozenset[str]) -> dict[str, Tensor]:
        means = super()._synthesis_step(losses, needs)
        note(self.log, **means)
        return means

    def _student_step(self, losses: Any, needs: frozenset[str]) -> Any:
        output = super()._student_step(losses, needs)
        note(self.log, **output.means)
        return output


@contextmanager
def double_precision() -> Iterator[None]:
    """Everything in 64 bits, also what asks for 32 to leave 16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with patch.object(torch.Tensor, "float", torch.Tensor.double):
            yield
    finally:
        torch.set_default_dtype(before)


def networks() -> tuple[SmallNet, SmallNet]:
    """A teacher that is sure of something, with statistics of its own, and a fresh student."""
    with preserved():
        torch.manual_seed(1)
        teacher, student = SmallNet((6, 8), CLASSES), SmallNet((4, 5), CLASSES)
        for norm in teacher.norms:
            for values, low, high in ((norm.running_mean, -1, 1), (norm.running_var, 0.3, 2), (norm.weight, 0.5, 1.5)):
                nn.init.uniform_(values, low, high)
            nn.init.normal_(norm.bias)
        nn.init.normal_(teacher.fc.weight, std=2)
    return teacher.requires_grad_(False).eval(), student


def begun(case: Case) -> Begun:
    """The run, and copies of what it starts from."""
    teacher, student = networks()
    copies = copy.deepcopy(teacher), copy.deepcopy(student)
    method = METHODS[case.method]
    preset = {name: value for name, value in method.presets.get(case.preset, {}).items() if name != "rounds"}
    composed = ComposedRun.of(
        method(**{**preset, **case.sizes, **case.fixed}), Frozen(teacher, MEAN, STD),
        lambda: Classifier(student, MEAN, STD), shape=SHAPE, classes=CLASSES, rounds=case.rounds, seed=0,
    )  # fmt: skip
    composed.give_real_images(*real_images())
    weights = starting_weights(composed.recipe)
    random = composed.rng.state_dict()["cpu"].clone()
    return Begun(Recorded(composed), *copies, weights, random)


def real_images() -> tuple[Tensor, Tensor]:
    """A few, with labels; only a reference takes them."""
    with preserved():
        torch.manual_seed(2)
        return torch.rand(20, *SHAPE), torch.randint(0, CLASSES, (20,))


def starting_weights(recipe: Recipe) -> Start:
    """State dicts of the networks that a method has besides teacher and student."""
    contrast = recipe.losses.get("contrast")
    modules = {
        "generator": getattr(recipe.synthesizer, "net", None),
        "code": getattr(recipe.synthesizer, "code", None),
        "decoder": getattr(recipe.memory, "decoder", None),
        "encoder": getattr(recipe.memory, "encoder", None),
        "projection": getattr(contrast.loss, "projection", None) if contrast else None,
    }
    states = {name: copy.deepcopy(each.state_dict()) for name, each in modules.items() if isinstance(each, nn.Module)}
    constants = ("mean", "std")  # of the teacher's normalization
    weights = {name: {key: state[key] for key in state if key not in constants} for name, state in states.items()}
    given = {name: getattr(recipe.synthesizer, name, None) for name in ("images", "labels")}
    return {**weights, "real": given}


def losses_of(case: Case) -> tuple[Log, Log]:
    """Those of a run of ours, and those of the algorithm."""
    with double_precision():
        run, teacher, student, weights, random = begun(case)
        for _ in run:
            pass
        with preserved():
            torch.set_rng_state(random)
            return run.log, case.algorithm(teacher, student, weights, rounds=case.rounds, **case.sizes)


def stored() -> dict[str, Log]:
    """The numbers in the file."""
    return json.loads(FILE.read_text())


def largest_difference(one: Log, other: Log) -> float:
    """The largest relative difference of two values of the same loss and step; infinite where one is missing."""
    if {name: len(values) for name, values in one.items()} != {name: len(values) for name, values in other.items()}:
        return float("inf")
    pairs = [pair for name in one for pair in zip(one[name], other[name], strict=True)]
    return max(abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0 for a, b in pairs)


def main() -> None:
    """Write the file, and print how far ours is from each algorithm."""
    numbers = {}
    for name, case in CASES.items():
        ours, numbers[name] = losses_of(case)
        print(f"{name:24} {largest_difference(ours, numbers[name]):.1e}")
    text = json.dumps(numbers, indent=1)
    FILE.write_text(re.sub(r"\[[^][]*\]", lambda found: " ".join(found[0].split()), text) + "\n")


if __name__ == "__main__":
    main()
