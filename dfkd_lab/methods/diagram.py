"""A recipe as a picture: its slots and what flows between them, as SVG that reads on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from dfkd_lab.engine.recipe import Losses, Recipe

FACTS = {
    "capacity": "{:,} images",
    "replayed": "+ {:,} replayed",
    "n": "{:,} images a step",
    "z_dim": "code of {:,}",
    "meta": "meta: {}",
    "padding": "crop, {} px padding",
    "flip": "mirrored",
    "distance": "roll, {} px",
}
"""What is said of what fills a slot, if it has such an attribute."""

LINE, PAD, TOP = 17, 10, 34
COLUMNS = ((8, 176), (214, 160), (404, 170), (604, 198))
STYLE = (
    ".dfkd-slots{color:var(--jp-ui-font-color1,#222);font:12.5px system-ui,sans-serif;max-width:810px;width:100%}"
    ".dfkd-slots .head{font-weight:600}.dfkd-slots .note{opacity:.75}"
    "@media(prefers-color-scheme:dark){.dfkd-slots{color:var(--jp-ui-font-color1,#ddd)}}"
)
COLORS = {"synthesis": "#3f86d8", "memory": "#3a9e6f", "student": "#e08214", "teacher": "#7f7f7f"}


def draw(name: str, recipe: Recipe) -> str:
    """The slots of ``recipe`` as an SVG: above the synthesis phase, below distillation, the memory between them."""
    schedule = recipe.schedule
    above = [
        ("synthesizer", type(recipe.synthesizer).__name__, facts(recipe.synthesizer), "synthesis"),
        ("view", type(recipe.view).__name__, facts(recipe.view), "synthesis"),
        ("observation", "teacher, student", ["one pass, with gradient"], "teacher"),
        ("losses", "", weights(recipe.losses, schedule.warm_up) or ["nothing is trained"], "synthesis"),
    ]
    below = [
        ("memory", type(recipe.memory).__name__, facts(recipe.memory), "memory"),
        ("student view", type(recipe.student_view).__name__, facts(recipe.student_view), "student"),
        ("observation", "teacher, student", ["one pass"], "teacher"),
        ("student's losses", "", weights(recipe.student_losses, 0), "student"),
    ]
    first, second = _height(above), _height(below)
    low = TOP + first + 46
    parts = [
        _text(8, 20, f"{name}: {_turns(recipe)}", "head"),
        *(_box(x, TOP, first, *row) for x, row in zip(COLUMNS, above, strict=True)),
        *(_box(x, low, second, *row) for x, row in zip(COLUMNS, below, strict=True)),
        *(_arrow(x - 30, y, x, y) for x, _ in COLUMNS[1:] for y in (TOP + first / 2, low + second / 2)),
        _arrow(96, TOP + first, 96, low),
        _text(104, TOP + first + 30, "write; draw new images" if recipe.memory.draws else "write", "note"),
        _back(TOP + first, 60, f"{_steps(schedule.g_steps)} a turn" if schedule.g_steps else ""),
        _back(low + second, 96, f"the student's losses; {_steps(schedule.s_steps)} a turn"),
    ]
    height = low + second + 36
    title = escape(f"The slots of {name}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dfkd-slots" viewBox="0 0 810 {height:g}" role="img" '
        f'aria-label="{title}"><title>{title}</title><style>{STYLE}</style>'
        '<defs><marker id="dfkd-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#7f7f7f"/></marker></defs>' + "".join(parts) + "</svg>\n"
    )


def facts(filling: Any) -> list[str]:
    """What is to be said of what fills a slot, one short line each."""
    facts = {name: getattr(filling, name) for name in FACTS if getattr(filling, name, None)}
    return [FACTS[name].format(value) for name, value in facts.items()]


def weights(losses: Losses, warm_up: int) -> list[str]:
    """Each loss with its weight, one line each; those that begin later say when."""
    lines = []
    for name, each in losses.items():
        after = {warm_up: ", after warm-up", warm_up - 1: ", as warm-up ends"}
        late = after.get(each.start, f", from round {each.start + 1}")
        lines += [f"{each.weight:.3g} × {name}{late if each.start else ''}"] if each.weight else []
    return lines


def _turns(recipe: Recipe) -> str:
    schedule = recipe.schedule
    turns = f"{schedule.cycles} turns a round" if schedule.cycles > 1 else "one turn a round"
    warm_up = f", {schedule.warm_up} rounds of warm-up" if schedule.warm_up else ""
    return f"{turns}, batches of {schedule.batch:,}{warm_up}"


def _height(rows: Iterable[tuple[str, str, list[str], str]]) -> float:
    return max(2 * PAD + LINE * (1 + bool(what) + len(lines)) for _, what, lines, _ in rows)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"


def _box(column: tuple[int, int], y: float, height: float, slot: str, what: str, lines: list[str], kind: str) -> str:
    (x, width), color = column, COLORS[kind]
    text = [_text(x + PAD, y + PAD + 12, slot, "note")]
    for place, line in enumerate([what, *lines] if what else lines):
        style = "head" if what and not place else ""
        text.append(_text(x + PAD, y + PAD + 12 + LINE * (place + 1), line, style))
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{color}" fill-opacity=".12" '
    return frame + f'stroke="{color}" stroke-width="1.5"/>' + "".join(text)


def _text(x: float, y: float, text: str, style: str = "") -> str:
    class_ = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}" fill="currentColor"{class_}>{escape(text)}</text>'


def _arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    return _path(f"M{x0:g} {y0:g}L{x1:g} {y1:g}")


def _back(y: float, end: float, text: str) -> str:
    """The way back, below a row of boxes."""
    if not text:
        return ""
    return _path(f"M714 {y:g}v14H{end:g}v-14") + _text(414, y + 30, text, "note")


def _path(way: str) -> str:
    return f'<path d="{way}" fill="none" stroke="#7f7f7f" stroke-width="1.3" marker-end="url(#dfkd-tip)"/>'
