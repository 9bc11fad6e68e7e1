"""DAFL (Chen et al., ICCV 2019): the settings are those for CIFAR-10."""

import torch

from tests.reference.algorithms.networks import Generator, SmallNet
from tests.reference.algorithms.notation import Log, Start, cross_entropy, kl, loaded, note, set_rate


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, cycles: int, batch: int, z_dim: int, width: int,
    a: float = 0.05, b: float = 5.0, c: float = 0.01, g_lr: float = 0.02, s_lr: float = 0.1,
) -> Log:  # fmt: skip
    log: Log = {}
    generator = loaded(start["generator"], Generator, z_dim, width, "tanh", eps=0.8)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=g_lr)
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=5e-4)
    for epoch in range(rounds):
        # x .1 at 800 and 1600 of 2000 epochs
        set_rate(s_optimizer, s_lr * 0.1 ** ((epoch >= 0.4 * rounds) + (epoch >= 0.8 * rounds)))
        for _ in range(cycles):
            x = generator(torch.randn(batch, z_dim))  # tanh and batch norm give network units
            seen = teacher.layers(x)
            t = seen.logits
            mean_p = t.softmax(1).mean(0)
            one_hot = cross_entropy(t, t.argmax(1))
            active = -seen.feature.abs().mean()
            balance = (mean_p * mean_p.log10()).sum()
            l_g = a * one_hot + b * balance + c * active
            l_s = kl(t.detach(), student.train()(x.detach())).mean()
            g_optimizer.zero_grad()
            s_optimizer.zero_grad()
            (l_g + l_s).backward()
            g_optimizer.step()
            s_optimizer.step()
            note(log, confidence=one_hot, activation=active, balance=balance, synthesis=l_g, kd=l_s, distillation=l_s)
    return log
