"""SpaceshipNet (Yu et al., CVPR 2023): channel exchange of stored maps, and class activation maps."""

import torch
from torch import Tensor

from tests.reference.algorithms.networks import Generator, Pass, SmallNet, normalized
from tests.reference.algorithms.notation import (
    Log,
    Start,
    balanced_labels,
    bn,
    cosine,
    cross_entropy,
    kl,
    loaded,
    note,
    set_rate,
    statistics,
)


def exchanged(maps: Tensor) -> Tensor:
    """Map i with a random half of its channels from map B - 1 - i, a new half for each image."""
    mixed = maps.clone()
    order = torch.rand(maps.shape[:2]).argsort(1)
    for i in range(len(maps)):
        taken = order[i] < maps.shape[1] // 2
        mixed[i, taken] = maps[len(maps) - 1 - i, taken]
    return mixed


def cam(net: SmallNet, seen: Pass) -> Tensor:
    """The last map through the classifier's weights as a 1x1 convolution: one map a class."""
    return torch.einsum("kc,nchw->nkhw", net.fc.weight.detach(), seen.maps[-1])


def grad_cams(seen: Pass, k: Tensor) -> list[Tensor]:
    """sum_c mean_hw( d logit_k / d A )_c A_c of each stage, the gradients as constants."""
    chosen = seen.logits[torch.arange(len(k)), k].sum()
    gradients = torch.autograd.grad(chosen, seen.maps, retain_graph=True)
    return [(g.mean((2, 3), keepdim=True) * a).sum(1) for g, a in zip(gradients, seen.maps, strict=True)]


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, batch: int, z_dim: int, width: int,
    g_steps: int, s_steps: int, oh_w: float = 0.5, bn_w: float = 1.0, share: float = 0.7,
    g_lr: float = 1e-3, s_lr: float = 0.1, tau: float = 30.0,
) -> Log:  # fmt: skip
    log: Log = {}
    pools: list[list[Tensor]] = [[], [], []]
    generator = loaded(start["generator"], Generator, z_dim, width)
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=1e-4)
    classes = teacher.fc.out_features
    for round in range(rounds):
        y = balanced_labels(batch, classes)
        z = torch.randn(batch, z_dim)  # not trained
        optimizer = torch.optim.Adam(generator.parameters(), lr=g_lr, betas=(0.5, 0.999))
        generator.train()
        for _ in range(g_steps):
            seen = teacher.layers(normalized(generator(z)))
            given, gap = cross_entropy(seen.logits, y), bn(teacher, statistics(seen.inputs))
            loss = oh_w * given + bn_w * gap
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            note(log, label=given, bn_gap=gap, synthesis=loss)
        generator.eval()
        # Differs: the maps that the noise has at the end, in half precision, not those of the best step
        for pool, maps in zip(pools, generator.maps(z), strict=True):
            pool.append(maps.detach().half())
        student.train()
        for step in range(s_steps):
            # Differs: the rate falls step by step
            set_rate(s_optimizer, cosine((round * s_steps + step) / (rounds * s_steps), s_lr))
            depth = int(torch.rand(()) * 3)
            stored = torch.cat(pools[depth]).double()
            maps = stored[torch.randint(0, len(stored), (batch,))]  # Differs: with replacement
            if torch.rand(()) < share:
                maps = exchanged(maps)
            x = normalized(generator.decode(depth, maps).detach()).requires_grad_()
            theirs, mine = teacher.layers(x), student.layers(x)
            k = theirs.logits.argmax(1)
            divergence = kl(theirs.logits.detach(), mine.logits, tau).mean()
            apart = (cam(student, mine) - cam(teacher, theirs).detach()).pow(2).mean()
            pairs = zip(grad_cams(mine, k), grad_cams(theirs, k), strict=True)
            grad_apart = torch.stack([(one - other.detach()).pow(2).mean() for one, other in pairs]).sum()
            loss = divergence / classes + apart + grad_apart  # the KL is a mean over classes too
            s_optimizer.zero_grad()
            loss.backward()
            s_optimizer.step()
            note(log, kd=divergence, cam=apart, grad_cam=grad_apart, distillation=loss)
    return log
