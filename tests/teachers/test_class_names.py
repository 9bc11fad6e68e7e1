"""What a teacher's outputs are called where they are shown."""

from pathlib import Path

import pytest
import torch

from dfkd_lab import data, nets
from dfkd_lab.data import Split
from dfkd_lab.data.registry import ROWS
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.teachers import Card, checkpoints, class_order

NUMBERS = tuple(map(str, range(10)))
LETTERS = tuple("abcdefghij")


def card(classes: int = 10, **more: object) -> Card:
    facts = {"net": "resnet20", "shape": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3, "data": "", **more}
    return Card(classes=classes, **facts)  # type: ignore[arg-type]


def split(names: tuple[str, ...] = ()) -> Split:
    return Split(torch.zeros(10, 3, 32, 32, dtype=torch.uint8), torch.arange(10), names)


@pytest.mark.parametrize(
    ("of", "images", "evaluated_on", "names"),
    [
        (card(), None, "none", NUMBERS),
        (card(), split(), "cifar10", ROWS["cifar10"].class_names),  # a bare checkpoint
        (card(data="cifar10"), None, "none", ROWS["cifar10"].class_names),
        (card(class_names=LETTERS), split(), "cifar10", LETTERS),
        (card(), split(LETTERS), "folder:here", LETTERS),
        (card(11), split(), "cifar10", (*NUMBERS, "10")),
    ],
)
def test_names_are_the_teachers_then_those_of_what_it_is_evaluated_on(
    of: Card, images: Split | None, evaluated_on: str, names: tuple[str, ...]
) -> None:
    assert class_order.shown_names(of, images, evaluated_on) == names


ORDINARY = ("می\u200cخواهم", "一\u3000二", "deux\xa0mots", "क्\u200dष", "\u200fעברית", "\U0001f3f4\U000e0067\U000e007f")  # noqa: RUF001 - scripts
"""With joiners, spaces and marks that ``str.isprintable`` does not know."""


def test_a_card_holds_the_names_that_folders_of_any_script_have(tmp_path: Path) -> None:
    root = tmp_path / ORDINARY[0]
    for name in ORDINARY:
        (root / "val" / name).mkdir(parents=True)
    of = f"folder:{root}"
    data.check(of)
    facts = card(len(ORDINARY), net="convnet_8", class_names=ORDINARY, data=of)
    net = Classifier(nets.classifier("convnet_8", 3, len(ORDINARY)), facts.mean, facts.std)
    checkpoints.save(net, facts, tmp_path / "teacher.safetensors")
    assert checkpoints.read(tmp_path / "teacher.safetensors").card == facts
