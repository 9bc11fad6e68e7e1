"""Accuracy over the student's steps, drawn for RESULTS.md: a line a row, from the first seed of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler


def draw(rows: dict[str, list[dict[str, Any]]], path: Path) -> str:
    """Write an SVG of the ``curve`` of each row's first run to ``path``; gives the Markdown that shows it.

    Args:
        rows: Runs by row; a run has ``curve``, pairs of round and accuracy, and may lack it.
        path: Below docs/, written anew only where there is a curve.

    Returns:
        An image in Markdown; a sentence, if there is no curve yet.
    """
    curves = {name: runs[0]["curve"] for name, runs in rows.items() if runs and len(runs[0].get("curve", [])) > 1}
    if not curves:
        return "No curve has been measured yet."
    looks = cycler(linestyle=["-", "--", ":"]) * mpl.rcParams["axes.prop_cycle"]  # ten colors are not enough
    with mpl.rc_context({"svg.hashsalt": "dfkd_lab", "font.size": 9, "axes.prop_cycle": looks}):
        figure = Figure(figsize=(8, 4), layout="constrained", facecolor="white")
        axes = figure.add_subplot(xlabel="share of the run's rounds", ylabel="accuracy on the test set")
        for name, curve in curves.items():
            rounds, accuracies = zip(*curve, strict=True)
            axes.plot([each / rounds[-1] for each in rounds], accuracies, label=name)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return f"![Accuracy over the rounds, one seed a row](docs/{path.name})"
