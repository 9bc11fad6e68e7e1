"""What a person reads of a method."""

import pytest

from dfkd_lab import methods
from widgets import wording


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ssd_kd", "SSD-KD (Liu 2024, inferred)"),
        ("fast", "FastDFKD (Fang 2022, certain)"),
        ("deepinversion", "DeepInversion (Yin 2020, certain)"),
        ("fssc", "FSSC (2024, inferred)"),
        ("cgdd", "CGDD (Yu 2021, inferred)"),
        ("untrained", "Untrained generator (control)"),
        ("noise", "Noise (control)"),
        ("alone", "Student alone (reference)"),
        ("kd", "KD (Hinton 2015, reference)"),
    ],
)
def test_a_method_is_offered_by_its_papers_name(name: str, shown: str) -> None:
    assert wording.offered(name) == shown


def test_every_method_fits_its_field_and_is_told_apart() -> None:
    shown = [wording.offered(name) for name in methods.METHODS]
    assert max(map(len, shown)) <= 34
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("name", methods.METHODS)
def test_the_name_in_commands_stands_below(name: str) -> None:
    assert wording.described(name).endswith(f"In commands: {name}.</div>")


@pytest.mark.parametrize(
    ("teacher", "shown"),
    [
        ("digits", "digits"),
        ("/some/where/resnet20.pth", "resnet20.pth"),
        ("timm:resnet18@weights/a.pth", "timm:resnet18@a.pth"),
        ("mine/net.py:Net@/of/mine/a.pth", "net.py:Net@a.pth"),
    ],
)
def test_a_teacher_is_named_without_the_folders_of_its_files(teacher: str, shown: str) -> None:
    assert wording.pair(teacher, "of/mine/net.py:Net") == f"{shown} → net.py:Net"
