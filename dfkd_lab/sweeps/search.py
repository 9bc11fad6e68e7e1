"""A search: trials whose settings are proposed by what earlier trials came to, judged without a label."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dfkd_lab import methods
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder, list_runs, prepare, runs_root
from dfkd_lab.runs.planning import ResolvedRun, plan
from dfkd_lab.spec import RunSpec, check, settings_of, unknown
from dfkd_lab.sweeps import judging
from dfkd_lab.sweeps.grid import NAME, parts_of
from dfkd_lab.sweeps.running import Queue, Say, attend, launcher_of, silent

JUDGES: dict[str, Callable[[Sequence[RunFolder]], dict[str, float]]] = {
    "agreement": judging.agreements,
    "accuracy": judging.last_accuracies,
}
MOST_TRIALS = 1000
LOGARITHMIC = 10
"""Ranges from above 0 to this many times it, or more, are searched by factors."""
EXAMPLE = "as in 'gap=0.1..3,bn_gap=1..30,memory=ring|priority'"


@dataclass(frozen=True)
class Axis:
    """What a setting may be: a range, or a choice."""

    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()
    whole: bool = False

    def distribution(self) -> Any:
        """As optuna has it."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(self.choices)
        log = self.low > 0 and self.high >= LOGARITHMIC * self.low
        if self.whole:
            return distributions.IntDistribution(int(self.low), int(self.high), log=log)
        return distributions.FloatDistribution(self.low, self.high, log=log)

    def ends(self) -> tuple[Any, ...]:
        """What can be refused before anything is tried."""
        return self.choices or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))

    def short(self, value: Any) -> Any:
        """As it is written down: four digits say enough of a weight."""
        if self.choices or self.whole:
            return value
        return min(max(float(f"{value:.4g}"), self.low), self.high)


@dataclass(frozen=True)
class Search:
    """Trials of one method that differ in the settings of ``over``.

    Args:
        name: Of the folder that holds the trials.
        over: What is varied, see :func:`axes`.
        settings: Of all trials.
        trials: How many.
        by: "agreement" with the teacher on images that other trials synthesized, or "accuracy", an oracle.
        seed: Of the proposals.
        root: Takes the place of runs/.

    Raises:
        SpecError: if a part of it cannot be.
    """

    name: str
    over: Mapping[str, Axis]
    settings: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 20
    by: str = "agreement"
    seed: int = 0
    root: Path | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise SpecError(f"name = {self.name!r} is no name for a folder; allowed: letters, digits and _ . + -")
        if not 1 <= self.trials <= MOST_TRIALS:
            raise SpecError(f"trials = {self.trials}; allowed: 1 to {MOST_TRIALS:,}")
        if self.by not in JUDGES:
            raise SpecError(f"by: {unknown(self.by, JUDGES, 'judge')}")
        if twice := self.over.keys() & self.settings.keys():
            raise SpecError(f"over: {min(twice)} is a setting of all trials too; give it once")

    @property
    def path(self) -> Path:
        """The folder that holds the trials."""
        return (self.root or runs_root()) / self.name

    def check(self) -> None:
        """Plan a trial at both ends of every axis.

        Raises:
            SpecError: if one cannot be run, or optuna is not there.
        """
        try:
            import optuna  # noqa: F401
        except ImportError:
            raise SpecError("search = 'optuna' needs optuna: pip install 'dfkd_lab[search]'") from None
        first = {name: axis.ends()[0] for name, axis in self.over.items()}
        for name, axis in self.over.items():
            for value in axis.ends():
                try:
                    plan({**self.settings, **first, name: value})
                except (SpecError, RunError) as error:
                    raise SpecError(f"over: {name} = {value!r}: {error}") from None

    def folders(self) -> list[RunFolder]:
        """The trials so far, in their order."""
        found = (each for each in list_runs(self.path) if each.name.startswith("trial"))
        return sorted(found, key=lambda each: each.name)

    def propose(self, folders: Sequence[RunFolder]) -> RunFolder:
        """The next trial, prepared, by what ``folders`` came to.

        Raises:
            SpecError: if it cannot be run.
        """
        number = len(folders)
        values = ask(self.over, self._history(folders), self.seed + number)
        folder = RunFolder(self.path / f"trial{number:03d}")
        resolved: ResolvedRun = plan({**self.settings, **values, "out": str(folder.path.absolute())})
        return prepare(resolved)

    def judged(self, folders: Sequence[RunFolder]) -> dict[str, float]:
        """The value of each finished trial, by its name."""
        return JUDGES[self.by]([each for each in folders if each.status()["state"] == "finished"])

    def _history(self, folders: Sequence[RunFolder]) -> list[tuple[dict[str, Any], float | None, bool]]:
        """Of each trial what it varied, its value, and whether it was given up."""
        values = self.judged(folders)
        return [(self.at(each), values.get(each.name), judging.is_hopeless(each)) for each in folders]

    def at(self, folder: RunFolder) -> dict[str, Any]:
        """What a trial varied."""
        spec = folder.spec()
        return {name: spec.settings.get(name, getattr(spec, name, None)) for name in self.over}


def from_file(path: Path | str, over: str, trials: int = 20, by: str = "agreement", root: Path | None = None) -> Search:
    """The search over the settings that a sweep's file says are the same in all runs.

    Raises:
        SpecError: if it has a grid, names no method, or cannot be.
    """
    found = parts_of(path)
    if found.get("grid"):
        raise SpecError(f"{path} has a grid, whose cells are all run; a search has name, with and --over")
    settings = found.get("with") or {}
    if not isinstance(settings, Mapping) or not settings.get("method"):
        raise SpecError(f"{path}: a search is of one method, as in: {{with: {{method: fast, rounds: 20}}}}")
    name = found.get("name", Path(path).stem)
    return Search(name, axes(over, str(settings["method"])), settings, trials, by, root=root)


def axes(text: str, method: str) -> dict[str, Axis]:
    """What "gap=0.1..3,bn_gap=1..30,memory=ring|priority" varies of a run of ``method``.

    Raises:
        SpecError: naming the part that is no range or choice of a setting.
    """
    found: dict[str, Axis] = {}
    specs = (methods.find(method), RunSpec)
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, values = (each.strip() for each in part.partition("="))
        spec = next((each for each in specs if name in settings_of(each) and name != "settings"), None)
        if spec is None:
            known = [each for other in specs for each in settings_of(other)]
            raise SpecError(f"over: {unknown(name, known, f'setting of {method}')}")
        if name in found:
            raise SpecError(f"over: {name} is given twice")
        if ".." in values:
            low, high = (check(spec, name, each) for each in values.split("..", 1))
            if not isinstance(low, int | float) or isinstance(low, bool) or not low < high or not math.isfinite(high):
                raise SpecError(f"over: {name} = {values} is no range of numbers; {EXAMPLE}")
            found[name] = Axis(low, high, whole=isinstance(low, int))
        elif "|" in values:
            found[name] = Axis(choices=tuple(check(spec, name, each) for each in values.split("|")))
        else:
            raise SpecError(f"over: {part} is neither a range nor a choice; {EXAMPLE}")
    if not found:
        raise SpecError(f"over = {text!r} varies nothing; {EXAMPLE}")
    return found


def ask(
    over: Mapping[str, Axis], history: Sequence[tuple[dict[str, Any], float | None, bool]], seed: int
) -> dict[str, Any]:
    """Settings for the next trial, by a tree-structured Parzen estimator; the same history and seed propose the same.

    Args:
        over: What is varied.
        history: Of each trial its settings, its value, None while it runs, and whether it was given up.
        seed: Of what is drawn.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: axis.distribution() for name, axis in over.items()}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for settings, value, hopeless in history:
        state = "COMPLETE" if value is not None else "PRUNED" if hopeless else None
        if state:
            kind = optuna.trial.TrialState[state]
            study.add_trial(optuna.trial.create_trial(state=kind, params=settings, distributions=space, value=value))
    return {name: over[name].short(value) for name, value in study.ask(space).params.items()}


def run(
    search: Search,
    on: str = "local",
    jobs: int = 0,
    minutes: float = 0.0,
    say: Say = silent,
    watch: Callable[[Queue], object] = lambda queue: None,
) -> Queue:
    """Run the trials of ``search``, each proposed when there is room for it; the same call goes on.

    A trial whose last rounds all had an alarm is given up. Arguments and result are those of
    :func:`dfkd_lab.sweeps.run`.

    Raises:
        SpecError: if a trial cannot be run, before anything is started.
        RunError: if the launcher does not start.
    """
    launcher = launcher_of(on, jobs, minutes)
    search.check()
    folders = search.folders()
    given_up = [each for each in folders if each.status()["state"] == "stopped" and judging.is_hopeless(each)]
    queue = Queue(folders, launcher(), say)
    for folder in given_up:
        queue.waiting.remove(folder)
    queue.hopeless = {each.name for each in given_up}

    look = partial(_look, search, watch, {})
    look(queue)
    return attend(queue, minutes, say, look)


def _look(search: Search, watch: Callable[[Queue], object], looked_at: dict[str, int], queue: Queue) -> None:
    """Give up what is hopeless, and propose a trial where there is room; ``looked_at`` has the rounds of each."""
    for place, (folder, _) in list(queue.running.items()):
        if looked_at.get(folder.name) != (rounds := folder.status()["round"]):
            looked_at[folder.name] = rounds  # the whole log is read
            if judging.is_hopeless(folder):
                queue.give_up(place)
    room = queue.launcher.jobs - len(queue.running) - len(queue.waiting)
    if not queue.ending and room > 0 and len(queue.folders) < search.trials:
        queue.add(search.propose(queue.folders))
    watch(queue)
