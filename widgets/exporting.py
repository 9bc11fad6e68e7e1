"""A button by which the student of a finished run leaves, by the command line's own process; the link is Downloads'."""

from __future__ import annotations

import subprocess
import sys
from html import escape
from pathlib import Path

import ipywidgets

from dfkd_lab.export import FORMATS, ExportSpec
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder, own_code
from widgets import status

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
        self.children: dict[Path, subprocess.Popen[str]] = {}
        """Exports that are on, by run folder."""
        self.said: dict[Path, tuple[str, bool]] = {}
        """What the last export of each folder said, and whether that is an alert."""
        self.button = ipywidgets.Button(
            description=BUTTON,
            tooltip="Write files that work without this library into export/ of the run folder",
            layout=ipywidgets.Layout(flex="0 0 auto", width="auto"),
        )
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
        if self.folder is None or self.folder.path in self.children:
            return
        formats = ",".join(name for name, box in self.boxes.items() if box.value)
        files = own_code.files_of(self.folder.spec()).values()
        trusted = all(python_file.trusted(name) for name in files)  # typed in this kernel
        self.children[self.folder.path] = subprocess.Popen(
            [sys.executable, "-m", "dfkd_lab", "export", str(self.folder.path), "--to", formats,
             *(["--trust-code"] if files and trusted else [])],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self.said[self.folder.path] = WORKING, False
        self.refresh()

    def refresh(self) -> None:
        """Look whether there is a student, and which processes have ended."""
        for path, child in [*self.children.items()]:
            if child.poll() is not None:
                text = child.communicate()[0].strip() or f"it ended without a word (status {child.returncode})"
                self.said[path] = text, child.returncode != 0
                del self.children[path]
        has_student = self.folder is not None and self.folder.status()["state"] == "finished"
        display = None if has_student else "none"
        if self.widget.layout.display != display:
            self.widget.layout.display = display
        path = self.folder.path if self.folder else Path()
        self.button.disabled = path in self.children
        self._say(*self.said.get(path, ("", False)))

    def _say(self, text: str, alert: bool) -> None:
        role, color = ("alert", f"color: {status.AMBER}; ") if alert else ("status", "")
        lines = "<br>".join(map(escape, text.splitlines()))
        status.put(self.message, f"<div role='{role}' style='{color}line-height: 1.35'>{lines}</div>" if text else "")
