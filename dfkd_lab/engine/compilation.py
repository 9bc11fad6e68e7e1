"""torch.compile of a run's networks: which parts, how, and what is left as it was.

Views, losses and optimizers stay as they are: a view draws random numbers, which have to be the run's own, the losses
are few operations, and torch's optimizers are fused already.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import math
from typing import Any

import torch
from torch import nn

from dfkd_lab.engine.recipe import Recipe
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import Encoder
from dfkd_lab.nets.generators import ImageGenerator
from dfkd_lab.primitives.losses import needs_of
from dfkd_lab.primitives.observer import Observer

COMPILED = "compiled"
FEWEST_STEPS = 10_000
"""Those of a run for which "auto" compiles. Inferred, from one pair on one H100: ResNet-56 → ResNet-20 takes 94 s to
compile, and a student step 5 to 6 ms instead of 17, which were timed beside a compiler. Networks of more layers take
longer to compile and save more."""


def is_wanted(compile: str, device: torch.device, steps: float = math.inf) -> bool:
    """What the setting "yes", "no" or "auto" means on ``device``: auto compiles on a CUDA GPU alone, for a long run.

    There a step is hundreds of small kernels, each launched by the host, and a graph is launched once.

    Args:
        compile: The setting.
        device: Where the run computes.
        steps: Of the run, of both kinds; :data:`FEWEST_STEPS` and more are a long one.
    """
    return compile == "yes" or (compile == "auto" and device.type == "cuda" and steps >= FEWEST_STEPS)


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
        raise SpecError(f"compile = yes, but torch.compile does not work here ({reason(error)}); allowed: no") from None


def reason(error: Exception) -> str:
    """The first line of what torch says of a failure that tells something."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.endswith("raised:")]
    return (lines or [type(error).__name__])[0].strip()[:160]


def described(device: torch.device) -> dict[str, str]:
    """What compiles for ``device``, and where it leaves its files; for the record."""
    # only now: the compiler takes seconds to import, which no run that does without it shall wait for
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.runtime.cache_dir_utils import cache_dir
    from torch.utils._triton import has_triton

    if device.type == "cuda":
        compiler = f"triton {importlib.metadata.version('triton')}" if has_triton() else "unknown"
    else:
        compiler = get_cpp_compiler()
    return {"backend": "inductor", "compiler": compiler, "files": cache_dir()}


def compile_networks(observer: Observer, recipe: Recipe, device: torch.device) -> dict[str, str]:
    """Compile what ``observer`` runs, and the networks in synthesizer, memory and losses, for the shapes they meet.

    Args:
        observer: Of teacher and student.
        recipe: The slots.
        device: On a CUDA GPU, what is compiled is launched as one graph.

    Returns:
        Of each network, "compiled", or why it is not.
    """
    networks: dict[str, nn.Module] = {"teacher": observer.teacher, "student": observer.student}
    if observer.folded_teacher is not observer.teacher:
        networks["folded teacher"] = observer.folded_teacher
    for owner, module in recipe.modules().items():
        for name, part in module.named_modules():
            if isinstance(part, (ImageGenerator, Encoder)):
                networks[f"{owner}.{name}".rstrip(".")] = part
    why_not = _differentiated(recipe)
    blocked = dict.fromkeys(("teacher", "student"), why_not) if why_not else {}
    how: dict[str, Any] = {"mode": "reduce-overhead"} if device.type == "cuda" else {}
    for name, network in networks.items():
        if name not in blocked:
            network.compile(dynamic=False, **how)
    return {name: blocked.get(name, COMPILED) for name in networks}


def leave_out(observer: Observer, recipe: Recipe) -> None:
    """Run every network as it was before it was compiled."""
    owners = (observer.teacher, observer.folded_teacher, observer.student, *recipe.modules().values())
    for part in (part for owner in owners for part in owner.modules()):
        part._compiled_call_impl = None


def step_begins() -> None:
    """Tell CUDA graphs that what the last step's networks gave may be overwritten; for one step, all of it is kept."""
    if torch.cuda.is_available():
        torch.compiler.cudagraph_mark_step_begin()


def many_shapes() -> contextlib.AbstractContextManager[object]:
    """Inside, a network may be compiled anew very often: by mode, by what of it is recorded, and for every run."""
    return torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=10_000)


def _differentiated(recipe: Recipe) -> str:
    """Why teacher and student cannot be compiled; empty if they can."""
    for name, each in recipe.all_losses().items():
        if each.weight and "gradients" in needs_of(each.loss):
            return f"'{name}' differentiates by the feature maps inside, which a compiled network does not give"
    return ""
