"""The workbench: choose, start, watch. What trains is the command line's own process; this only requests and shows."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import RunFolder, default_folder, launch, list_runs, named_folder, prepare
from dfkd_lab.spec import record
from widgets import classroom, form, status, variations, visitor
from widgets.bar import BUTTONS, Bar
from widgets.choice import ROW, Choice
from widgets.compare import Compare
from widgets.live import Live
from widgets.queue_panel import QueuePanel
from widgets.trust import trust_code
from widgets.wording import in_short

PENDING = {"pausing": "Pausing at the next step.", "stopping": "Stopping after this round; its work is saved."}
REACHED = {"pausing": ("paused", "gone", *status.ENDED), "stopping": ("gone", *status.ENDED)}
HEADLESS = (
    "<p>The workbench has buttons, so it needs somebody to press them: open this notebook in JupyterLab. "
    "Without anybody, run <code>10_run.ipynb</code> through papermill.</p>"
)

OWN = "<p>You see your own runs here, and nobody else does. <a href='{}'>This address</a> leads back to them.</p>"

PAGES = ("Run", "Queue", "Compare")

LISTED_EVERY_S = 1.5
"""How often the list of runs is read again, for those that other processes begin."""

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
        self._listed, self._choosing = 0.0, 0
        self._make_widgets()
        self.choice.fill()
        self.live.start()
        self._find_runs()
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
        self._find_runs()
        self._summarize()

    def close(self) -> None:
        """Leave the screen; the run goes on."""
        self.live.close()
        self.choice.close()
        form.close(self.widget)

    def _make_widgets(self) -> None:
        self.message = ipywidgets.HTML()
        self.runs = ipywidgets.Dropdown(
            description="attach to",
            tooltip="Show another run of this folder, live if it is running",
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(flex="1 1 240px", max_width="480px", margin="2px 2px 2px 24px"),
        )
        self.choice = Choice(self._show_problem, self.root)
        self.live = Live(self._show_state)
        style = ipywidgets.HTML(form.STYLE + classroom.style())
        self.take = ipywidgets.Button(
            description="Take its settings",
            tooltip="Choose above what this run was given, for another run like it",
            layout=ipywidgets.Layout(flex="0 0 auto", width="auto"),
            disabled=True,
        )
        actions = {name: partial(self._tell, getattr(self, name.lower())) for name in BUTTONS}
        self.bar = Bar(actions, self.choice.widget, self.choice.trust.button)
        self.buttons = self.bar.buttons
        others = ipywidgets.Box([self.runs, self.take], layout={**ROW, "align_items": "center"})
        own = ipywidgets.HTML(OWN.format(way_back) if (way_back := visitor.way_back()) else "")
        parts = [style, own, self.bar.widget, self.message, self.choice.widget, self.live.widget, others]
        run = ipywidgets.VBox(parts, layout=ipywidgets.Layout(width="100%"))
        self.queue = QueuePanel(self.choice, self.root, self._watch)
        self.compared = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self.compare: Compare | None = None
        pages = [run, self.queue.widget, self.compared]
        self.widget = ipywidgets.Tab(pages, titles=PAGES, selected_index=0)
        self.widget.observe(lambda change: self._turned(), "selected_index")
        self.runs.observe(lambda change: self._tell(self._chosen), "value")
        self.take.on_click(lambda button: self._tell(self._take))

    def _turned(self) -> None:
        """Whoever turns to the comparison, or to the queue, sees the run folders as they are then."""
        page = PAGES[self.widget.selected_index]
        if page == "Queue":
            self.queue.refresh(at_once=True)
        if page != "Compare":
            return
        if self.compare:
            self.compare.refresh()
            return
        self.compare = Compare(self.root, live=True)
        self.compared.children = [self.compare.widget]

    def _watch(self, folder: RunFolder) -> None:
        """Show a run of the queue on the first page."""
        self.attach(folder)
        self.widget.selected_index = PAGES.index("Run")

    def _find_runs(self) -> None:
        folder = self.live.folder
        self._listed = time.monotonic()
        found = {str(each.path): each.path.relative_to(self.root).as_posix() for each in list_runs(self.root)}
        watched = str(folder.path) if folder else ""
        if watched and watched not in found:
            found[watched] = folder.name if folder and folder.exists() else f"{Path(watched).name} (gone)"
        options = (("(no run)", ""), *((name, path) for path, name in found.items()))
        self._choosing = threading.get_ident()
        if options != self.runs.options or watched != self.runs.value:
            self.runs.options = options
            self.runs.value = watched
        self._choosing = 0
        self.take.disabled = folder is None

    def _chosen(self) -> None:
        if self._choosing != threading.get_ident():
            self.attach(RunFolder(self.runs.value) if self.runs.value else None)

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
        if time.monotonic() - self._listed > LISTED_EVERY_S:
            self._find_runs()
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
        """Say what is watched, or else chosen."""
        spec = self.live.folder.spec() if self.live.folder and self.live.folder.exists() else None
        self.bar.say(variations.described(self.choice) if spec is None else in_short(record(spec)))

    def _switch_buttons(self) -> None:
        self.bar.switch(self._pending or self._state, can_start=not self.choice.problem)

    def _tell(self, action: Callable[[], None]) -> None:
        with self._sentence():
            action()

    @contextlib.contextmanager
    def _sentence(self) -> Iterator[None]:
        """An error becomes a sentence in the panel."""
        self._say("")
        try:
            yield
        except (SpecError, RunError, OSError) as error:
            self._say(str(error), alert=True)

    def _say(self, text: str, *, alert: bool = False) -> None:
        self.message.value = status.sentence(text, alert=alert) if text else ""


def free(path: Path) -> Path:
    """``path``, or the first of path-2, path-3, ... that holds no run."""
    number, found = 1, path
    while RunFolder(found).exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
