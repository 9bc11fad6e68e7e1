"""A contrastive loss that pushes each new image away from all earlier ones (CMI)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab.nets.batch_norms import running_statistics
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observation, Observer
from dfkd_lab.primitives.views import View


class Contrast(nn.Module):
    """InfoNCE [N] between two views of each image, among the batch and earlier images (CMI, L_cr).

    The embedding e(x) is the spatial mean of the input of every batch norm of the teacher, side by side; h(e) its
    projection W2 ReLU(W1 e), of length 1. Queries are h of local views; keys are h of global ones, as constants:

        l_i = -log( exp(q_i k_i / tau) / sum_j exp(q_i k_j / tau) )

    The value of image i is l_i plus the mean of l over the earlier images that were drawn. Those move the projection
    only: no image of the batch is in their queries, and keys are constants. So images get their gradient through their
    own local views.

    The projection has its own Adam, which steps with the gradient that the synthesizer's step leaves behind. The queue
    keeps e of both views of the last images, 8 bytes times the length of e each.

    Args:
        observer: Of a teacher with batch norms.
        global_view: That of the recipe, needed for the queue.
        local_view: Follows it.
        temperature: tau, above 0.
        capacity: Of the queue, in images.
        negatives: Earlier images drawn in each step.
        lr: Of the projection's Adam.
        length: Of h.

    Differs: the local view is cut from the global one, not from the whole image; the queue gets fresh views of the best
    batch; with ResNet-34 all batch norms count too, not the four stages.
    """

    needs = frozenset({"instance_means"})
    queue: Tensor

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
        # 1 for a teacher without batch norms, which a recipe refuses, unless this loss has no weight
        size = sum(len(running_statistics(layer)[0]) for layer in observer.batch_norms) or 1
        self.projection = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, length))
        self.optimizer = torch.optim.Adam(self.projection.parameters(), lr=lr, fused=True)
        self.register_buffer("queue", torch.zeros(capacity, 2, size))
        self.register_load_state_dict_pre_hook(_rename_bank)
        self.written = 0

    @property
    def stored(self) -> int:
        """The number of images in the queue."""
        return min(self.written, len(self.queue))

    def forward(self, observation: Observation) -> Tensor:
        local = embedding(self._observe(self.local_view(observation.images), graph=True))
        global_ = embedding(observation)
        drawn = torch.randperm(self.stored, device=self.queue.device)[: self.negatives]
        old_local, old_global = self.queue[drawn].unbind(1)
        queries = self._project(torch.cat([local, old_local]))
        with torch.no_grad():  # keys are constants, see above
            keys = self._project(torch.cat([global_, old_global]))
        own = torch.arange(len(keys), device=keys.device)  # the positive of query i is key i
        losses = F.cross_entropy(queries @ keys.T / self.temperature, own, reduction="none")
        new, old = losses.split([len(local), len(drawn)])
        return new + old.mean() if len(drawn) else new

    def step(self) -> None:
        """One Adam step of the projection, on the gradient of the last loss."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def commit(self, batch: Batch) -> None:
        """Embed both views of the kept images, in place of the oldest in the queue."""
        images = self.global_view(batch.images)
        global_, local = (embedding(self._observe(each)) for each in (images, self.local_view(images)))
        n = min(len(images), len(self.queue))
        place = (torch.arange(n, device=self.queue.device) + self.written) % len(self.queue)
        self.queue[place] = torch.stack([local, global_], 1)[-n:]
        self.written += n

    def get_extra_state(self) -> dict[str, Any]:
        """The projection's optimizer and the number of images written so far."""
        return {"optimizer": self.optimizer.state_dict(), "written": self.written}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take what :meth:`get_extra_state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.written = state["written"]

    def _observe(self, images: Tensor, graph: bool = False) -> Observation:
        return self.observer(images, needs=self.needs, graph=graph)

    def _project(self, embeddings: Tensor) -> Tensor:
        return F.normalize(self.projection(embeddings), dim=1)


def embedding(observation: Observation) -> Tensor:
    """e(x): the instance means of all layers side by side.

    Args:
        observation: With "instance_means".

    Returns:
        [N, D], D the number of channels of all batch norms together.
    """
    return torch.cat(observation.instance_means, 1)


def _rename_bank(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Checkpoints from before 0.2 call the queue "bank"."""
    if f"{prefix}bank" in state:
        state[f"{prefix}queue"] = state.pop(f"{prefix}bank")
