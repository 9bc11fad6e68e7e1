"""A contrastive term that pushes each new image away from all earlier ones (CMI)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.primitives.memory import Batch
from dfkd_lab.primitives.observe import Observation, Observer
from dfkd_lab.primitives.views import View
from dfkd_lab.spec import SpecError


class Contrast(nn.Module):
    """InfoNCE [N] between two views of each image, among the batch and ``negatives`` earlier images (CMI, L_cr).

    e(x) is the spatial mean of the input of every BatchNorm2d of the teacher, side by side; h(e) its projection
    W2 ReLU(W1 e), of length 1. Queries are h of local views; keys are h of global ones, as constants:

        l_i = -log( exp(q_i k_i / tau) / sum_j exp(q_i k_j / tau) )

    The value of image i is l_i plus the mean of l over the earlier images that were drawn. Those move the projection
    only: no image of the batch is in their queries, and keys are constants. So images get their gradient through their
    own local views.

    The projection has its own Adam, which steps with the gradient that the synthesizer's step leaves behind. The bank
    keeps e of both views of the last ``capacity`` images, 8 bytes times the length of e each.

    ``global_view`` is that of the recipe, needed for the bank; ``local_view`` follows it.
    Differs: the local view is cut from the global one, not from the whole image; the bank gets fresh views of the best
    batch; with ResNet-34 all batch norms count too, not the four stages.

    Raises:
        SpecError: if the teacher has no batch norm.
    """

    needs = frozenset({"instance_means"})
    bank: Tensor

    def __init__(
        self,
        observer: Observer,
        global_view: View,
        local_view: View,
        *,
        temperature: float,
        capacity: int,
        negatives: int,
        lr: float,
        length: int = 256,
    ):
        super().__init__()
        self.observer, self.global_view, self.local_view = observer, global_view, local_view
        self.temperature, self.negatives = temperature, negatives
        size = sum(layer.num_features for layer in observer.norms)
        if not size:
            raise SpecError("the contrast reads the teacher's batch-norm layers, and it has none (BatchNorm2d)")
        self.projection = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, length))
        self.optimizer = torch.optim.Adam(self.projection.parameters(), lr=lr, fused=True)
        self.register_buffer("bank", torch.zeros(capacity, 2, size))
        self.written = 0

    @property
    def stored(self) -> int:
        """The number of images in the bank."""
        return min(self.written, len(self.bank))

    def forward(self, seen: Observation) -> Tensor:
        near = embedding(self._look(self.local_view(seen.images), graph=True))
        far = embedding(seen)
        drawn = torch.randperm(self.stored, device=self.bank.device)[: self.negatives]
        old_near, old_far = self.bank[drawn].unbind(1)
        queries = self._project(torch.cat([near, old_near]))
        with torch.no_grad():
            keys = self._project(torch.cat([far, old_far]))
        own = torch.arange(len(keys), device=keys.device)
        losses = F.cross_entropy(queries @ keys.T / self.temperature, own, reduction="none")
        new, old = losses.split([len(near), len(drawn)])
        return new + old.mean() if len(drawn) else new

    def step(self) -> None:
        """One Adam step of the projection, on the gradient of the last loss."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def commit(self, batch: Batch) -> None:
        """Embed both views of the kept images, in place of the oldest."""
        images = self.global_view(batch.images)
        views = (images, self.local_view(images))
        far, near = (embedding(self._look(each)) for each in views)
        n = min(len(images), len(self.bank))
        place = (torch.arange(n, device=self.bank.device) + self.written) % len(self.bank)
        self.bank[place] = torch.stack([near, far], 1)[-n:]
        self.written += n

    def get_extra_state(self) -> dict[str, Any]:
        """The projection's optimizer and the number of rows written so far."""
        return {"optimizer": self.optimizer.state_dict(), "written": self.written}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The projection's optimizer and the number of rows written so far."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.written = state["written"]

    def _look(self, images: Tensor, graph: bool = False) -> Observation:
        return self.observer(images, needs=self.needs, graph=graph)

    def _project(self, embeddings: Tensor) -> Tensor:
        return F.normalize(self.projection(embeddings), dim=1)


def embedding(seen: Observation) -> Tensor:
    """e(x) [N, D]: the instance means of all layers side by side."""
    return torch.cat(seen.instance_means, 1)
