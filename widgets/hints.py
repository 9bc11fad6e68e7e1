"""What ipywidgets leaves out of a control's own elements: the names of sliders, and tooltips beside a description."""

from __future__ import annotations

from pathlib import Path

import anywidget
import ipywidgets
import traitlets


class Hints(anywidget.AnyWidget):
    """Gives each control in a box its tooltip and each slider its name, whenever it is drawn; itself not seen.

    A tooltip is the title of the control's label and of what takes the keyboard: it is seen where the pointer rests,
    and read out after the name.
    """

    _esm = Path(__file__).with_name("hints.js")
    box = traitlets.Unicode(help="model id of the box that holds the controls, at any depth").tag(sync=True)

    def watch(self, box: ipywidgets.Box) -> None:
        """Serve the controls in ``box``, also those that it gets later."""
        self.box = box.model_id
