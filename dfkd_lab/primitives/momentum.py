"""SGD for students so small that asking how to step takes longer than the step."""

from __future__ import annotations

import torch


class MomentumSGD(torch.optim.SGD):
    """torch's SGD with momentum and weight decay, to the last bit, in the operators it takes and nothing else.

    Gradients are of no further use after a step: weight decay is added to them where they are.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step, for all parameters that have a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            slopes = [weight.grad for weight in weights]
            if not weights:
                continue
            if group["weight_decay"]:
                torch._foreach_add_(slopes, weights, alpha=group["weight_decay"])
            if group["momentum"]:
                slopes = self._gathered(weights, slopes, group["momentum"])
            torch._foreach_add_(weights, slopes, alpha=-group["lr"])

    # torch then does not wrap it: to announce each step to a profiler takes about as long as the step
    step.hooked = True  # type: ignore[attr-defined]

    def _gathered(self, weights: list[torch.Tensor], slopes: list[torch.Tensor], momentum: float) -> list[torch.Tensor]:
        """The momenta of ``weights``, with ``slopes`` added; a first slope is where one begins."""
        known = [self.state[weight].get("momentum_buffer") for weight in weights]
        old = [(each, slope) for each, slope in zip(known, slopes, strict=True) if each is not None]
        if old:
            torch._foreach_mul_([each for each, _ in old], momentum)
            torch._foreach_add_([each for each, _ in old], [slope for _, slope in old])
        for weight, each, slope in zip(weights, known, slopes, strict=True):
            if each is None:
                self.state[weight]["momentum_buffer"] = slope.clone()
        return [self.state[weight]["momentum_buffer"] for weight in weights]
