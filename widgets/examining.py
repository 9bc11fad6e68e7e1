"""A button by which a run is examined, by the command line's own process; what was found; and the images it was of."""

from __future__ import annotations

import ipywidgets

from dfkd_lab.errors import DamagedFile
from dfkd_lab.runs import Examination, RunFolder, examination
from dfkd_lab.runs.networks import STUDENT
from dfkd_lab.runs.recorder import CHECKPOINT
from dfkd_lab.system.files import stamp
from widgets import form, status
from widgets.buffer_browser import BufferBrowser
from widgets.running_command import RunningCommand

BUTTON = "Examine this run"
WORKING = "Examining: both networks look at the evaluation set and at the synthetic images."
TOO_EARLY = "There is nothing to examine yet: no student is saved."
ABOUT = (
    "Examining a run says which class is taken for which, and shows its synthetic images with what both networks say "
    "of each. It reads what the run saved last, and does not disturb it."
)


class Examining:
    """The button, a sentence on what was examined, and the browser; ``found`` is the examination, or None."""

    def __init__(self) -> None:
        self.folder: RunFolder | None = None
        self.found: Examination | None = None
        self.command = RunningCommand("examine", WORKING)
        self.button = form.button(
            BUTTON, "Compare both networks class by class and image by image, as the run was saved last"
        )
        self.message = ipywidgets.HTML(layout=ipywidgets.Layout(margin="2px 14px 2px 0"))  # the samples stand beside it
        self.browser = BufferBrowser()
        parts = [ipywidgets.Box([self.button]), self.message, self.browser.widget]
        self.widget = ipywidgets.VBox(parts, layout=ipywidgets.Layout(display="none"))
        self.button.on_click(lambda button: self.begin())
        self._read: tuple[int, ...] = ()
        self._damaged = ""

    def attach(self, folder: RunFolder | None) -> None:
        """Examine ``folder`` from now on; an examination that is on goes on by itself."""
        self.folder = folder
        self._read, self.found, self._damaged = (), None, ""
        self.browser.show(None)

    def begin(self) -> None:
        """Start the process."""
        if self.folder is not None:
            self.command.begin(self.folder)
            status.put(self.button, self.command.is_on(self.folder), "disabled")
            self._say(*self.command.about(self.folder))

    def refresh(self, round: int, shown: bool) -> bool:
        """Look which processes have ended, and read what is new; whether there is a new examination.

        Args:
            round: The last that the run has logged.
            shown: Whether a person looks at the classes or at the buffer.
        """
        self.command.refresh()
        changed = self._look()
        display = None if shown and self.folder is not None else "none"
        if self.widget.layout.display != display:
            self.widget.layout.display = display
        saved = [self.folder.path / name for name in (CHECKPOINT, STUDENT)] if self.folder else []
        has_student = any(path.is_file() for path in saved)
        status.put(self.button, not has_student or self.command.is_on(self.folder), "disabled")
        self._say(*self._sentence(round, has_student))
        return changed

    def _look(self) -> bool:
        """Read the file if it is another one by now."""
        path = self.folder.path / examination.FILE if self.folder else None
        now = stamp(path) if path else ()
        if now == self._read:
            return False
        self._read, self.found, self._damaged = now, None, ""
        try:
            self.found = examination.read(self.folder.path) if self.folder else None
        except DamagedFile as error:
            self._damaged = str(error)
        self.browser.show(self.found)
        return True

    def _sentence(self, round: int, has_student: bool) -> tuple[str, bool]:
        """What is to be said, and whether that is an alert."""
        said, refused = self.command.about(self.folder)
        if self.command.is_on(self.folder):
            return said, False
        if refused:
            return said.splitlines()[-1], True
        if self._damaged:
            return self._damaged, True
        if self.found is not None:
            return about(self.found, round), False
        return (ABOUT if has_student else TOO_EARLY), False

    def _say(self, text: str, alert: bool = False) -> None:
        status.put(self.message, status.sentence(text, alert=alert))


def about(found: Examination, round: int) -> str:
    """What was examined, after which round, and whether the run has gone on since."""
    parts = {"student right in": found.evaluation, "both networks agree in": found.synthetic}
    of = "of the pixels of" if found.task == "segmentation" else "of"
    words = [f"{what} {each.share:.3f} {of} {each.of}" for what, each in parts.items() if each is not None]
    since = ""
    if round > found.round:
        since = f" The run has gone on since, to round {round}: press to examine what it saved last."
    if round < found.round:
        since = " The run was begun again since: press to examine it anew."
    text = f"Examined after round {found.round} of {found.rounds}: {'; '.join([*words, *found.remarks])}."
    return text + since
