"""torch.compile of a run's networks."""

from __future__ import annotations

import functools

import torch

from dfkd_lab.nets import Encoder, Generator
from dfkd_lab.primitives.observe import Observer
from dfkd_lab.primitives.terms import needs_of
from dfkd_lab.recipe import Recipe, RecipeError
from dfkd_lab.spec import SpecError


@functools.cache
def check(wish: bool, device: torch.device) -> None:
    """Refuse the wish to compile where torch.compile does not work, found by compiling something small.

    Raises:
        SpecError: with torch's reason.
    """
    if not wish:
        return
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise SpecError(f"compile = True, but torch.compile does not work here ({reason}); allowed: False") from None


def compile_networks(observer: Observer, recipe: Recipe) -> None:
    """Compile what ``observer`` asks, and the networks in synthesizer, memory and terms, each for the shapes it meets.

    Raises:
        RecipeError: if a term needs what a compiled network does not give.
    """
    for name, row in {**recipe.terms, **recipe.student}.items():
        if row.weight and "gradients" in needs_of(row.term):
            raise RecipeError(
                f"'{name}' differentiates by the maps inside a network, which a compiled network does not give; "
                f"allowed: compile = False, or terms = '{name}=0'"
            )
    torch._dynamo.config.recompile_limit = 64  # by mode, by what is recorded, and by the methods of one process
    seen = dict.fromkeys((observer.teacher, observer.oracle, observer.student))
    parts = [part for owner in recipe.modules().values() for part in owner.modules()]
    for network in (*seen, *(part for part in parts if isinstance(part, (Generator, Encoder)))):
        network.compile(dynamic=False)
