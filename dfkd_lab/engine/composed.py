"""A method composed with its networks: everything a run is made of, still on the CPU, before its first step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from dfkd_lab.engine.precision import Autocast
from dfkd_lab.engine.recipe import Method, MethodContext, Recipe, call_hooks
from dfkd_lab.errors import RecipeError
from dfkd_lab.nets.generators import ImageGenerator
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.last_maps import why_no_activation_map
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.primitives.synthesizers import FixedImages
from dfkd_lab.system.rng import RNGState, preserved


@dataclass
class ComposedRun:
    """Networks, observer and recipe of one run, and its random numbers as they stand once all of it is drawn.

    ``teacher`` may get its weights later: a method reads the teacher's structure while it composes, never its weights.
    """

    teacher: Frozen
    student: nn.Module
    observer: Observer
    recipe: Recipe
    rng: RNGState
    autocast: Autocast
    shape: tuple[int, int, int]
    classes: int
    rounds: int
    cache_views: int

    @property
    def device(self) -> torch.device:
        """What the run will compute on."""
        return self.autocast.device

    @classmethod
    def of(
        cls, method: Method, teacher: Frozen, student: Callable[[], nn.Module], *,
        shape: tuple[int, int, int], classes: int, rounds: int, seed: int,
        device: torch.device | str = "cpu", precision: str = "fp32", cache_views: int = 0,
        generator: str = "auto", optimizer: str = "auto", task: str = "classification",
    ) -> ComposedRun:  # fmt: skip
        """Compose ``method``.

        Args:
            method: Fills the slots.
            teacher: Takes images [N, *shape] in [0, 1].
            student: Makes a fresh student.
            shape: Of the images, [C, H, W].
            classes: K.
            rounds: Of the run.
            seed: Of all its random numbers.
            device: What the run will compute on.
            precision: "fp32", or "bf16" for the passes of networks; losses and weights stay in 32 bits.
            generator: "auto", or the published one that draws images instead, "dcgan" or "deep".
            optimizer: Of the student, "sgd" or "adam"; "auto" is the method's own.
            cache_views: Views of each stored image that are kept with the teacher's logits; 0 draws a view a read.
            task: "classification", or "segmentation" of networks that give logits [N, K, H, W].

        Raises:
            RecipeError: if slots, teacher or student do not fit together.
        """
        device = torch.device(device)
        rng, autocast = RNGState(seed, device), Autocast(device, precision)
        with rng:
            network = student()
            observer = Observer(teacher, network, autocast, shape=shape)
            recipe = method.compose(MethodContext(teacher, observer, shape, classes, rounds, generator, task))
            _adapt(recipe, network, optimizer)
        recipe.check(bool(observer.batch_norms), observer.heads[0] is not None, task)
        _refuse_misfits(recipe, method, observer, shape, generator)
        if cache_views:
            recipe.memory = recipe.cached(cache_views, observer, classes)
        call_hooks(recipe.all_losses(), "bind", recipe.memory)
        return cls(teacher, network, observer, recipe, rng, autocast, shape, classes, rounds, cache_views)

    def give_real_images(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Hand real images [N, C, H, W] and labels [N] to a reference; no other recipe can hold any."""
        if isinstance(self.recipe.synthesizer, FixedImages):
            with self.rng:  # which of them are taken is drawn
                self.recipe.synthesizer.give(images, labels)


def _refuse_misfits(
    recipe: Recipe, method: Method, observer: Observer, shape: tuple[int, int, int], generator: str
) -> None:
    _refuse_undeclared_images(recipe, method)
    _refuse_another_shape(recipe, shape)
    _refuse_unused_generator(recipe, generator)
    _refuse_no_activation_map(recipe, observer, shape)


def _refuse_undeclared_images(recipe: Recipe, method: Method) -> None:
    if isinstance(recipe.synthesizer, FixedImages) and not getattr(method, "reads_real_images", False):
        raise RecipeError("there are no real images here; only a reference, declared as such, is given any")


def _refuse_no_activation_map(recipe: Recipe, observer: Observer, shape: tuple[int, int, int]) -> None:
    """A loss on class activation maps is about the logits only where their spatial mean is."""
    names = [name for name, each in recipe.all_losses().items() if each.weight and "last_maps" in needs_of(each.loss)]
    if not names:
        return
    images, networks = torch.linspace(0, 1, 2 * math.prod(shape)).view(2, *shape), (observer.teacher, observer.student)
    for who, network, last, head in zip(
        ("teacher", "student"), networks, observer.last_maps, observer.heads, strict=True
    ):
        with preserved():
            reason = why_no_activation_map(network, last, head, images)
        if reason:
            raise RecipeError(
                f"'{names[0]}' compares class activation maps, whose spatial means are the logits, and the {who} "
                f"({type(_net_of(network)).__name__}) {reason}; leave it out with {names[0]} = 0, or "
                f"terms = '{names[0]}=0'"
            )


def _adapt(recipe: Recipe, student: nn.Module, optimizer: str) -> None:
    """The student's weights as the recipe starts them, and the optimizer that is asked for."""
    recipe.initialize_student(_net_of(student))
    if optimizer not in ("auto", recipe.schedule.optimizer):
        recipe.schedule = recipe.schedule.by(optimizer)


def _net_of(network: nn.Module) -> nn.Module:
    """What is inside a :class:`~dfkd_lab.nets.wrap.Classifier`."""
    return network.net if isinstance(network, Classifier) else network


def _refuse_another_shape(recipe: Recipe, shape: tuple[int, int, int]) -> None:
    """What is drawn is what the teacher takes: a network that averages over places would not notice another size."""
    if isinstance(recipe.synthesizer, FixedImages):  # they are compared when they are given
        return
    with preserved(), torch.no_grad():
        trial = copy.deepcopy(recipe.synthesizer)
        trial.n = 2  # type: ignore[attr-defined]
        trial.open()
        images = recipe.view(trial.render().images)
    if tuple(images.shape[1:]) != shape:
        drawn, wanted = ("x".join(map(str, each)) for each in (images.shape[1:], shape))
        name = type(recipe.synthesizer).__name__
        raise RecipeError(f"the teacher takes images of {wanted} (channels x height x width), and {name} draws {drawn}")


def _refuse_unused_generator(recipe: Recipe, generator: str) -> None:
    if generator != "auto" and not isinstance(getattr(recipe.synthesizer, "net", None), ImageGenerator):
        name = type(recipe.synthesizer).__name__
        raise RecipeError(f"generator = '{generator}', and {name} draws without one; allowed: generator = 'auto'")
