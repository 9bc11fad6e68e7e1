"""The picture of a recipe says what fills its slots, and nothing else."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from dfkd_lab import methods
from dfkd_lab.__main__ import main
from dfkd_lab.engine.recipe import WeightedLoss
from dfkd_lab.methods import catalogue
from dfkd_lab.methods.diagram import draw


def words(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_readmes_picture_is_up_to_date() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "ssd_kd.svg").read_text() == draw("ssd_kd", catalogue.compose_on_digits("ssd_kd"))


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_is_drawn_from_its_recipe(name: str) -> None:
    recipe = catalogue.compose_on_digits(name)
    found = words(draw(name, recipe))
    for slot in (recipe.synthesizer, recipe.memory, recipe.view, recipe.student_view):
        assert type(slot).__name__ in found
    drawn = {line.split(" × ")[1].split(",")[0] for line in found if " × " in line}
    assert drawn == {term for term, row in recipe.all_losses().items() if row.weight}


def test_says_weights_starts_turns_and_sizes() -> None:
    recipe = catalogue.compose_on_digits("ssd_kd")
    found = words(draw("ssd_kd", recipe))
    assert {"0.5 × label", "1.33 × gap, as warm-up ends", "1,000 images", "8 steps a turn"} <= set(found)
    recipe.losses["gap"] = replace(recipe.losses["gap"], start=9)
    assert "1.33 × gap, from round 10" in words(draw("ssd_kd", recipe))


def test_fits_into_its_frame_and_escapes_names() -> None:
    recipe = catalogue.compose_on_digits("dafl")
    recipe.losses |= {f"<term {place}>": WeightedLoss(1.0, recipe.losses["confidence"].loss) for place in range(20)}
    svg = draw("a<b", recipe)
    root = ET.fromstring(svg)
    height = float(root.attrib["viewBox"].split()[3])
    assert max(float(each.attrib["y"]) for each in root.iter("{http://www.w3.org/2000/svg}text")) < height
    assert "a<b" in words(svg)[0]


def test_the_command_line_writes_it(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "slots.svg"
    assert main(["methods", "--diagram", "dafl", str(path)]) == 0
    assert path.read_text() == draw("dafl", catalogue.compose_on_digits("dafl"))
    assert main(["methods", "--diagram", "dalf", str(path)]) == 2
    assert "did you mean 'dafl'" in capsys.readouterr().err
