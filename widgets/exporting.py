"""A button by which the student of a run leaves, by the command line's own process; the link is Downloads'."""

from __future__ import annotations

import ipywidgets

from dfkd_lab.export import FORMATS, ExportSpec
from dfkd_lab.export.student import has_student
from dfkd_lab.runs import RunFolder
from widgets import form, status
from widgets.running_command import RunningCommand

BUTTON = "Export the student"
ABOUT = {
    "safetensors": "the weights, and what hubs read",
    "pt2": "the graph, for torch.export.load",
    "onnx": "the graph, for onnxruntime and others",
    "int8": "the graph in int8, calibrated on the synthetic images",
    "images": "the synthetic images, with what the teacher says of each",
}
WORKING = "Exporting, and holding each file against the student."


class Exporting:
    """A button and a box for each format, shown when the run that is attached has a student."""

    def __init__(self) -> None:
        self.folder: RunFolder | None = None
        self.command = RunningCommand("export", WORKING)
        self.button = form.button(BUTTON, "Write files that work without this library into export/ of the run folder")
        self.boxes = {
            name: ipywidgets.Checkbox(
                value=name in ExportSpec().to.split(","),
                description=name,
                tooltip=ABOUT[name],
                indent=False,
                layout=ipywidgets.Layout(width="auto", margin="2px 0 2px 10px"),
            )
            for name in FORMATS
        }
        self.message = ipywidgets.HTML()
        row = ipywidgets.Box([self.button, *self.boxes.values()], layout=ipywidgets.Layout(flex_flow="row wrap"))
        self.widget = ipywidgets.VBox([row, self.message])
        self.button.on_click(lambda button: self.begin())
        self.attach(None)

    def attach(self, folder: RunFolder | None) -> None:
        """Export the student of ``folder`` from now on; an export that is on goes on by itself."""
        self.folder = folder
        self.refresh()

    def begin(self) -> None:
        """Start the process."""
        if self.folder is not None:
            self.command.begin(self.folder, "--to", ",".join(name for name, box in self.boxes.items() if box.value))
        self.refresh()

    def refresh(self) -> None:
        """Look whether there is a student, and which processes have ended."""
        self.command.refresh()
        display = None if self.folder is not None and has_student(self.folder) else "none"
        if self.widget.layout.display != display:
            self.widget.layout.display = display
        status.put(self.button, self.command.is_on(self.folder), "disabled")
        text, alert = self.command.about(self.folder)
        status.put(self.message, status.sentence(text, alert=alert) if text else "")
