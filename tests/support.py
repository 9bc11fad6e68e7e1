"""What tests of several rooms share that is no fixture."""

from typing import Any

from dfkd_lab import RunFolder


def events_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The rounds of a run folder as plain dictionaries."""
    return [report.event() for report in folder.reports()]
