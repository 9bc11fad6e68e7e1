"""The queue: the present choice over values of its settings, a run each, computed one after the other."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from dfkd_lab import sweeps
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.timing import duration
from dfkd_lab.sweeps.order import Row
from widgets import form, status, variations, visitor
from widgets.choice import ROW, Choice

PERIOD_S = 1.0
SHOWN = 40
"""Runs that have a line; the others are counted."""
NOTHING = "Nothing waits here. Choose on the page Run, say above what to vary, and add the runs."
JOBS = (1, 2, 3, 4, 6, 8, 12, 16)
Show = Callable[[RunFolder], None]


class QueuePanel:
    """Adds runs to the queue of ``root``, and shows it, to be put in another order; a process of its own computes them.

    ``choice`` is what the runs have in common; ``show`` is given the run that a person wants to watch.
    """

    jobs: ipywidgets.Dropdown

    def __init__(self, choice: Choice, root: Path, show: Show):
        self.choice, self.root, self.show = choice, root, show
        self.order = sweeps.Order(root)
        self.child: subprocess.Popen[bytes] | None = None
        """Which works it off, if it was begun here."""
        self.lines: dict[str, Line] = {}
        self._looked, self._drawing = 0.0, 0
        self._asked = False
        """Whether a person is asked below the fields if all are to be cancelled."""
        self._lock, self._adding = threading.RLock(), threading.Lock()
        self._make_widgets()

    def add(self) -> None:
        """Plan the present choice over the values that are typed, and put the runs at the end of the queue.

        Raises:
            SpecError: if nothing is varied, or one of the runs cannot be run; then none is added.
            RunError: if they could not be begun, on a served page where another is at work; then none is added either.
        """
        if not self._adding.acquire(blocking=False):
            raise SpecError("runs are being planned; wait for them")
        try:
            self._check_may_begin()
            sweep = variations.sweep_of(self.choice, [(axis.value, text.value) for axis, text in self.axes], self.root)
            with self.order.changing():  # before anything is written for it
                self.say(f"Planning {sweep.size} runs.")
            folders = sweep.prepare(lambda done: self.say(f"Planned {done} of {sweep.size} runs."))
            self._check_may_begin()  # again, as planning takes its time
            self.order.add(folders)
            self._begin()
        finally:
            self._adding.release()
        finished = sum(each.status()["state"] == "finished" for each in folders)
        held = "; the queue is held" if self.order.read().held else ""
        known = f", {finished} of them finished before" if finished else ""
        told = f" ({other})" if (other := variations.unlike(sweep.path)) else ""
        self.say(f"{len(folders)} runs are in the queue as {sweep.name}{told}{known}{held}.")
        self.refresh(at_once=True)

    def refresh(self, at_once: bool = False) -> None:
        """Read the queue, at most once a second unless ``at_once``, and show what is new."""
        if not at_once and time.monotonic() - self._looked < PERIOD_S:
            return
        self._looked = time.monotonic()
        with self._lock:
            try:
                row = self.order.read()
            except RunError as error:
                status.put(self.standing, status.sentence(str(error), alert=True))
                return
            self._draw(row)

    def say(self, text: str, *, alert: bool = False) -> None:
        """A sentence below the fields; a question that stood there is taken back."""
        self._asked = False
        status.put(self.message, status.sentence(text, alert=alert) if text else "")

    def _draw(self, row: Row) -> None:
        names = {name: self.order.folder(name) for name in row.runs}
        found = {name: folder.status() for name, folder in names.items()}
        waiting = [name for name, each in found.items() if each["state"] != "finished"]
        for name in self.lines.keys() - set(waiting[:SHOWN]):
            form.close(self.lines.pop(name).widget)
        for name in waiting[:SHOWN]:
            if name not in self.lines:
                self.lines[name] = Line(name, self)
            self.lines[name].say(found[name])
        shown = tuple(self.lines[name].widget for name in waiting[:SHOWN])
        if self.rows.children != shown:
            self.rows.children = shown
        at_work = self._is_worked_off()
        status.put(self.standing, status.sentence(standing(row, names, found, at_work)))
        status.put(self.hold, "Hold" if at_work and not row.held else "Go on", "description")
        for button in (self.hold, self.clear):
            status.put(button, not waiting, "disabled")
        if self.jobs.value != row.jobs:
            self._drawing = threading.get_ident()
            self.jobs.options = sorted({*JOBS, row.jobs})
            self.jobs.value = row.jobs
            self._drawing = 0

    def _make_widgets(self) -> None:
        self.axes = [self._axis("vary", "seed", "0, 1, 2"), self._axis("and", variations.NONE, "")]
        self.button = form.button("Add to the queue", "Plan a run for each combination, and put them at the end")
        self.button.button_style = "primary"
        self.button.on_click(lambda button: self.tell(self._add_apart))
        self.hold = form.button("Hold", "Begin no more runs, or go on; what runs goes on")
        self.hold.on_click(lambda button: self.tell(self._hold))
        self.clear = form.button(
            "Cancel all", "Take all out of the queue; what was computed is kept", self._ask_to_clear
        )
        self.jobs = ipywidgets.Dropdown(
            options=JOBS,
            description="at a time",
            tooltip="Runs that are computed beside each other; they share the cores and the GPUs of this machine. "
            "Another number of threads adds up in another order, and the last bits differ",
            disabled=status.is_served(),  # where a class shares the machine
            layout=ipywidgets.Layout(width="150px"),
        )
        self.jobs.observe(lambda change: self.tell(self._set_jobs), "value")
        self.common, self.message, self.standing = (ipywidgets.HTML() for _ in range(3))
        self.rows = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        fields = [each for axis in self.axes for each in axis]
        first = ipywidgets.Box([*fields, self.button], layout={**ROW, "align_items": "center"})
        second = ipywidgets.Box(
            [self.hold, self.clear, self.jobs, self.standing], layout={**ROW, "align_items": "center"}
        )
        whole = ipywidgets.Layout(width="100%")
        self.widget = ipywidgets.VBox([self.common, first, self.message, second, self.rows], layout=whole)

    def _axis(self, name: str, value: str, text: str) -> tuple[ipywidgets.Dropdown, ipywidgets.Text]:
        axis = ipywidgets.Dropdown(
            options=self._offered(may_be_none=value != "seed"),
            value=value,
            description=name,
            tooltip="The setting in which the runs differ",
            style={"description_width": "40px"},
            layout=ipywidgets.Layout(width="250px"),
        )
        values = ipywidgets.Text(
            value=text,
            placeholder="values, as in 1, 2, 5",
            tooltip="Its values, with commas between; 0..9 is every whole number from 0 to 9",
            layout=ipywidgets.Layout(width="210px"),
        )
        return axis, values

    def offer(self) -> None:
        """Say what is chosen now, and have its settings to vary."""
        chosen = variations.described(self.choice)
        status.put(
            self.common, status.sentence(f"Chosen on the page Run: {chosen}. What is varied takes the place of that.")
        )
        for number, (axis, _) in enumerate(self.axes):
            options = self._offered(may_be_none=number > 0)
            if axis.options != options:
                before, names = axis.value, [name for _, name in options]
                axis.options = options
                axis.value = before if before in names else names[0]

    def _offered(self, may_be_none: bool) -> tuple[tuple[str, str], ...]:
        none = [(variations.NONE, variations.NONE)] if may_be_none else []
        return (*none, *variations.offered(variations.axes(self.choice)))

    def tell(self, action: Callable[[], Any]) -> None:
        """Do what a click asks for; an error becomes a sentence."""
        with status.refused(self.say):
            action()

    def _add_apart(self) -> None:
        """Planning takes a second a run, and clicks are heard meanwhile."""
        threading.Thread(target=self.tell, args=(self.add,), name="dfkd_lab queue", daemon=True).start()

    def _hold(self) -> None:
        held = self.hold.description == "Hold"
        if not held:
            self._check_may_begin()
        self.order.hold(held)
        if not held:
            self._begin()
        self.refresh(at_once=True)

    def _ask_to_clear(self) -> None:
        """The first press asks, the second cancels, the last run first, so that none begins meanwhile."""
        if self._asked:
            self.tell(self._clear)
        else:
            self.say("Press Cancel all again to take all runs out of the queue; what was computed is kept.", alert=True)
            self._asked = True

    def _clear(self) -> None:
        names = [name for name in self.order.read().runs if self.order.folder(name).status()["state"] != "finished"]
        for name in reversed(names):
            self.order.cancel(name)
        self.say(f"{len(names)} runs are out of the queue.")
        self.refresh(at_once=True)

    def _is_worked_off(self) -> bool:
        return self.order.is_begun() or (self.child is not None and self.child.poll() is None)

    def _check_may_begin(self) -> None:
        if not self._is_worked_off():
            visitor.check_alone(self.root)

    def _begin(self) -> None:
        self.child = self.order.have_worked_off() or self.child

    def _set_jobs(self) -> None:
        if self._drawing == threading.get_ident():
            return
        if status.is_served():  # the page disables the field, and whoever sends messages does not
            jobs = self.jobs.value
            self.refresh(at_once=True)
            raise SpecError(f"jobs = {jobs}; allowed: 1, as {visitor.ONE_AT_A_TIME}")
        self.order.set_jobs(self.jobs.value)


class Line:
    """One run of the queue: how it stands, and what can be done about it."""

    def __init__(self, name: str, panel: QueuePanel):
        self.name, self.panel = name, panel
        self.unlike = variations.unlike(panel.order.folder(name).path.parent)
        self.text = ipywidgets.HTML(layout=ipywidgets.Layout(flex="1 1 320px", min_width="0"))
        actions = {
            "↑": ("Earlier", lambda: panel.order.move(name, -1)),
            "↓": ("Later", lambda: panel.order.move(name, 1)),
            "Cancel": ("Take out of the queue; what was computed is kept", lambda: panel.order.cancel(name)),
            "Watch": ("Show it on the page Run", lambda: panel.show(panel.order.folder(name))),
        }
        buttons = []
        for label, (tooltip, action) in actions.items():
            button = form.button(label, f"{tooltip}: {name}")
            button.on_click(lambda button, action=action: panel.tell(lambda: self._do(action)))
            buttons.append(button)
        self.widget = ipywidgets.HBox([self.text, *buttons], layout=ipywidgets.Layout(width="100%"))

    def say(self, found: dict[str, Any]) -> None:
        """Show the run's status."""
        rounds = f" · round {found['round']} of {found['rounds']}" if found.get("rounds") else ""
        message = f" · {escape(found['message'])}" if found.get("message") else ""
        begun = (self.panel.order.folder(self.name).path / "log.txt").exists()
        state = found["state"] if found["state"] != "new" else "starting" if begun else "waits"
        told = f" ({escape(self.unlike)})" if self.unlike else ""
        words = f"<b>{escape(state)}</b> {escape(self.name)}{told}{rounds}{message}"
        status.put(self.text, f"<div style='line-height: 1.35'>{words}</div>")

    def _do(self, action: Callable[[], Any]) -> None:
        action()
        self.panel.refresh(at_once=True)


def standing(row: Row, folders: dict[str, RunFolder], found: dict[str, dict[str, Any]], at_work: bool) -> str:
    """How the queue stands, in a sentence."""
    if not row.runs:
        return NOTHING
    states = [each["state"] for each in found.values()]
    finished = [name for name, each in found.items() if each["state"] == "finished"]
    running = states.count("running") + states.count("paused")
    left = len(states) - len(finished) - running
    words = [f"{len(finished)} of {len(states)} finished", f"{running} at work" if running else ""]
    if finished and left and at_work:
        took = [folders[name].result().get("seconds") or 0.0 for name in finished[-5:]]
        words.append(f"about {duration(sum(took) / len(took) * left / row.jobs)} for the other {left}")
    if left and not at_work:
        words.append(f"nothing computes the other {left}: press Go on")
    elif row.held:
        words.append("held: no more are begun")
    return " · ".join(filter(None, words))
