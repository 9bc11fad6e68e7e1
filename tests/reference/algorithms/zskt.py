"""ZSKT (Micaelli et al., NeurIPS 2019)."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tests.reference.algorithms.networks import Generator, SmallNet
from tests.reference.algorithms.notation import Log, Start, cosine, kl, loaded, note, set_rate


def attention(maps: Tensor) -> Tensor:
    """normalise( vec( mean_c A^2 ) ) of each sample."""
    return F.normalize(maps.pow(2).mean(1).flatten(1), dim=1)


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, cycles: int, batch: int, z_dim: int, width: int,
    gap: float = 1.0, beta: float = 250.0, g_lr: float = 1e-3, s_lr: float = 2e-3, s_steps: int = 10,
) -> Log:  # fmt: skip
    log: Log = {}
    generator = loaded(start["generator"], Generator, z_dim, width, "norm")
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=g_lr)
    s_optimizer = torch.optim.Adam(student.parameters(), lr=s_lr)
    student.train()
    turns = rounds * cycles
    for turn in range(turns):
        set_rate(g_optimizer, cosine(turn / turns, g_lr))
        z = torch.randn(batch, z_dim)
        x = generator(z)
        divergence = kl(teacher(x), student(x)).mean()
        loss = -gap * divergence / teacher.fc.out_features  # a mean over classes too
        g_optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(generator.parameters(), 5)
        g_optimizer.step()
        note(log, gap=-divergence, synthesis=loss)
        for step in range(s_steps):
            # Differs: the student's rate falls step by step, the generator's turn by turn
            set_rate(s_optimizer, cosine((turn * s_steps + step) / (turns * s_steps), s_lr))
            x = generator(z).detach()  # the same z
            with torch.no_grad():
                wanted = teacher.layers(x)
            got = student.layers(x)
            divergence = kl(wanted.logits, got.logits).mean()
            pairs = zip(got.maps, wanted.maps, strict=True)
            transfer = torch.stack([(attention(one) - attention(other)).pow(2).mean() for one, other in pairs]).sum()
            loss = divergence / teacher.fc.out_features + beta * transfer
            s_optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(student.parameters(), 5)
            s_optimizer.step()
            note(log, kd=divergence, attention=transfer, distillation=loss)
    return log
