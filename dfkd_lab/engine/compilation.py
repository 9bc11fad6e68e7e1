"""torch.compile of a run's networks."""

from __future__ import annotations

import contextlib
import functools

import torch

from dfkd_lab.engine.recipe import Recipe
from dfkd_lab.errors import RecipeError, SpecError
from dfkd_lab.nets import Encoder, Generator
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.observer import Observer


@functools.cache
def check(requested: bool, device: torch.device) -> None:
    """Refuse to compile where torch.compile does not work, found by compiling something small.

    Raises:
        SpecError: with torch's reason.
    """
    if not requested:
        return
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise SpecError(f"compile = True, but torch.compile does not work here ({reason}); allowed: False") from None


def compile_networks(observer: Observer, recipe: Recipe) -> None:
    """Compile what ``observer`` runs, and the networks in synthesizer, memory and losses, for the shapes they meet.

    Raises:
        RecipeError: if a loss needs what a compiled network does not give.
    """
    for name, each in recipe.all_losses().items():
        if each.weight and "gradients" in needs_of(each.loss):
            raise RecipeError(
                f"'{name}' differentiates by the feature maps inside a network, which a compiled network does not give;"
                f" allowed: compile = False, or terms = '{name}=0'"
            )
    networks = dict.fromkeys((observer.teacher, observer.folded_teacher, observer.student))
    parts = [part for owner in recipe.modules().values() for part in owner.modules()]
    for network in (*networks, *(part for part in parts if isinstance(part, (Generator, Encoder)))):
        network.compile(dynamic=False)


def many_shapes() -> contextlib.AbstractContextManager[object]:
    """Inside, a network may be compiled anew 64 times: by mode, and by what of it is recorded."""
    return torch._dynamo.config.patch(recompile_limit=64)
