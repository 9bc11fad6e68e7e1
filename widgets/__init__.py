"""The workbench in a notebook: readers of run folders, and the buttons that start them."""

from widgets.live import Live
from widgets.panel import Panel
from widgets.progress import Progress
from widgets.report import write as write_report

__all__ = ["Live", "Panel", "Progress", "write_report"]
