"""Convolutions of a frozen network that add and rectify as they write their maps, on a CPU.

Else each addition and each ReLU reads all maps once more and writes them again, which takes as long as many a
convolution. oneDNN calls them post-operations; torch has them for the code that its compiler writes, and no layer.
"""

from __future__ import annotations

import operator
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

RELUS = (F.relu, torch.relu)
SUMS = (operator.add, torch.add)


class FusedConv2d(nn.Conv2d):
    """``layer`` with its parameters, and the addition and ReLU behind it; no gradient passes it."""

    def __init__(self, layer: nn.Conv2d, rectifies: bool):
        padding: Any = layer.padding
        super().__init__(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, padding,  # type: ignore[arg-type]
            layer.dilation, layer.groups, layer.bias is not None, device="meta",  # type: ignore[arg-type]
        )  # fmt: skip
        self.weight, self.bias = layer.weight, layer.bias
        self.train(layer.training)
        self.rectifies = rectifies

    def forward(self, input: Tensor, summand: Tensor | None = None) -> Tensor:
        """Feature maps [N, C, H, W] and, if something is added, that [N, O, H', W'] -> [N, O, H', W']."""
        fused = torch.ops.mkldnn._convolution_pointwise
        maps = input.to(self.weight.dtype)  # autocast knows nothing of it
        geometry = (self.padding, self.stride, self.dilation, self.groups)
        activation = "relu" if self.rectifies else None
        if summand is None:
            output: Tensor = fused(maps, self.weight, self.bias, *geometry, activation, [], "")
            return output
        output = fused.binary(maps, summand, self.weight, self.bias, *geometry, "add", 1.0, activation, [], "")
        return output


def fused(net: fx.GraphModule) -> fx.GraphModule:
    """A network with the same layers and parameters, where convolutions do what follows them if nobody else reads them.

    Args:
        net: Traced, for passes without a gradient; it stays as it is.

    Returns:
        The network, whose operators may refuse this machine or these maps when it is run.
    """
    made = fx.GraphModule(net, deepcopy(net.graph))
    layers = [node for node in made.graph.nodes if node.op == "call_module" and _is_plain(made, node)]
    for number, node in enumerate(layers):
        _fuse(made, node, f"fused_{number}")
    made.graph.lint()
    made.recompile()
    return made


def _is_plain(net: fx.GraphModule, node: fx.Node) -> bool:
    """Whether ``node`` passes its one input through an ordinary convolution, whose weights nothing else computes."""
    layer = net.get_submodule(str(node.target))
    if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    return len(node.args) == 1 and not node.kwargs and isinstance(layer._parameters.get("weight"), nn.Parameter)


def _fuse(net: fx.GraphModule, node: fx.Node, name: str) -> None:
    """Replace the convolution ``node``, and what follows it, by a layer called ``name``."""
    sum_, summand = _sum_of(node)
    last = sum_ or node
    relu = next(iter(last.users), None) if len(last.users) == 1 else None
    if relu is not None and not _is_relu(net, relu):
        relu = None
    last = relu or last
    if last is node or _has_change_between(net, node, last):
        return
    net.add_submodule(name, FusedConv2d(net.get_submodule(str(node.target)), relu is not None))  # type: ignore[arg-type]
    with net.graph.inserting_before(last):
        inputs = (node.args[0],) if summand is None else (node.args[0], summand)
        last.replace_all_uses_with(net.graph.call_module(name, inputs))
    for each in dict.fromkeys(part for part in (relu, sum_, node) if part is not None):
        net.graph.erase_node(each)


def _has_change_between(net: fx.GraphModule, node: fx.Node, last: fx.Node) -> bool:
    """Whether something is changed in place after ``node`` and before ``last``: ``node`` would then read it later."""
    between = node
    while (between := between.next) is not last:
        if _is_in_place(net, between):
            return True
    return False


def _is_in_place(net: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(net.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    return bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.startswith("_"))


def _sum_of(node: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
    """The addition that alone reads ``node``, and what it adds; nothing if there is none."""
    sum_ = next(iter(node.users), None)
    if len(node.users) != 1 or sum_ is None or sum_.target not in SUMS or sum_.kwargs:
        return None, None
    others = [each for each in sum_.args if each is not node]
    if len(others) != 1 or not isinstance(others[0], fx.Node):
        return None, None
    return sum_, others[0]


def _is_relu(net: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(net.get_submodule(str(node.target)), nn.ReLU)
    return node.target in RELUS
