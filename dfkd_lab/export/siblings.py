"""What a run was measured at, beside the runs that differ from it by their seed alone."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs import RunFolder, standing
from dfkd_lab.runs.folder import identity
from dfkd_lab.spec import RunSpec


@dataclass(frozen=True)
class Measured:
    """The figure of the last round, on an evaluation set."""

    metric: str
    """ "accuracy" or "mIoU"."""
    data: str
    n: int
    """Images of the evaluation set."""
    last: float
    of_all_seeds: list[float]

    def words(self) -> str:
        """The figure, and its mean and spread over seeds where there are several."""
        seeds = len(self.of_all_seeds)
        if seeds == 1:
            return f"{self.last:.4f} (n = 1 seed)"
        mean, spread = statistics.mean(self.of_all_seeds), statistics.stdev(self.of_all_seeds)
        return f"{self.last:.4f}; {mean:.4f} ± {spread:.4f} over n = {seeds} seeds"


def measured(folder: RunFolder, spec: RunSpec, round: int) -> Measured | None:
    """What a run was measured at after ``round``, and, if that is its last, the finished runs beside it.

    None if it was not.
    """
    result, manifest = of_log(folder, round), folder.manifest()
    evaluation, teacher = manifest.get("evaluation"), manifest.get("teacher", {}).get("sha256")
    if result.get("last") is None or not evaluation:
        return None
    metric = str(result.get("metric", "accuracy"))
    if round < spec.rounds:
        found = [each.accuracy for each in folder.reports()[round - 1 : round]]
        at = next((each for each in found if each is not None), None)
        return None if at is None else Measured(metric, evaluation["name"], evaluation["n"], at, [at])
    beside = sorted(
        path for path in folder.path.absolute().parent.iterdir() if path.name != folder.path.absolute().name
    )
    others = {seed: last for path in beside for seed, last in _sibling(RunFolder(path), spec, evaluation, teacher)}
    return Measured(metric, evaluation["name"], evaluation["n"], result["last"], [result["last"], *others.values()])


def of_log(folder: RunFolder, round: int | None = None) -> dict[str, Any]:
    """The result after ``round``, or the last, as the log has it, and not its copy beside the run's state, a view's.

    Raises:
        DamagedFile: if the log cannot be read.
    """
    reports = folder.reports()[:round]
    return standing.result_of(reports[-1] if reports else None, (each.accuracy for each in reports))


def _sibling(folder: RunFolder, spec: RunSpec, evaluation: dict[str, Any], teacher: Any) -> list[tuple[int, float]]:
    """Seed and last figure, if the run is finished, had that teacher, and differs by its seed alone; else nothing."""
    try:
        if not folder.exists() or folder.status()["state"] != "finished":
            return []
        other, last = folder.spec(), of_log(folder).get("last")
        same = identity(other, "seed") == identity(spec, "seed")
        there = folder.manifest()
        same = same and there.get("evaluation") == evaluation
        same = same and there.get("teacher", {}).get("sha256") == teacher
    except (RunError, SpecError):  # damaged, or of another version: nothing to compare with
        return []
    return [(other.seed, last)] if same and other.seed != spec.seed and last is not None else []
