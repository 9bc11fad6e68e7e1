"""The lean step is torch's step."""

import copy

import pytest
import torch
from torch import nn

from dfkd_lab import nets
from dfkd_lab.primitives.momentum import MomentumSGD


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("weight_decay", [5e-4, 0.0])
def test_steps_are_those_of_torch_to_the_last_bit(momentum: float, weight_decay: float) -> None:
    torch.manual_seed(0)
    ours = nets.classifier("convnet_8", 1, 10)
    theirs = copy.deepcopy(ours)
    settings = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay}
    mine, other = MomentumSGD(ours.parameters(), **settings), torch.optim.SGD(theirs.parameters(), **settings)
    for step in range(4):
        if step == 2:  # a checkpoint in between, taken up by the other kind
            mine.load_state_dict(copy.deepcopy(other.state_dict()))
        for optimizer in (mine, other):
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        slopes = [torch.randn_like(weight) for weight in ours.parameters()]
        for net in (ours, theirs):
            for place, (weight, slope) in enumerate(zip(net.parameters(), slopes, strict=True)):
                weight.grad = None if place == 3 and step < 1 else slope.clone()  # one learns later than the others
        mine.step()
        other.step()
        assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    if momentum:
        states = [each.state_dict()["state"] for each in (mine, other)]
        assert states[0].keys() == states[1].keys()
        assert all(
            torch.equal(states[0][place]["momentum_buffer"], states[1][place]["momentum_buffer"]) for place in states[0]
        )


def test_without_any_gradient_nothing_moves() -> None:
    layer = nn.Linear(2, 2)
    before = copy.deepcopy(layer.state_dict())
    MomentumSGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1).step()
    assert all(map(torch.equal, before.values(), layer.state_dict().values()))
