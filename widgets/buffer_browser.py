"""The synthetic images that were examined, a page at a time: sorted, filtered, and one of them enlarged by a click."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
import torch
from torch import Tensor

from dfkd_lab.runs import Examination
from dfkd_lab.runs.examination import Images
from widgets import enlarged, thumbnails
from widgets.enlarged import Enlarged, step
from widgets.figures import COLORS
from widgets.loss_history import LossHistory
from widgets.pressable import Node, Pressable
from widgets.status import WARNING

PER_PAGE, COLUMNS = 48, 8
SIDE_PX, MOST_PX = 48, 64
"""About how wide and high a small image is shown, and the most that any is."""
ALL = "all classes"
STORED = "place in the memory"
SORTS: dict[str, Callable[[Images], Tensor | None]] = {
    STORED: lambda images: torch.arange(len(images)),
    "age": lambda images: images.ages,
    "loss": lambda images: images.losses,
    "class": lambda images: images.seen_by_teacher,
    "agreement": lambda images: images.agreement,
}
"""What images are sorted by; what the memory does not keep is not offered."""
ABOUT = {
    "age": "age: rounds since the image was made",
    "loss": "loss: the student's last on it",
    "class": "class: the one that the teacher sees",
    "agreement": "agreement: the student's probability of the class that the teacher sees",
}
ORDERS = ("smallest first", "largest first")
UNREAD = "of an image that no step has read yet, the largest loss there was when it came"
UNKEPT = "Its loss in earlier rounds is not kept."
STYLE = f"""
.dfkd-gallery {{ display: flex; flex-wrap: wrap; align-items: flex-start; gap: 4px 6px; line-height: 1.2; }}
.dfkd-thumb {{ font: inherit; color: inherit; background: none; border: 0; padding: 1px; cursor: pointer;
    width: var(--column); }}
.dfkd-thumb i {{ display: block; margin: 0 auto; width: var(--wide); height: var(--high);
    background-image: var(--sprites); background-size: var(--size); image-rendering: pixelated; }}
.dfkd-thumb small {{ display: block; font-size: 11px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
.dfkd-thumb.other small + small {{ color: {WARNING}; }}
.dfkd-thumb:focus-visible {{ outline: 2px solid {COLORS[0]}; outline-offset: 1px; }}
"""


class BufferBrowser:
    """Shows the images of an :class:`Examination`; nothing of them is sent before their page is shown."""

    def __init__(self) -> None:
        self.found: Examination | None = None
        self.page, self.opened = 0, -1
        """Of those that are shown: which page, and the place of the one that is enlarged, or -1."""
        self.order: list[int] = []
        """The images that are shown, in their order."""
        style = {"description_width": "initial"}
        box = ipywidgets.Layout(width="auto", flex="0 1 auto", margin="2px 14px 2px 0")
        self.sort = ipywidgets.Dropdown(description="sort by", options=[STORED], style=style, layout=box)
        self.direction = ipywidgets.Dropdown(description="order", options=ORDERS, style=style, layout=box)
        self.class_ = ipywidgets.Dropdown(description="class", options=[(ALL, -1)], style=style, layout=box)
        self.differing = ipywidgets.Checkbox(description="only where they disagree", indent=False, layout=box)
        self.pages, self.losses = Pressable(self.press), LossHistory()
        self.controls = (self.sort, self.direction, self.class_, self.differing)
        row = ipywidgets.Box(self.controls, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        parts = [row, self.pages, self.losses.widget]
        self.widget = ipywidgets.VBox(parts, layout=ipywidgets.Layout(display="none"))
        self._filling = False
        for each in self.controls:
            each.observe(lambda change: self._chosen(), "value")

    def show(self, found: Examination | None) -> None:
        """Show the images of this examination; of none, or one without images, nothing."""
        self.found = found if found is not None and found.images is not None else None
        self.widget.layout.display = "none" if self.found is None else None
        if self.found is None:
            self.pages.show()
            self.losses.show({})
            return
        self._filling = True  # new options choose the first of them
        self._offer(self.sort, [(name, name) for name, key in SORTS.items() if key(self._images) is not None])
        self._offer(self.class_, [(ALL, -1), *self._classes()])
        self._filling = False
        self._chosen()

    def press(self, name: str) -> None:
        """A button of the page, or an image by its place among those that are shown."""
        if name == "back":
            self.page, self.opened, back = max(0, self.opened) // PER_PAGE, -1, self.opened
            self._draw(focus=back)
            return
        steps = {"previous": -1, "next": 1}
        if name in ("previous page", "next page"):
            self.page += steps[name.removesuffix(" page")]
        elif name in steps:
            self.opened += steps[name]
        elif name.isdecimal():
            self.opened = int(name)
        self._draw()

    @property
    def _images(self) -> Images:
        assert self.found is not None
        assert self.found.images is not None
        return self.found.images

    def _classes(self) -> list[tuple[str, int]]:
        """The classes that the teacher sees, with how many images of each."""
        assert self.found is not None
        counts = torch.bincount(self._images.seen_by_teacher, minlength=len(self.found.class_names)).tolist()
        return [(f"{self.found.class_names[place]} ({count})", place) for place, count in enumerate(counts) if count]

    def _offer(self, control: Any, options: list[tuple[str, Any]]) -> None:
        if list(control.options) != options:
            chosen, values = control.value, [value for _, value in options]
            control.options = options
            control.value = chosen if chosen in values else values[0]

    def _chosen(self) -> None:
        """Sort and filter anew."""
        if self.found is None or self._filling:
            return
        keys = SORTS[self.sort.value](self._images)
        assert keys is not None
        order = torch.argsort(keys, stable=True, descending=self.direction.value == ORDERS[1])
        kept = torch.ones(len(order), dtype=torch.bool)
        if self.class_.value >= 0:
            kept &= self._images.seen_by_teacher == self.class_.value
        if self.differing.value:
            kept &= self._images.seen_by_teacher != self._images.seen_by_student
        self.order = order[kept[order]].tolist()
        self.page, self.opened = 0, -1
        self._draw()

    def _draw(self, focus: int = -1) -> None:
        if self.found is None:
            return
        pages = max(1, -(-len(self.order) // PER_PAGE))
        self.page = min(max(0, self.page), pages - 1)
        if self.opened >= 0 and self.order:
            self.opened = min(self.opened, len(self.order) - 1)
            shown = of_examined(self.found, self.order[self.opened])
            self.pages.show(*enlarged.nodes(shown, self.opened, len(self.order)))
            self.losses.show(shown.losses)
            return
        self.opened = -1
        self.losses.show({})
        self.pages.show(["style", {}, enlarged.STYLE + STYLE], self._head(pages), self._gallery(focus))

    def _head(self, pages: int) -> Node:
        first, end = self.page * PER_PAGE + 1, min(len(self.order), (self.page + 1) * PER_PAGE)
        shown = f"images {first:,} to {end:,} of {len(self.order):,}" if self.order else "no such image"
        about = ABOUT.get(self.sort.value, "")
        return [
            "div",
            {"role": "group", "aria-label": "pages"},
            step("previous page", "Previous page", disabled=self.page == 0),
            step("next page", "Next page", disabled=self.page >= pages - 1),
            ["span", {"role": "status"}, "; ".join(filter(None, (shown, about)))],
        ]

    def _gallery(self, focus: int) -> Node:
        """The thumbnails of the page, from one PNG."""
        assert self.found is not None
        start = self.page * PER_PAGE
        places = self.order[start : start + PER_PAGE]
        if not places:
            return ["div", {}]
        images = thumbnails.reduced(self._images.images[places], MOST_PX)
        height, width = images.shape[2:]
        scale = max(1, round(SIDE_PX / max(height, width)))  # whole, so that none shows a line of its neighbour
        wide, high = scale * width, scale * height
        rows = -(-len(places) // COLUMNS)
        sprites = f"--sprites: url({thumbnails.uri(thumbnails.png(images, COLUMNS))})"
        sizes = f"--wide: {wide}px; --high: {high}px; --size: {COLUMNS * wide}px {rows * high}px"
        column = f"--column: {max(wide, SIDE_PX) + 10}px"
        thumbs = [
            thumb(self.found, place, start + number, (-(number % COLUMNS) * wide, -(number // COLUMNS) * high),
                  focus=start + number == focus)
            for number, place in enumerate(places)
        ]  # fmt: skip
        style = "; ".join((sprites, sizes, column))
        return ["div", {"class": "dfkd-gallery", "role": "group", "aria-label": "images", "style": style}, *thumbs]


def thumb(found: Examination, place: int, number: int, offset: tuple[int, int], *, focus: bool) -> Node:
    """A small image as a button; below it the class that the teacher sees, and the student's if that is another.

    Args:
        found: The examination.
        place: Of the image in it.
        number: What is heard when it is pressed.
        offset: In px, where it is in the PNG of the page.
        focus: Whether the keyboard goes on here.
    """
    assert found.images is not None
    teacher, student = int(found.images.seen_by_teacher[place]), int(found.images.seen_by_student[place])
    words = [["small", {}, found.class_names[teacher]]]
    words += [["small", {}, f"student {found.class_names[student]}"]] if student != teacher else []
    said = described(found, place)
    return [
        "button",
        {
            "type": "button",
            "class": "dfkd-thumb" + (" other" if student != teacher else ""),
            "data-press": str(number),
            "title": said,
            "aria-label": said,
            **({"data-focus": "yes"} if focus else {}),
        },
        ["i", {"style": f"background-position: {offset[0]}px {offset[1]}px"}],
        *words,
    ]


def described(found: Examination, place: int) -> str:
    """An image in a sentence."""
    facts = "; ".join(f"{name} {words}" for name, words in facts_of(found, place).items())
    return f"synthetic image {place + 1}: {facts}"


def facts_of(found: Examination, place: int) -> Mapping[str, str]:
    """What is known of an image, in words; what the memory does not keep is said to be unknown."""
    images, names = found.images, found.class_names
    assert images is not None
    middle = images.classes.shape[1] // 2
    sees = {
        "teacher": (int(images.seen_by_teacher[place]), float(images.teacher[place, 0])),
        "student": (int(images.seen_by_student[place]), float(images.student[place, middle])),
    }
    facts = {f"the {who} sees": f"{names[class_]} ({sure:.3f})" for who, (class_, sure) in sees.items()}
    target = None if images.targets is None else int(images.targets[place])
    facts["target class"] = "not kept" if target is None else names[target] if target >= 0 else "none"
    facts["age"] = "not kept" if images.ages is None else _rounds(int(images.ages[place]))
    facts["last loss"] = "not kept" if images.losses is None else f"{float(images.losses[place]):.3f}"
    return facts


def of_examined(found: Examination, place: int) -> Enlarged:
    """An image of an examination, with what both networks say of it."""
    images = found.images
    assert images is not None
    losses = losses_of(images, place)
    remarks = [*([] if images.losses is None else [f"Last loss: {UNREAD}."]), *([] if losses else [UNKEPT])]
    columns = (each[place].tolist() for each in (images.classes, images.teacher, images.student))
    by_class = {class_: (found.class_names[class_], one, other) for class_, one, other in zip(*columns, strict=True)}
    return Enlarged(
        thumbnails.png(images.images[place : place + 1]),
        described(found, place),
        facts_of(found, place),
        list(by_class.values()),
        " ".join(remarks),
        losses,
    )


def losses_of(images: Images, place: int) -> dict[int, float]:
    """The student's last loss on an image after each round since it was made, as far as the run kept that."""
    if images.history is None or images.history_rounds is None:
        return {}
    by_round = zip(images.history_rounds.tolist(), images.history[place].tolist(), strict=True)
    return {round: loss for round, loss in by_round if not math.isnan(loss)}


def _rounds(age: int) -> str:
    return "made in the last round" if age == 0 else f"{age:,} round{'s' if age > 1 else ''}"
