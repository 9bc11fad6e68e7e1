"""NAYER (Tran et al., CVPR 2024): label embeddings through noisy layers."""

import torch
from torch import Tensor, nn

from tests.reference.algorithms.networks import Generator, SmallNet, normalized
from tests.reference.algorithms.notation import (
    Log,
    Start,
    adv_mask,
    as_bytes,
    balanced_labels,
    blended,
    bn,
    cosine,
    cross_entropy,
    detached,
    kd_step,
    loaded,
    note,
    set_rate,
    statistics,
    uniformly,
)


class Source(nn.Module):
    """x = G(v), v = NL_j( BN1d(c_y) ): one noisy layer for every C images."""

    def __init__(self, z_dim: int, width: int, embeddings: Tensor):
        super().__init__()
        self.embeddings = embeddings
        self.generator = Generator(z_dim, width)
        self.norm = nn.BatchNorm1d(embeddings.shape[1])
        self.layers = nn.ModuleList()

    def draw_layers(self, count: int, z_dim: int) -> None:
        """Weights N(0, 1), bias 0."""
        length = self.embeddings.shape[1]
        weights = torch.randn(count, z_dim, length)
        with torch.random.fork_rng(devices=[]):
            layers = [nn.Linear(length, z_dim) for _ in range(count)]
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight.data = weight
            layer.bias.data.zero_()
        self.layers = nn.ModuleList(layers)

    def forward(self, y: Tensor) -> Tensor:
        classes = len(self.embeddings)
        c = self.norm(self.embeddings[y])
        v = [layer(c[classes * j : classes * (j + 1)]) for j, layer in enumerate(self.layers)]
        return self.generator(torch.cat(v))


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, warm_up: int, batch: int, s_batch: int,
    z_dim: int, width: int, g_steps: int, s_steps: int, g_life: int, cycles: int = 2,
    bn_w: float = 10.0, oh_w: float = 0.5, adv_w: float = 1.33, beta: float = 0.9,
    g_lr: float = 4e-3, s_lr: float = 0.2, s_lr_floor: float = 2e-4, tau: float = 20.0,
) -> Log:  # fmt: skip
    log: Log = {}
    pool: list[Tensor] = []
    ema: list[tuple[Tensor, Tensor]] = []
    classes, embeddings = teacher.fc.out_features, start["code"]["table"]  # Differs: random ones, not CLIP's
    with torch.random.fork_rng(devices=[]):
        source = Source(z_dim, width, embeddings)
    source.generator = loaded(start["generator"], Generator, z_dim, width)
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=1e-4)
    for epoch in range(rounds):
        if epoch and (epoch % g_life == 0 or (epoch - warm_up) % g_life == 0):
            source = Source(z_dim, width, embeddings)  # all of it, with its batch norm
        for loop in range(cycles):
            y = balanced_labels(batch, classes)
            source.draw_layers(-(-batch // classes), z_dim)
            optimizer = torch.optim.Adam(source.parameters(), lr=g_lr, betas=(0.5, 0.999))
            lowest, best = float("inf"), y
            student.eval()  # Differs: in each loop; theirs is in train mode from a round's second on
            for _ in range(g_steps):
                x = source(y)
                seen = teacher.layers(normalized(x))
                now = statistics(seen.inputs)
                given, gap = cross_entropy(seen.logits, y), bn(teacher, blended(now, ema, beta))
                loss = bn_w * gap + oh_w * given
                note(log, label=given, bn_gap=gap)
                if epoch >= warm_up:  # with the student's first step, where FastDFKD begins a call before it
                    adversarial = adv_mask(seen.logits, student(normalized(x)))
                    loss = loss + adv_w * adversarial
                    note(log, gap=adversarial)
                note(log, synthesis=loss)
                if loss.item() < lowest:
                    lowest, best = loss.item(), x.detach().clone()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            ema = detached(blended(now, ema, beta))  # once a loop
            pool.append(as_bytes(best))
            for step in range(s_steps if epoch >= warm_up else 0):
                # Differs: each loop is followed by its share of the student's steps; the rate falls step by step
                done = ((epoch - warm_up) * cycles + loop) * s_steps + step
                share = done / ((rounds - warm_up) * cycles * s_steps)
                set_rate(s_optimizer, cosine(share, s_lr, s_lr_floor))
                kd_step(log, teacher, student, s_optimizer, normalized(uniformly(pool, s_batch)), tau)
    return log
