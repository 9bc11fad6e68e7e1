"""KD (Hinton et al., 2015), and the student alone, on real images."""

import torch

from tests.reference.algorithms.networks import SmallNet, normalized
from tests.reference.algorithms.notation import Log, Start, cosine, cross_entropy, kl, note, set_rate


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, batch: int, s_steps: int,
    labels: bool = False, s_lr: float = 0.1, tau: float = 4.0,
) -> Log:  # fmt: skip
    log: Log = {}
    images, y = start["real"]["images"], start["real"]["labels"]
    optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=5e-4)
    student.train()
    for round in range(rounds):
        torch.randint(0, len(images), (batch,))  # ours draws a batch a round that nobody learns from
        for step in range(s_steps):
            set_rate(optimizer, cosine((round * s_steps + step) / (rounds * s_steps), s_lr))
            index = torch.randint(0, len(images), (batch,))  # Differs: with replacement, not by epochs
            x = normalized(images[index])
            s = student(x)
            # Differs: without the paper's small cross entropy to the true labels
            loss = cross_entropy(s, y[index]) if labels else kl(teacher(x), s, tau).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            note(log, **{"student_label" if labels else "kd": loss, "distillation": loss})
    return log


def alone(teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, batch: int, s_steps: int) -> Log:
    """The student learns the labels, without the teacher."""
    return distil(teacher, student, start, rounds=rounds, batch=batch, s_steps=s_steps, labels=True)
