"""DFAD (Fang et al., 2019), for classification."""

import torch

from tests.reference.algorithms.networks import Generator, SmallNet
from tests.reference.algorithms.notation import Log, Start, loaded, note, set_rate


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, cycles: int, batch: int, z_dim: int, width: int,
    g_lr: float = 1e-3, s_lr: float = 0.1, s_steps: int = 5,
) -> Log:  # fmt: skip
    log: Log = {}
    generator = loaded(start["generator"], Generator, z_dim, width, "tanh")
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=g_lr)
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=5e-4)
    student.train()  # also while the generator steps
    for epoch in range(rounds):
        # both x .1 at 100 and 200 of 500 epochs
        decay = 0.1 ** ((epoch >= 0.2 * rounds) + (epoch >= 0.4 * rounds))
        set_rate(g_optimizer, g_lr * decay)
        set_rate(s_optimizer, s_lr * decay)
        for _ in range(cycles):
            # Differs: the generator moves first
            x = generator(torch.randn(batch, z_dim))
            loss = -(student(x) - teacher(x)).abs().mean()
            g_optimizer.zero_grad()
            loss.backward()
            g_optimizer.step()
            note(log, gap=loss, synthesis=loss)
            for _ in range(s_steps):
                x = generator(torch.randn(batch, z_dim)).detach()
                loss = (student(x) - teacher(x)).abs().mean()
                s_optimizer.zero_grad()
                loss.backward()
                s_optimizer.step()
                note(log, l1=loss, distillation=loss)
    return log
