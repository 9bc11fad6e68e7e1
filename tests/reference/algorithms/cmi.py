"""CMI (Fang et al., IJCAI 2021), from scratch, the temperature of the contrast 0.2."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference.algorithms.networks import Generator, SmallNet, normalized
from tests.reference.algorithms.notation import (
    Log,
    Start,
    adv_mask,
    as_bytes,
    bn,
    cosine,
    cross_entropy,
    kd_step,
    loaded,
    note,
    random_labels,
    set_rate,
    statistics,
    uniformly,
)


def local_view(x: Tensor) -> Tensor:
    """A part of each image with 0.25 to 1 of its area, enlarged to all of it, linearly between pixels."""
    area, aspect, top, left = torch.rand(4, len(x), 1)
    area, aspect = 0.25 + 0.75 * area, (4 / 3) ** (2 * aspect - 1)  # log-uniform in [3/4, 4/3]
    shares = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
    places = (torch.arange(8) + 0.5) / 8  # of the pixels, along an axis from 0 to 1
    rows, columns = ((1 - share) * begin + share * places for share, begin in zip(shares, (top, left), strict=True))
    grid = torch.stack([columns[:, None, :].expand(-1, 8, -1), rows[:, :, None].expand(-1, -1, 8)], 3)
    return F.grid_sample(x, 2 * grid - 1, "bilinear", "border", align_corners=False)


def e(teacher: SmallNet, x: Tensor) -> Tensor:
    """The spatial means of every batch norm's input, side by side."""
    return torch.cat([a.mean((2, 3)) for a in teacher.layers(normalized(x)).inputs], 1)


def reset(generator: Generator) -> None:
    """Every weight anew: N(0, 0.02), of batch norms N(1, 0.02), biases 0."""
    for layer in generator.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
            mean, weight = float(isinstance(layer, nn.BatchNorm2d)), layer.weight.data
            if weight.ndim == 4:  # ours lays filters out so, and draws them in the order in which they lie
                weight = weight.to(memory_format=torch.channels_last)
            layer.weight.data = weight.normal_(mean, 0.02)
            layer.bias.data.zero_()


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, batch: int, z_dim: int, width: int,
    g_steps: int, s_steps: int, bank: int, negatives: int,
    alpha: float = 1.0, beta: float = 1.0, gamma: float = 0.5, c: float = 0.8, tau_c: float = 0.2,
    g_lr: float = 1e-3, z_lr: float = 1e-3, s_lr: float = 0.1, tau: float = 20.0,
) -> Log:  # fmt: skip
    log: Log = {}
    pool: list[Tensor] = []
    generator = loaded(start["generator"], Generator, z_dim, width)
    size = sum(norm.num_features for norm in teacher.norms)
    h = loaded(start["projection"], lambda: nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 256)))
    h_optimizer = torch.optim.Adam(h.parameters(), lr=g_lr)
    rows, written = torch.zeros(bank, 2, size), 0  # of [local, global]
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=1e-4)
    for round in range(rounds):
        if round:  # what the first round starts from was drawn like this
            reset(generator)
        y = random_labels(batch, teacher.fc.out_features)
        z = torch.randn(batch, z_dim).requires_grad_()
        groups: list[dict[str, Any]] = [{"params": list(generator.parameters())}, {"params": [z], "lr": z_lr}]
        optimizer = torch.optim.Adam(groups, lr=g_lr, betas=(0.5, 0.999))
        lowest, best = float("inf"), z
        student.eval()
        for _ in range(g_steps):
            x = generator(z)
            seen = teacher.layers(normalized(x))
            s = student(normalized(x))
            given, gap = cross_entropy(seen.logits, y), bn(teacher, statistics(seen.inputs))
            adversarial = adv_mask(seen.logits, s)
            # Differs: the local view is cut from the global one
            near, far = e(teacher, local_view(x)), torch.cat([a.mean((2, 3)) for a in seen.inputs], 1)
            old = rows[torch.randperm(min(written, bank))[:negatives]]
            q = F.normalize(h(torch.cat([near, old[:, 0]])), dim=1)
            k = F.normalize(h(torch.cat([far, old[:, 1]])), dim=1).detach()
            similar = (q @ k.T / tau_c).exp()
            each = -(similar.diagonal() / similar.sum(1)).log()
            contrast = each[:batch].mean() + (each[batch:].mean() if len(old) else 0)
            loss = alpha * gap + beta * given + gamma * adversarial + c * contrast
            note(log, label=given, bn_gap=gap, gap=adversarial, contrast=contrast, synthesis=loss)
            if loss.item() < lowest:
                lowest, best = loss.item(), x.detach().clone()
            optimizer.zero_grad()
            h_optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            h_optimizer.step()
        # Differs: the bank gets fresh views of the best images
        rows[(torch.arange(batch) + written) % bank] = torch.stack([e(teacher, local_view(best)), e(teacher, best)], 1)
        written += batch
        pool.append(as_bytes(best))
        for step in range(s_steps):
            # Differs: the rate falls step by step
            set_rate(s_optimizer, cosine((round * s_steps + step) / (rounds * s_steps), s_lr))
            kd_step(log, teacher, student, s_optimizer, normalized(uniformly(pool, batch)), tau)
    return log
