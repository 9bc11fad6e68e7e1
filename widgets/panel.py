"""The workbench: choose, start, watch. What trains is the command line's own process; this only requests and shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import RunFolder, default_folder, launch, list_runs, named_folder, prepare
from dfkd_lab.runs.keeping import free
from widgets import classroom, form, status, variations, visitor
from widgets.bar import BUTTONS, Bar
from widgets.choice import Choice
from widgets.compare import Compare
from widgets.hints import Hints
from widgets.live import Live
from widgets.queue_panel import QueuePanel
from widgets.run_table import RunTable
from widgets.trust import trust_code

PENDING = {"pausing": "Pausing at the next step.", "stopping": "Stopping after this round; its work is saved."}
REACHED = {"pausing": ("paused", "gone", *status.ENDED), "stopping": ("gone", *status.ENDED)}
HEADLESS = (
    "<p>The workbench has buttons, so it needs somebody to press them: open this notebook in JupyterLab. "
    "Without anybody, run <code>10_run.ipynb</code> through papermill.</p>"
)

OWN = (
    "<p>You see your own runs here. Other visitors do not see them; whoever runs this server does. "
    "<a href='{}' style='color: inherit; text-decoration: underline'>This address</a> leads back to them.</p>"
)

PAGES = ("Run", "Queue", "Compare")

_shown: list[Panel] = []


class Panel:
    """The panel; showing it again (a reload, a new kernel) finds the run that is on.

    ``root`` holds the run folders: runs/ beside the notebooks folder, or on a page that Voilà serves the visitor's own
    below it, unless told otherwise.
    """

    def __init__(self, root: Path | str | None = None, live: bool | None = None):
        self.root = Path(root) if root else visitor.own_root()
        self.watched = status.is_live(live)
        if not self.watched:
            return
        while _shown:
            _shown.pop().close()
        _shown.append(self)
        self._state, self._pending = "no run", ""
        self._compared: list[str] = []
        self._make_widgets()
        self.choice.fill()
        self.live.start()
        self.runs.show(None)
        self._attach_to_running()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if not self.watched:
            return {"text/html": HEADLESS, "text/plain": "The workbench needs JupyterLab."}
        return self.widget._repr_mimebundle_(**options)

    def start(self) -> None:
        """Begin a new run; an empty run folder takes the next free name."""
        if self.choice.resolved is None:
            raise SpecError(self.choice.problem)
        visitor.check_alone(self.root)
        spec = self.choice.resolved.spec
        self._say("Starting.")
        path = named_folder(spec.out, self.root) if spec.out else free(self.root / default_folder(spec).name)
        folder = prepare(dataclasses.replace(spec, out=RunFolder(path).out))
        if folder.status()["state"] == "finished":
            raise RunError(f"{folder.path} holds this very run, finished; give another folder")
        self.attach(folder, begin=True)

    def pause(self) -> None:
        """Ask the run to hold before its next step."""
        self._request("pause", "pausing")

    def stop(self) -> None:
        """Ask the run to end after this round, saved; end a process that is only starting."""
        if self.live.child and self.live.now()["state"] == "starting":
            self._say("Ending a process that has not begun.")
            self.live.child.terminate()
            return
        self._request("stop", "stopping")

    def resume(self) -> None:
        """Let a paused run go on, or begin a process that continues a stopped one."""
        if self._pending or self.live.now()["state"] == "paused":
            self._request("run", "")
        elif self.live.folder:
            self.choice.trust.check_folder(self.live.folder)
            visitor.check_alone(self.root)
            self.attach(self.live.folder, begin=True)

    def attach(self, folder: RunFolder | None, *, begin: bool = False) -> None:
        """Watch ``folder``; with ``begin``, after starting its process."""
        self._pending = ""
        self.bar.edit.value = folder is None
        self.live.attach(folder, launch(folder, trust_code(folder)) if folder and begin else None)
        self.runs.show(folder)
        for button in (self.take, self.leave):
            button.disabled = folder is None
        self._summarize()

    def close(self) -> None:
        """Leave the screen; the run goes on."""
        self.live.close()
        self.choice.close()
        form.close(self.widget)

    def _make_widgets(self) -> None:
        self.message = ipywidgets.HTML()
        self.runs = RunTable(self.root, lambda folder: self._tell(partial(self.attach, folder)), self._refuse_to_move)
        self.choice = Choice(self._show_problem, self.root)
        self.live = Live(self._show_state)
        style = ipywidgets.HTML(form.STYLE + classroom.style())
        self.take = form.button("Take its settings", "Choose above what this run was given, for another run like it")
        self.leave = form.button("Watch none", "Show no run; what runs goes on")
        self.take.disabled = self.leave.disabled = True
        actions = {name: partial(self._tell, getattr(self, name.lower())) for name in BUTTONS}
        self.bar = Bar(actions, self.choice.widget, self.choice.trust.button)
        self.buttons = self.bar.buttons
        self.bar.edit.observe(lambda change: self._summarize(), "value")
        others = ipywidgets.VBox([ipywidgets.HBox([self.take, self.leave]), self.runs], layout={"width": "100%"})
        own = ipywidgets.HTML(OWN.format(way_back) if (way_back := visitor.way_back()) else "")
        hints = Hints()
        parts = [style, own, self.bar.widget, self.message, self.choice.widget, self.live.widget, others, hints]
        run = ipywidgets.VBox(parts, layout=ipywidgets.Layout(width="100%"))
        self.queue = QueuePanel(self.choice, self.root, self._watch)
        self.compared = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self.compare: Compare | None = None
        pages = [run, self.queue.widget, self.compared]
        self.widget = ipywidgets.Tab(pages, titles=PAGES, selected_index=0)
        hints.watch(self.widget)
        self.widget.observe(lambda change: self._turned(), "selected_index")
        self.take.on_click(lambda button: self._tell(self._take))
        self.leave.on_click(lambda button: self._tell(partial(self.attach, None)))

    def _turned(self) -> None:
        """Whoever turns to the comparison, or to the queue, sees the run folders as they are then."""
        page = PAGES[self.widget.selected_index]
        if page == "Queue":
            self.queue.refresh(at_once=True)
        if page == "Compare":
            self._compare()

    def _compare(self) -> None:
        """Those that are marked in the table, if others were since the last time; else what is chosen there."""
        marked = self.runs.marked
        if self.compare is None:
            self.compare = Compare(self.root, live=True, names=marked)
            self.compared.children = [self.compare.widget]
        else:
            self.compare.refresh(self.compare.chosen if marked == self._compared else marked)
        self._compared = marked

    def _watch(self, folder: RunFolder) -> None:
        """Show a run of the queue on the first page."""
        self.attach(folder)
        self.widget.selected_index = PAGES.index("Run")

    def _refuse_to_move(self, folder: RunFolder) -> None:
        """Refuse to rename or delete what a process is about to write."""
        watched = self.live.folder
        if watched and watched.path.resolve() == folder.path.resolve() and self.live.now()["state"] == "starting":
            raise RunError(f"{folder.name} is starting; stop it first")
        waits = self.queue.order.name_of(folder) in self.queue.order.read().runs
        if waits and folder.status()["state"] != "finished":
            raise RunError(f"{folder.name} waits in the queue; cancel it there first")

    def _attach_to_running(self) -> None:
        on = [each for each in list_runs(self.root) if each.status()["state"] in ("running", "paused")]
        if on:
            self.attach(on[0])
            self._tell(self._take)

    def _take(self) -> None:
        """Show the settings of the run that is watched as the choice."""
        if self.live.folder:
            self.choice.take(self.live.folder.spec())

    def _request(self, request: str, pending: str) -> None:
        """Show what is requested, then request it: the answer to a click waits neither for a disk nor for the run."""
        if self.live.folder:
            self._pending = pending
            self._say(PENDING.get(pending, "Going on."))
            self._switch_buttons()
            self.live.folder.request(request)

    def _show_state(self, state: str) -> None:
        """At each look, not at each change: a click may be answered after the state it asks for was reached."""
        self.runs.refresh()
        pending = "" if self._pending and state in REACHED[self._pending] else self._pending
        changed = (state, pending) != (self._state, self._pending)
        self._state, self._pending = state, pending
        if changed:
            self._show_problem()
        self._switch_buttons()
        if self.widget.selected_index == PAGES.index("Queue"):
            self.queue.refresh()

    def _show_problem(self) -> None:
        """What keeps the choice from being started, else what is requested of the run, else nothing."""
        if self.choice.problem:
            self._say(f"Cannot start: {self.choice.problem}", alert=True)
        else:
            self._say(PENDING.get(self._pending, ""))
        self.queue.offer()
        self._summarize()
        self._switch_buttons()

    def _summarize(self) -> None:
        """Say what Start would begin while that can be seen, and else what is watched."""
        watched = self.live.folder if self.live.folder and self.live.folder.exists() else None
        if watched is None or self.bar.edit.value:
            self.bar.say(("to start: " if watched else "") + variations.described(self.choice))
        else:
            self.bar.say(variations.of_run(watched.spec()))

    def _switch_buttons(self) -> None:
        self.bar.switch(self._pending or self._state, can_start=not self.choice.problem)

    def _tell(self, action: Callable[[], None]) -> None:
        with status.refused(self._say):
            action()

    def _say(self, text: str, *, alert: bool = False) -> None:
        status.put(self.message, status.sentence(text, alert=alert) if text else "")
