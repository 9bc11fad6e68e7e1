"""What a teacher's outputs are called where they are shown."""

import pytest
import torch

from dfkd_lab.data import Split
from dfkd_lab.data.registry import ROWS
from dfkd_lab.teachers import Card, class_order

NUMBERS = tuple(map(str, range(10)))
LETTERS = tuple("abcdefghij")


def card(classes: int = 10, **more: object) -> Card:
    return Card("resnet20", classes, (3, 32, 32), (0.5,) * 3, (0.5,) * 3, **{"data": "", **more})  # type: ignore[arg-type]


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
