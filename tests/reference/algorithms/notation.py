"""What the cards of several methods write as one symbol, and the book that the losses are noted in."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tests.reference.algorithms.networks import SmallNet

Log = dict[str, list[float]]
"""The values of each loss, unweighted, one a step in which it counts."""
Start = Mapping[str, Mapping[str, Any]]
"""State dicts that a run starts from, by name."""


def note(log: Log, **losses: Tensor) -> None:
    """Write down the losses of a step; "synthesis", "distillation" and "vae" are what an optimizer is given."""
    for name, loss in losses.items():
        log.setdefault(name, []).append(float(loss.detach()))


def cross_entropy(t: Tensor, y: Tensor) -> Tensor:
    """CE(t(x), y)."""
    return -t.log_softmax(1)[torch.arange(len(t)), y].mean()


def kl(t: Tensor, s: Tensor, tau: float = 1.0) -> Tensor:
    """tau^2 KL(p_T || p_S) of each sample, summed over classes."""
    p_t, p_s = (t / tau).softmax(1), (s / tau).softmax(1)
    return tau**2 * (p_t * (p_t.log() - p_s.log())).sum(1)


def adv_mask(t: Tensor, s: Tensor) -> Tensor:
    """-mean_i( 1[argmax s_i = argmax t_i] KL(p_T || p_S)_i )."""
    return -((s.argmax(1) == t.argmax(1)) * kl(t, s)).mean()


def statistics(inputs: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Mean and biased variance of each channel of each layer's input."""
    return [(a.mean((0, 2, 3)), a.var((0, 2, 3), unbiased=False)) for a in inputs]


def bn(teacher: SmallNet, now: list[tuple[Tensor, Tensor]], first: float = 1.0) -> Tensor:
    """sum_l ||mu_l - running mean|| + ||var_l - running variance||, norms not squared, layer 1 ``first`` times."""
    total, factor = torch.zeros(()), first
    for norm, (mean, variance) in zip(teacher.norms, now, strict=True):
        total = total + factor * (mean - norm.running_mean).pow(2).sum().sqrt()
        total = total + factor * (variance - norm.running_var).pow(2).sum().sqrt()
        factor = 1.0
    return total


def blended(now: list[tuple[Tensor, Tensor]], ema: list[tuple[Tensor, Tensor]], beta: float) -> list[Any]:
    """(1 - beta) m + beta m_ema of each statistic m; m itself while there is no average yet."""
    if not ema:
        return now
    pairs = zip(now, ema, strict=True)
    return [tuple((1 - beta) * m + beta * old for m, old in zip(new, before, strict=True)) for new, before in pairs]


def detached(now: list[tuple[Tensor, Tensor]]) -> list[Any]:
    """The same numbers as constants."""
    return [tuple(m.detach() for m in layer) for layer in now]


def random_labels(n: int, classes: int) -> Tensor:
    """Uniform; the papers' code sorts them, which changes no loss, because noise has no order."""
    return torch.randint(0, classes, (n,))


def balanced_labels(n: int, classes: int) -> Tensor:
    """0 to C - 1 repeated, the remainder at random."""
    spare = torch.randint(0, classes, (n,))  # ours draws one for every image, and uses the last
    whole = n - n % classes
    return torch.cat([torch.arange(whole) % classes, spare[whole:]])


def cosine(share: float, start: float, floor: float = 0.0) -> float:
    """From start to floor along half a cosine."""
    return floor + (start - floor) / 2 * (1 + math.cos(math.pi * share))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def as_bytes(x: Tensor) -> Tensor:
    """Images as an image file keeps them: 255 x cut off."""
    return (x.clamp(0, 1) * 255).to(torch.uint8)


def from_bytes(x: Tensor) -> Tensor:
    """Images in [0, 1] again."""
    return x.to(torch.get_default_dtype()) / 255


def kd_step(
    log: Log, teacher: SmallNet, student: SmallNet, optimizer: torch.optim.Optimizer, x: Tensor, tau: float
) -> None:
    """One step of ordinary KD on these images, in network units."""
    student.train()
    loss = kl(teacher(x).detach(), student(x), tau).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    note(log, kd=loss, distillation=loss)


def uniformly(pool: list[Tensor], n: int) -> Tensor:
    """n images of the pool, with replacement, in [0, 1]."""
    images = torch.cat(pool)
    return from_bytes(images[torch.randint(0, len(images), (n,))])


def loaded(state: Mapping[str, Any], make: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """A network with these weights; making it draws no random numbers of the run."""
    with torch.random.fork_rng(devices=[]):
        module = make(*arguments, **more)
    module.load_state_dict(state)
    return module.train()
