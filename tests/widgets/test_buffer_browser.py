"""The browser of the images that were examined: their order, their filters, and one of them enlarged."""

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dfkd_lab.runs import Examination
from dfkd_lab.runs.examination import Images
from tests.widgets.test_confusion import COUNTS, found
from widgets import buffer_browser, thumbnails
from widgets.buffer_browser import ALL, ORDERS, STORED, BufferBrowser
from widgets.pressable import markup

NAMES = ("cat", "dog", "bird")


def examined(n: int = 6, size: int = 4, **known: Any) -> Examination:
    """``n`` images of three classes; the teacher sees them in turn, the student always a cat."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 3, size, size).contiguous()
    classes = torch.tensor([[place % 3, (place + 1) % 3, (place + 2) % 3, 0, 1, 2] for place in range(n)])
    teacher = torch.tensor([[0.7, 0.2, 0.1]]).repeat(n, 2)
    teacher[:, 3:] = torch.zeros(n, 3).scatter_(1, classes[:, :3], teacher[:, :3])  # of the same classes by number
    student = torch.linspace(0, 0.9, n)[:, None].repeat(1, 6)
    kept = {"targets": None, "ages": torch.arange(n).flip(0), "losses": torch.arange(n) % 4 / 2.0, **known}
    return found(None, COUNTS, NAMES, Images(images, classes, teacher, student, **kept))


def browser(examination: Examination) -> BufferBrowser:
    shown = BufferBrowser()
    shown.show(examination)
    return shown


def test_images_are_sorted_both_ways_and_filtered() -> None:
    shown = browser(examined())
    assert [value for _, value in shown.sort.options] == [STORED, "age", "loss", "class", "agreement"]
    assert shown.order == [0, 1, 2, 3, 4, 5]
    shown.sort.value = "age"
    assert shown.order == [5, 4, 3, 2, 1, 0]
    shown.sort.value = "loss"
    assert shown.order == [0, 4, 1, 5, 2, 3], "those alike in their place"
    shown.direction.value = ORDERS[1]
    assert shown.order == [3, 2, 1, 5, 0, 4]
    shown.sort.value = "class"
    assert shown.order == [2, 5, 1, 4, 0, 3]
    shown.sort.value = "agreement"
    assert shown.order == [5, 4, 3, 2, 1, 0]
    shown.differing.value = True
    assert shown.order == [5, 4, 2, 1]
    assert shown.class_.options == ((ALL, -1), ("cat (2)", 0), ("dog (2)", 1), ("bird (2)", 2))
    shown.class_.value = 2
    assert shown.order == [5, 2]
    shown.class_.value = 0
    assert shown.order == []
    assert "no such image" in markup(*shown.pages.content)


def test_what_the_memory_does_not_keep_is_not_offered_and_said_to_be_unknown() -> None:
    shown = browser(examined(ages=None, losses=None))
    assert [value for _, value in shown.sort.options] == [STORED, "class", "agreement"]
    facts = buffer_browser.facts_of(examined(ages=None, losses=None), 1)
    assert (facts["age"], facts["last loss"], facts["target class"]) == ("not kept", "not kept", "not kept")
    known = buffer_browser.facts_of(examined(targets=torch.tensor([-1, 2, 0, 0, 0, 0])), 1)
    assert known["the teacher sees"] == "dog (0.700)"
    assert known["the student sees"] == "cat (0.180)"
    assert (known["age"], known["last loss"], known["target class"]) == ("4 rounds", "0.500", "bird")
    assert buffer_browser.facts_of(examined(), 5)["age"] == "made in the last round"
    assert "Its loss in earlier rounds is not kept." in buffer_browser.of_examined(examined(), 1).remark


def test_the_losses_of_an_enlarged_image_are_drawn_from_the_round_on_in_which_it_was_made() -> None:
    history = torch.full((6, 3), torch.nan)
    history[1, 1:] = torch.tensor([1.5, 0.5])
    shown = browser(examined(history=history, history_rounds=torch.tensor([2, 5, 9])))
    assert shown.losses.widget.layout.display == "none"
    shown.press("1")
    assert shown.losses.widget.layout.display is None
    (line,) = shown.losses.widget.drawn.data
    assert (line.x.tolist(), line.y.tolist()) == ([5, 9], [1.5, 0.5])
    assert "earlier rounds" not in markup(*shown.pages.content)
    shown.press("next")
    assert shown.losses.widget.layout.display == "none", "of this image nothing was kept"
    assert "Its loss in earlier rounds is not kept." in markup(*shown.pages.content)
    shown.press("previous")
    shown.press("back")
    assert shown.losses.widget.layout.display == "none"
    shown.press("1")
    shown.show(None)
    assert shown.losses.widget.layout.display == "none"


def test_a_page_is_one_png_of_its_images() -> None:
    shown = browser(examined(n=100))
    html = markup(*shown.pages.content)
    assert "images 1 to 48 of 100" in html
    assert html.count("data:image/png") == 1
    assert html.count("class='dfkd-thumb") == buffer_browser.PER_PAGE
    shown.press("next page")
    shown.press("next page")
    (_, head, gallery) = shown.pages.content
    assert "images 97 to 100 of 100" in markup(head)
    assert "disabled" in markup(head[3])
    png = base64.b64decode(gallery[1]["style"].partition("base64,")[2].partition(")")[0])
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert pixels.shape == (4, 4 * buffer_browser.COLUMNS, 3)
    assert [int(pixels[0, 4 * place, 0]) for place in range(4)] == [96, 97, 98, 99]
    assert "background-position: -144px 0px" in markup(gallery[-1]), "12 times as large"


def test_large_images_are_small_on_the_page_and_whole_when_enlarged() -> None:
    shown = browser(examined(n=3, size=200))
    (_, _, gallery) = shown.pages.content
    assert "--wide: 64px" in gallery[1]["style"]
    enlarged = buffer_browser.of_examined(shown.found, 0)
    assert Image.open(io.BytesIO(enlarged.png)).size == (200, 200)


def test_an_image_is_enlarged_with_both_networks_probabilities_and_stepped_through() -> None:
    shown = browser(examined())
    shown.sort.value = "age"
    shown.press("0")
    html = markup(*shown.pages.content)
    assert "1 of 6" in html
    assert "<th scope='row' title='bird'>bird</th><td class='teacher'>0.700<i style='width: 70.0%'>" in html
    assert html.count("<td class='student'>0.900") == 3, "a row a class"
    assert "data-press='previous' data-key='ArrowLeft' disabled" in html
    shown.press("next")
    assert "2 of 6" in markup(*shown.pages.content)
    shown.press("back")
    assert "data-press='1' title" in markup(*shown.pages.content)
    focused = [each for each in shown.pages.content[2][2:] if "data-focus" in each[1]]
    assert [each[1]["data-press"] for each in focused] == ["1"]


def test_nonsense_from_a_page_changes_nothing_it_should_not() -> None:
    shown = browser(examined())
    for name in ("99", "previous page", "nothing", "²", "-1"):
        shown.press(name)
    assert "6 of 6" in markup(*shown.pages.content)
    shown.press("next")
    assert "6 of 6" in markup(*shown.pages.content)
    shown.show(None)
    shown.press("0")
    assert shown.pages.content == []
    assert shown.widget.layout.display == "none"


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "L")])
def test_a_png_has_one_channel_or_three(channels: int, mode: str) -> None:
    images = torch.randint(0, 256, (5, channels, 3, 2), dtype=torch.uint8)
    image = Image.open(io.BytesIO(thumbnails.png(images, 2)))
    assert (image.mode, image.size) == (mode, (4, 9))
    pixel = np.atleast_1d(np.asarray(image)[6, 1])
    assert pixel.tolist() == images[4, : 3 if channels == 3 else 1, 0, 1].tolist()
    reduced = thumbnails.reduced(images.repeat(1, 1, 20, 20), 30)
    assert reduced.shape == (5, channels, 30, 20)


def test_images_of_a_row_begin_at_one_height_whatever_stands_below_them() -> None:
    shown = markup(*browser(examined()).pages.content)
    assert "dfkd-thumb other" in shown
    assert "class='dfkd-thumb'" in shown
    (gallery,) = (line for line in shown.splitlines() if line.startswith(".dfkd-gallery"))
    assert "align-items: flex-start" in gallery, "stretched, a button would have its content in its middle"
