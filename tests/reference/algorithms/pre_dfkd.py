"""PRE-DFKD (Binici et al., AAAI 2022), as released: a generator of what is new, and a VAE that replays the past."""

import torch
from torch import Tensor

from tests.reference.algorithms.networks import Encoder, Generator, SmallNet
from tests.reference.algorithms.notation import Log, Start, cosine, cross_entropy, loaded, note, set_rate


def negative_entropy(t: Tensor) -> Tensor:
    """sum_c p_c log10 p_c of the mean prediction."""
    mean_p = t.softmax(1).mean(0)
    return (mean_p * mean_p.log10()).sum()


def js_released(t: Tensor, s: Tensor) -> Tensor:
    """Half the sum of M log(M / P) and M log(M / Q), a mean over batch and classes, clamped, at temperature 3."""
    p, q = (t.detach() / 3).softmax(1), (s / 3).softmax(1)
    m = (p + q) / 2
    p, q, m = (each.clamp(0.01, 0.99) for each in (p, q, m))
    return ((m * (m / p).log()).mean() + (m * (m / q).log()).mean()) / 2


def replay(decoder: Generator, teacher: SmallNet, n: int, z_dim: int, lr: float, oh: float, ie: float) -> Tensor:
    """n decoded codes after one Adam step on them."""
    z = torch.randn(n, z_dim).requires_grad_()
    t = teacher(decoder(z))
    moments = (z.var(0) - 1).pow(2).mean() + z.mean(0).pow(2).mean()
    loss = oh * cross_entropy(t, t.argmax(1)) + ie * negative_entropy(t) + moments
    # Differs: the decoder gets no gradient from this
    (z.grad,) = torch.autograd.grad(loss, z)
    torch.optim.Adam([z], lr=lr).step()
    return decoder(z).detach()


def vae_loss(encoder: Encoder, decoder: Generator, teacher: SmallNet, u: Tensor, prior: float) -> Tensor:
    """L1 between pixels, L1 between the teacher's logits, and the KL to N(0, I)."""
    mu, log_variance = encoder(u)
    again = decoder(mu + (log_variance / 2).exp() * torch.randn_like(mu))
    divergence = (-(1 + log_variance - mu.pow(2) - log_variance.exp()) / 2).sum(1).mean()
    return (again - u).abs().mean() + (teacher(again) - teacher(u)).abs().mean() + prior * divergence


def distil(
    teacher: SmallNet, student: SmallNet, start: Start, *, rounds: int, cycles: int, batch: int, replayed: int,
    z_dim: int, width: int, s_steps: int, vae_steps: int,
    oh: float = 1.0, ie: float = 5.0, a: float = 0.1, prior: float = 1e-5,
    g_lr: float = 0.02, vae_lr: float = 0.02 / 40, s_lr: float = 0.1,
) -> Log:  # fmt: skip
    log: Log = {}
    generator = loaded(start["generator"], Generator, z_dim, width, "tanh", eps=0.8, spectral=True)
    decoder = loaded(start["decoder"], Generator, z_dim, width, "tanh", eps=0.8)
    encoder = loaded(start["encoder"], Encoder, z_dim, width)
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=g_lr)
    vae_optimizer = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], lr=vae_lr)
    s_optimizer = torch.optim.SGD(student.parameters(), lr=s_lr, momentum=0.9, weight_decay=5e-4)
    student.train()  # also while the generator steps
    for epoch in range(rounds):
        for i in range(cycles):
            x = generator(torch.randn(batch, z_dim))
            seen = teacher.layers(x)
            t = seen.logits
            one_hot, balance, active = cross_entropy(t, t.argmax(1)), negative_entropy(t), -seen.feature.abs().mean()
            gap = -js_released(t, student(x))  # the code has 1 more, a constant
            loss = oh * one_hot + ie * balance + a * active + gap
            g_optimizer.zero_grad()
            loss.backward()
            g_optimizer.step()
            note(log, confidence=one_hot, balance=balance, activation=active, gap=gap, synthesis=loss)
            for step in range(s_steps):
                # Differs: the rate falls step by step, not once an epoch
                done = (epoch * cycles + i) * s_steps + step
                set_rate(s_optimizer, cosine(done / (rounds * cycles * s_steps), s_lr))
                x_v = generator(torch.randn(batch, z_dim)).detach()
                x_m = replay(decoder.eval(), teacher, replayed, z_dim, g_lr, oh, ie)
                x = torch.cat([x_v, x_m])
                loss = (student(x) - teacher(x)).abs().mean()
                s_optimizer.zero_grad()
                loss.backward()
                s_optimizer.step()
                note(log, l1=loss, distillation=loss)
                if step >= vae_steps:
                    continue
                u = x_v[: batch // 2]
                decoder.train()
                if epoch or i:  # at first there is no past
                    u = torch.cat([u, replay(decoder, teacher, replayed, z_dim, g_lr, oh, ie)])
                vae_optimizer.zero_grad()
                loss = vae_loss(encoder, decoder, teacher, u, prior)
                loss.backward()
                vae_optimizer.step()
                note(log, vae=loss)
    return log
