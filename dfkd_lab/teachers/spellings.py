"""What the names in a state dict say, where its shapes fit more than one public network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dfkd_lab.errors import SpecError

RIVALS = {
    "vgg11": "vgg11_5pool",
    "vgg16": "vgg16_5pool",
    "resnet18": "resnet18_maxpool",
    "resnet34": "resnet34_maxpool",
    "resnet50": "resnet50_maxpool",
    "mobilenet_v2": "torchvision:mobilenet_v2",
    "shufflenet_v2": "torchvision:shufflenet_v2_x1_0",
}
"""Networks with the same tensors that compute something else."""

OTHER_READINGS = {
    r"resnet(8|14|20|32|44|56|110)": "other code appends the new channels of its shortcuts behind the old ones",
    r"lenet5(_half)?": "other code has tanh and mean pooling in it",
}
"""What code that we lack does with the same tensors, by a network of ours."""

DECIDING = {
    r"vgg\d+": r"block[0-4]\.\d+\.",  # zju-vipa's CMI and Fast-Datafree
    r"vgg\d+_5pool": r"features\.\d+\.",  # kuangliu's pytorch-cifar
    r"resnet(18|34|50)": r"layer\d\.\d+\.shortcut\.",  # kuangliu's, DAFL's, DFAD's and the toolbox's
    r"mobilenet_v2": r"stages\.",  # ours
    r"shufflenet_v2": r"stages\.|layer[123]\.\d+\.conv5\.",  # ours; kuangliu's
    r"resnet(8|14|20|32|44|56|110)": r"layer[123]\.\d+\.conv1\.",  # akamaster's and ours
    r"lenet5(_half)?": r"stages\.|conv3\.|features\.6\.",  # ours; DAFL's and DFAD's; their toolbox's
}
"""What a name begins with in code that computes a network of ours."""


def chosen(net: str, said: str, names: Iterable[str], net_names: Iterable[str], path: Path) -> str:
    """The network of the file at ``path``.

    Args:
        net: One whose tensors have the file's shapes.
        said: The one that a person named, "" if nobody did.
        names: Of the file's tensors, without wrappers.
        net_names: Of that network's own.
        path: For the message.

    Raises:
        SpecError: if nobody said it and the names do not decide, or what was said is not what the names say.
    """
    candidates = next(([one, other] for one, other in RIVALS.items() if net in (one, other)), [net])
    others_do = next((does for ours, does in OTHER_READINGS.items() if re.fullmatch(ours, net)), "")
    found = _decided(candidates, list(names), list(net_names))
    if said and found not in ("", said):
        raise SpecError(f"{path} has the names of '{found}', and '{said}' computes something else; say {found}@FILE")
    if said or found or (len(candidates) == 1 and not others_do):
        return said or found or net
    if others_do:
        raise SpecError(f"{path} fits '{net}' by its shapes alone, and {others_do}; if it is ours, say {net}@FILE")
    one, other = candidates
    raise SpecError(
        f"{path} fits '{one}' and '{other}', which compute different things with the same tensors, and its names do "
        f"not say which it is; say {one}@FILE or {other}@FILE"
    )


def _decided(candidates: list[str], names: list[str], net_names: list[str]) -> str:
    """The candidate that the names speak of; "" if they do not say."""
    for candidate in candidates:
        for ours, begin in DECIDING.items():
            if re.fullmatch(ours, candidate) and any(re.match(begin, name) for name in names):
                # in a numbered list what has no parameters shows as a gap: with pools elsewhere it is none of ours
                same = not candidate.endswith("_5pool") or _places(names) == _places(net_names)
                return candidate if same else ""
    return ""


def _places(names: list[str]) -> set[int]:
    """The places of layers in the numbered list that a VGG is, or was cut from."""
    found = (re.match(r"(?:features|stages\.\d)\.(\d+)\.", name) for name in names)
    return {int(each[1]) for each in found if each}
