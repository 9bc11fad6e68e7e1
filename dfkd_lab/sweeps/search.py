"""A search: trials whose settings are proposed by what earlier trials came to, judged without a label."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder, list_runs, prepare, runs_root
from dfkd_lab.runs.planning import ResolvedRun, plan
from dfkd_lab.spec import RunSpec, unknown
from dfkd_lab.sweeps import judging
from dfkd_lab.sweeps.grid import check_name, refuse_out
from dfkd_lab.sweeps.launchers import Launcher
from dfkd_lab.sweeps.ranges import Axis, axes
from dfkd_lab.sweeps.running import Queue, Say, attend, launcher_of, silent
from dfkd_lab.sweeps.sweep_files import parts_of

JUDGES: dict[str, Callable[[Sequence[RunFolder]], dict[str, float]]] = {
    "agreement": judging.agreements,
    "accuracy": judging.last_accuracies,
}
MOST_TRIALS = 1000
TRIAL = re.compile(r"trial(\d{3,})")


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
        check_name(self.name)
        refuse_out({**self.settings, **self.over})
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
                    found = _value(plan({**self.settings, **first, name: value}).spec, name)
                except (SpecError, RunError) as error:
                    raise SpecError(f"over: {name} = {value!r}: {error}") from None
                if found != value:  # of which the trial's folder would not tell what it was
                    raise SpecError(f"over: {name} = {value!r} becomes {found!r} in a run; give what it may become")
        if self.by == "agreement":
            if {"teacher", "normalization"} & self.over.keys():
                raise SpecError("over: trials are judged by one teacher; allowed: by = 'accuracy', or another setting")
            judging.check(plan({**self.settings, **first}).teacher.card)

    def prepared(self) -> list[RunFolder]:
        """The trials so far, to go on with; those of another search are refused.

        Raises:
            SpecError: if one has a value that ``over`` does not allow.
            RunError: if it has other settings.
        """
        found = []
        for folder in self.folders():
            values = self.at(folder)
            for name, axis in self.over.items():
                if values[name] not in axis:
                    raise SpecError(
                        f"{folder.path} has {name} = {values[name]!r}, which is not in {axis}; take another name"
                    )
            found.append(prepare(plan({**self.settings, **values, "out": str(folder.path.absolute())})))
        return found

    def folders(self) -> list[RunFolder]:
        """The trials so far, in their order."""
        found = (each for each in list_runs(self.path) if TRIAL.fullmatch(each.name))
        return sorted(found, key=lambda each: each.name)

    def propose(self, folders: Sequence[RunFolder]) -> RunFolder:
        """The next trial, prepared, by what ``folders`` came to.

        Raises:
            SpecError: if it cannot be run.
        """
        number = 1 + max((int(TRIAL.sub(r"\1", each.name)) for each in self.folders()), default=-1)
        values = ask(self.over, self._history(folders), self.seed + number)
        folder = RunFolder(self.path / f"trial{number:03d}")
        resolved: ResolvedRun = plan({**self.settings, **values, "out": str(folder.path.absolute())})
        return prepare(resolved)

    def judged(self, folders: Sequence[RunFolder]) -> dict[str, float]:
        """The value of each finished trial, by its name."""
        return JUDGES[self.by]([each for each in folders if each.status()["state"] == "finished"])

    def _history(self, folders: Sequence[RunFolder]) -> list[tuple[dict[str, Any], float | None, bool]]:
        """Of each trial what it varied, its value, and whether it was given up."""
        folders = [each for each in folders if each.exists()]
        values = self.judged(folders)
        return [(self.at(each), values.get(each.name), judging.is_hopeless(each)) for each in folders]

    def at(self, folder: RunFolder) -> dict[str, Any]:
        """What a trial varied."""
        spec = folder.spec()
        return {name: _value(spec, name) for name in self.over}


def _value(spec: RunSpec, name: str) -> Any:
    return spec.settings.get(name, getattr(spec, name, None))


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
        RunError: if the launcher does not start, another process searches there, or trials there are of another search.
    """
    launcher = launcher_of(on, jobs, minutes)
    search.check()
    search.path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(search.path / "lock", timeout=0):  # two would propose one trial each under one name
            return _run(search, launcher(), minutes, say, watch)
    except Timeout:
        raise RunError(f"another process searches in {search.path}; wait for it, or take another name") from None


def _run(search: Search, launcher: Launcher, minutes: float, say: Say, watch: Callable[[Queue], object]) -> Queue:
    folders = search.prepared()
    given_up = [each for each in folders if each.status()["state"] == "stopped" and judging.is_hopeless(each)]
    queue = Queue(folders, launcher, say)
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
                queue.give_up(place, "given up, as every one of its last rounds had an alarm")
    room = queue.launcher.jobs - len(queue.running) - len(queue.waiting)
    if not queue.ending and room > 0 and len(queue.folders) < search.trials:
        queue.add(search.propose(queue.folders))
    watch(queue)
