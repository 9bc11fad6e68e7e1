"""Runs beside each other: run folders in; groups of seeds, and the rows of a table, out."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

from dfkd_lab.runs.folder import NOT_IDENTITY, RunFolder, default_folder, remark
from dfkd_lab.spec import record
from dfkd_lab.system.text import csv_table
from widgets import form
from widgets.series import DEVIATION_OVER_ROUNDS, MEAN_OVER_ROUNDS, Reports

RESULTS = {
    "last": "accuracy, last round",
    "mu": MEAN_OVER_ROUNDS,
    "sigma": DEVIATION_OVER_ROUNDS,
    "oracle_best": "best round (oracle: needs labels)",
    "teacher": "teacher accuracy",
    "agreement": "agreement, last round",
    "images": "images",
    "teacher_queries": "teacher queries",
    "s_steps": "student steps",
    "seconds": "seconds",
}
"""What a table says of runs, by its name in ``RunFolder.result``."""
HINTS = {
    "mu": "mean of the accuracy, or mIoU, of all evaluated rounds of a run so far; no forecast",
    "sigma": "standard deviation of the accuracy, or mIoU, over the evaluated rounds of a run",
}
"""What these say that their names do not."""
FILES = ("teacher file", "evaluation images")
"""What else makes runs the same, by its SHA-256."""
SEED = re.compile("(^|-)seed[0-9]+")


@dataclass(frozen=True)
class Run:
    """What one run folder held when it was read."""

    name: str
    seed: int
    settings: Mapping[str, Any]
    """All that makes it the same run as another but for the seed, nested settings beside the others."""
    reports: Reports
    result: Mapping[str, Any]
    teacher: str
    device: str
    commit: str
    remark: str
    class_names: tuple[str, ...] = ()
    """Of the teacher's outputs; empty where they are not known."""
    given: str = ""
    """What a person called the run, without its seed; empty where it has the name that a run is given, or a sweep's."""

    @property
    def metric(self) -> str:
        """What ``last`` is: "accuracy" or "mIoU"."""
        return str(self.result.get("metric", "accuracy"))

    @property
    def iou(self) -> list[float | None]:
        """Of each class in the last round that was evaluated; empty of a classification."""
        return next((each.details["iou"] for each in reversed(self.reports) if each.details.get("iou")), [])

    @classmethod
    def read(cls, folder: RunFolder) -> Run:
        """Read a folder once.

        Raises:
            RunError: if it is no run folder.
            ValueError: if a file in it cannot be understood.
        """
        spec, manifest = record(folder.spec()), folder.manifest()
        nested, seed = spec.pop("settings"), spec.pop("seed")
        session = (manifest.get("sessions") or [{}])[-1]
        files = {
            FILES[0]: (manifest.get("teacher") or {}).get("sha256", "")[:8],
            FILES[1]: (manifest.get("evaluation") or {}).get("images_sha256", "")[:8],
        }
        return cls(
            name=folder.name,
            seed=seed,
            settings={**{name: spec[name] for name in spec if name not in NOT_IDENTITY}, **nested, **files},
            reports=folder.reports(),
            result=folder.result(),
            teacher=spec["teacher"],
            device=session.get("device", ""),
            commit=session.get("commit", "")[:8],
            remark=remark(folder),
            class_names=tuple((manifest.get("teacher") or {}).get("class_names", ())),
            given=_given(folder),
        )


@dataclass(frozen=True)
class Group:
    """Runs with the same settings but the seed."""

    label: str
    runs: tuple[Run, ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its runs have in common."""
        return self.runs[0].settings

    @property
    def measured(self) -> bool:
        """Whether accuracy was measured; agreement stands in for it otherwise."""
        return any(report.accuracy is not None for run in self.runs for report in run.reports)

    @property
    def title(self) -> str:
        """The label as a figure shows it, with what its numbers are not shown without."""
        notes = ["real images"] * bool(self.runs[0].remark) + ["agreement"] * (not self.measured)
        return escape(", ".join([self.label, *notes]), quote=False)

    @property
    def iou(self) -> list[list[float]]:
        """By class, the intersection over union of each run that has one; empty of a classification."""
        found = [run.iou for run in self.runs if run.iou]
        return [[value for value in each if value is not None] for each in zip_longest(*found)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of those of ``iou``; their numbers where no run knows them."""
        known = next((run.class_names for run in self.runs if run.class_names), ())
        return known if len(known) >= len(self.iou) else tuple(map(str, range(len(self.iou))))

    def values(self, name: str) -> list[float]:
        """One number of the result for each run that has it."""
        found = (run.result.get(name) for run in self.runs)
        return [value for value in found if value is not None and math.isfinite(value)]


def group(folders: Iterable[RunFolder]) -> list[Group]:
    """Read ``folders``, and put those with the same settings but the seed together, in the order of their names.

    A seed counts once: a repeated run adds nothing to n, so repetitions are a group of their own.
    """
    return grouped([Run.read(folder) for folder in folders])


def grouped(runs: Iterable[Run]) -> list[Group]:
    """:func:`group` for runs that were read before; runs without a finished round have nothing to compare."""
    alike: dict[tuple[str, int], list[Run]] = {}
    times: Counter[tuple[str, int]] = Counter()
    for run in sorted(runs, key=lambda run: (run.name, run.seed)):
        if run.reports:
            settings = repr(sorted(run.settings.items()))
            alike.setdefault((settings, times[settings, run.seed]), []).append(run)
            times[settings, run.seed] += 1
    groups = [Group("", tuple(each)) for each in alike.values()]
    labels = [_label(each, groups) for each in groups]
    again = Counter(labels)
    return [
        Group(f"{label} ({each.runs[0].name})" if again[label] > 1 else label, each.runs)
        for label, each in zip(labels, groups, strict=True)
    ]


def metric(groups: Iterable[Group]) -> str:
    """What figures and tables of these groups show: accuracy, mIoU, or either."""
    return " or ".join(sorted({run.metric for each in groups for run in each.runs})) or "accuracy"


def differing(groups: Sequence[Group]) -> dict[str, list[Any]]:
    """The settings that are not the same in all groups, with the value of each; None where a group has none."""
    names = dict.fromkeys(name for each in groups for name in each.settings)
    found = {name: [each.settings.get(name) for each in groups] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def chosen(groups: Sequence[Group]) -> list[str]:
    """The settings that somebody varied: the method, and what differs within one.

    What differs because the methods do says no more than the method.
    """
    methods = dict.fromkeys(each.settings["method"] for each in groups)
    alike = [[each for each in groups if each.settings["method"] == method] for method in methods]
    within = dict.fromkeys(name for rivals in alike for name in differing(rivals))
    return [*(["method"] * (len(methods) > 1)), *(name for name in within if name not in FILES)]


def rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """A row a group: means over its seeds, and as ``<name>_sd`` their standard deviation (None for one seed)."""
    return [_row(each) for each in groups]


def to_csv(groups: Sequence[Group], path: Path | str) -> Path:
    """Write :func:`rows`, unrounded, and behind them as ``setting.<name>`` the settings that differ."""
    differ = differing(groups)
    table = [
        {
            **row,
            "runs": " ".join(run.name for run in each.runs),
            **{f"setting.{name}": values[index] for name, values in differ.items()},
        }
        for index, (row, each) in enumerate(zip(rows(groups), groups, strict=True))
    ]
    path = Path(path)
    path.write_text(csv_table(table, list(table[0]) if table else []), encoding="utf-8", newline="")
    return path


def _given(folder: RunFolder) -> str:
    """The name of a run folder that a person gave, without its seed; empty if none did."""
    in_sweep = any((parent / "sweep.yaml").exists() for parent in list(folder.path.parents)[:2])
    own = in_sweep or folder.name.startswith(default_folder(folder.spec()).name)
    return "" if own else SEED.sub("", folder.name)


def _label(group: Group, groups: Sequence[Group]) -> str:
    """What a person calls its runs, if all of them alike, and in brackets what they are; else the latter alone."""
    given = {run.given for run in group.runs}
    name = given.pop() if len(given) == 1 else ""
    return f"{name} ({_settings_label(group, groups, name)})" if name else _settings_label(group, groups)


def _settings_label(group: Group, groups: Sequence[Group], name: str = "") -> str:
    """The method, with what tells it from other groups of that method while that is short, else by ``name``."""
    method = str(group.settings["method"])
    rivals = [each for each in groups if each.settings["method"] == method]
    apart = [f"{name} {form.written(group.settings[name])}" for name in differing(rivals) if name in group.settings]
    if len(apart) > 3:
        return method if name else f"{method} ({SEED.sub('', group.runs[0].name)})"
    return ", ".join([method, *apart])


def _row(group: Group) -> dict[str, Any]:
    states = Counter(run.result["state"] for run in group.runs)
    lengths = [len(run.reports) for run in group.runs]
    row: dict[str, Any] = {
        "label": group.label,
        "remark": group.runs[0].remark,
        "n": len(group.runs),
        "seeds": " ".join(str(seed) for seed in sorted(run.seed for run in group.runs)),
        "state": ", ".join(f"{count} {state}" if len(states) > 1 else state for state, count in states.items()),
        "rounds": " to ".join(str(end) for end in sorted({min(lengths), max(lengths)})),
    }
    for name in RESULTS:
        values = group.values(name)
        row[name] = statistics.mean(values) if values else None
        row[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else None
    for name in ("device", "commit"):
        row[name] = "; ".join(dict.fromkeys(getattr(run, name) for run in group.runs))
    return row
