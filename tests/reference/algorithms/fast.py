"""FastDFKD (Fang et al., AAAI 2022): k steps of a clone, whose gradients move the generator (FOMAML)."""

import copy
from typing import Any

import torch
from torch import Tensor

from tests.reference.algorithms.networks import Generator, SmallNet, normalized
from tests.reference.algorithms.notation import (
    Log,
    Start,
    adv_mask,
    as_bytes,
    blended,
    bn,
    cosine,
    cross_entropy,
    detached,
    kd_step,
    loaded,
    note,
    random_labels,
    set_rate,
    statistics,
    uniformly,
)


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, warm_up: int, batch: int, z_dim: int,
    width: int, g_steps: int, s_steps: int,
    bn_w: float = 10.0, oh_w: float = 0.5, adv_w: float = 1.33, beta: float = 0.9,
    g_lr: float = 3e-3, z_lr: float = 0.01, s_lr: float = 0.2, s_lr_floor: float = 2e-4, tau: float = 20.0,
) -> Log:  # fmt: skip
    log: Log = {}
    pool: list[Tensor] = []
    ema: list[tuple[Tensor, Tensor]] = []
    generator = loaded(start["generator"], Generator, z_dim, width)
    meta = torch.optim.Adam(generator.parameters(), lr=g_steps * g_lr, betas=(0.5, 0.999))
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=1e-4)
    for call in range(1, rounds + 1):
        clone = copy.deepcopy(generator)
        z = torch.randn(batch, z_dim).requires_grad_()
        y = random_labels(batch, teacher.fc.out_features)
        groups: list[dict[str, Any]] = [{"params": list(clone.parameters())}, {"params": [z], "lr": z_lr}]
        optimizer = torch.optim.Adam(groups, lr=g_lr, betas=(0.5, 0.999))
        meta.zero_grad()
        total = [torch.zeros_like(weight) for weight in generator.parameters()]
        lowest, best = float("inf"), z
        student.eval()
        for _ in range(g_steps):
            x = clone(z)
            seen = teacher.layers(normalized(x))
            now = statistics(seen.inputs)
            given, gap = cross_entropy(seen.logits, y), bn(teacher, blended(now, ema, beta))
            loss = bn_w * gap + oh_w * given
            note(log, label=given, bn_gap=gap)
            if call >= warm_up:  # in the code calls count from 1: a call before the student's first step
                adversarial = adv_mask(seen.logits, student(normalized(x)))
                loss = loss + adv_w * adversarial
                note(log, gap=adversarial)
            note(log, synthesis=loss)
            if loss.item() < lowest:
                lowest, best = loss.item(), x.detach().clone()
            optimizer.zero_grad()
            loss.backward()
            total = [summed + weight.grad for summed, weight in zip(total, clone.parameters(), strict=True)]
            optimizer.step()
        ema = detached(blended(now, ema, beta))  # with the last step's statistics
        for weight, gradient in zip(generator.parameters(), total, strict=True):
            weight.grad = gradient
        meta.step()
        pool.append(as_bytes(best))
        if call <= warm_up:
            continue
        for step in range(s_steps):
            # Differs: the cosine ends with the run, and falls step by step
            share = ((call - 1 - warm_up) * s_steps + step) / ((rounds - warm_up) * s_steps)
            set_rate(s_optimizer, cosine(share, s_lr, s_lr_floor))
            kd_step(log, teacher, student, s_optimizer, normalized(uniformly(pool, batch)), tau)
    return log
