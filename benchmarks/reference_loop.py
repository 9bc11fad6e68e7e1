"""FastDFKD the way the field's code writes it: what the speed of the loop is compared with.

A plain fp32 eager loop on the CPU, competently written in the field's idiom: contiguous NCHW, hooks for the batch-norm
statistics, ``.item()`` to find the best batch, a list of images, and every round a DataLoader over it that augments
image by image. It shares with dfkd_lab the networks, the settings and the kind of seed, because both must train the
same thing, and nothing of its loop, observer, memory, views or synthesizer. Upsampling is upsampling and then a
convolution, where our generator does both at once.

Where the field is slower by accident, this is not: no image passes through a PNG file; the statistics are measured
only while images are synthesized; the student's weights get no gradient meanwhile; workers start once a round, not once
an epoch of a small buffer; images stay tensors, which torchvision crops faster than Pillow's.
"""

import copy
import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from dfkd_lab.errors import SpecError
from dfkd_lab.methods.fast import FastDFKD
from dfkd_lab.nets import Generator
from dfkd_lab.nets.generators import UpsamplingConv2d
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.system.rng import RNGState

BETAS = (0.5, 0.999)
LOG_EVERY = 10


class StatisticsHook:
    """How far the input of one batch-norm layer is from what the layer remembers (DeepInversion), at each pass.

    From the second round on the batch's statistics are blended with their average over rounds (FastDFKD).
    """

    def __init__(self, layer: nn.BatchNorm2d, momentum: float):
        self.momentum = momentum
        self.average: list[Tensor] = []
        layer.register_forward_hook(self)

    def __call__(self, layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not torch.is_grad_enabled():
            return  # the student is being taught: nobody asks for the gap
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        self.now = [mean.detach(), variance.detach()]
        mean, variance = self.blend([mean, variance])
        self.gap = (layer.running_mean - mean).norm() + (layer.running_var - variance).norm()

    def blend(self, now: list[Tensor]) -> list[Tensor]:
        """Mean and variance [C], averaged with those of earlier rounds once there are any."""
        if not self.average:
            return now
        return [self.momentum * old + (1 - self.momentum) * new for old, new in zip(self.average, now, strict=True)]

    def update(self) -> None:
        """Take the last pass into the average, once a round."""
        self.average = self.blend(self.now)


class Upsampled(nn.Conv2d):
    """Nearest upsampling to twice the size, then the convolution."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2))


class SyntheticImages(Dataset[Tensor]):
    """The buffer's uint8 images [C, H, W], each transformed when it is asked for."""

    def __init__(self, images: list[Tensor], transform: transforms.Compose):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.images[index])


def kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(teacher || student) [N] of logits [N, K], in nats."""
    wanted, found = F.softmax(teacher / temperature, 1), F.log_softmax(student / temperature, 1)
    return F.kl_div(found, wanted, reduction="none").sum(1) * temperature**2


class ReferenceLoop:
    """A distillation by ``method``, one round per ``advance()``; ``student`` normalizes its images itself.

    ``seconds`` of both phases, ``student_images`` and ``losses`` (the student's, every tenth step) add up over rounds.

    Raises:
        SpecError: if ``method.meta`` is not "fomaml", the only one written here.
    """

    def __init__(
        self,
        method: FastDFKD,
        teacher: Frozen,
        student: nn.Module,
        *,
        shape: tuple[int, int, int],
        classes: int,
        rounds: int,
        seed: int,
        workers: int = 0,
    ):
        if method.meta != "fomaml":
            raise SpecError(f"meta = '{method.meta}' is not written in the reference loop; allowed: 'fomaml'")
        self.method, self.teacher, self.student = method, teacher, student
        self.classes, self.workers, self.round = classes, workers, 0
        self.seconds = {"synthesis": 0.0, "distillation": 0.0}
        self.student_images = 0
        self.losses: list[float] = []
        self.images: list[Tensor] = []
        self.rng = RNGState(seed, torch.device("cpu"))
        with self.rng:
            self.generator = Generator(method.z_dim, shape, method.width)
        for layer in self.generator.modules():
            if isinstance(layer, UpsamplingConv2d):
                layer.__class__ = Upsampled  # type: ignore[assignment]  # the same layer, computed otherwise
        norms = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
        self.hooks = [StatisticsHook(layer, method.bn_momentum) for layer in norms]
        augment = [transforms.RandomCrop(shape[1:], padding=method.padding or None)]
        if method.flip:
            augment.append(transforms.RandomHorizontalFlip())
        self.view = transforms.Compose(augment)
        self.transform = transforms.Compose([*augment, transforms.ConvertImageDtype(torch.float32)])
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), lr=method.g_lr * method.g_steps, betas=BETAS)
        self.s_optimizer = torch.optim.SGD(student.parameters(), lr=method.s_lr, momentum=0.9, weight_decay=1e-4)
        steps = max(1, (rounds - method.warm_up) * method.s_steps)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.s_optimizer, steps, method.s_lr / 1000)

    def advance(self) -> None:
        """One round: synthesize a batch, keep it, and teach the student once warm-up is over."""
        with self.rng:
            begun = time.perf_counter()
            self._keep(self._synthesize())
            self.seconds["synthesis"] += time.perf_counter() - begun
            if self.round >= self.method.warm_up:
                begun = time.perf_counter()
                self._distil()
                self.seconds["distillation"] += time.perf_counter() - begun
        self.round += 1

    def synthesis_losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The unweighted terms, scalars, of ``images`` [N, C, H, W] in [0, 1] asked to be ``labels`` [N]."""
        logits = self.teacher(images)
        losses = {"label": F.cross_entropy(logits, labels), "bn_gap": sum(hook.gap for hook in self.hooks)}
        if self.round >= self.method.warm_up - 1 and self.method.gap:
            found = self.student(images)
            agree = (found.argmax(1) == logits.argmax(1)).float()
            losses["gap"] = -(kl(found, logits) * agree).mean()
        return losses

    def _synthesize(self) -> Tensor:
        """The images [N, C, H, W] with the lowest loss of a phase; moves the generator by its clone's gradients."""
        method = self.method
        clone = copy.deepcopy(self.generator)
        noise = torch.randn(method.batch, method.z_dim).requires_grad_()
        labels = torch.randint(self.classes, (method.batch,))
        groups: list[dict[str, Any]] = [{"params": clone.parameters()}, {"params": [noise], "lr": method.z_lr}]
        optimizer = torch.optim.Adam(groups, lr=method.g_lr, betas=BETAS)
        self.student.eval().requires_grad_(False)
        self.g_optimizer.zero_grad()
        lowest = math.inf
        for _ in range(method.g_steps):
            images = clone(noise)
            losses = self.synthesis_losses(self.view(images), labels)
            loss = sum(getattr(method, name) * value for name, value in losses.items())
            if loss.item() < lowest:
                lowest, best = loss.item(), images.detach().clone()
            optimizer.zero_grad()
            loss.backward()
            for mine, other in zip(self.generator.parameters(), clone.parameters(), strict=True):
                mine.grad = other.grad.clone() if mine.grad is None else mine.grad + other.grad
            optimizer.step()
        self.g_optimizer.step()
        for hook in self.hooks:
            hook.update()
        return best

    def _keep(self, images: Tensor) -> None:
        """Append ``images`` [N, C, H, W] in [0, 1] to the buffer; of more than its capacity the oldest go."""
        self.images += (images * 255).round().to(torch.uint8).unbind()
        del self.images[: -self.method.capacity]

    def _distil(self) -> None:
        self.student.train().requires_grad_(True)
        for step, images in enumerate(self._loader()):
            with torch.no_grad():
                wanted = self.teacher(images)
            loss = kl(self.student(images), wanted, self.method.temperature).mean()
            self.s_optimizer.zero_grad()
            loss.backward()
            self.s_optimizer.step()
            self.scheduler.step()
            if step % LOG_EVERY == 0:
                self.losses.append(loss.item())
            self.student_images += len(images)

    def _loader(self) -> DataLoader[Tensor]:
        """``s_steps`` batches of images drawn with replacement from the buffer as it is now."""
        dataset, batch = SyntheticImages(self.images, self.transform), self.method.batch
        sampler = RandomSampler(dataset, replacement=True, num_samples=self.method.s_steps * batch)
        return DataLoader(dataset, batch, sampler=sampler, num_workers=self.workers, drop_last=True)
