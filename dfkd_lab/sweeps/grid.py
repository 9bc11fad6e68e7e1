"""A grid of settings, its cells, and the run folder of each: planned and refused as a whole."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dfkd_lab import methods
from dfkd_lab.errors import Refusals, RunError, SpecError
from dfkd_lab.nets.python_file import Code
from dfkd_lab.runs.folder import RunFolder, prepare, refuse_other_spec, runs_root
from dfkd_lab.runs.planning import ResolvedRun, plan
from dfkd_lab.spec import RunSpec, check, settings_of
from dfkd_lab.system.files import write_atomically

MOST_CELLS = 10_000
SHOWN = 20
"""Refusals that are said before the others are counted."""
EXAMPLE = "as in: {name: ladder, grid: {method: [ssd_kd, fast], seed: [0, 1, 2]}, with: {rounds: 20}}"
NAME = re.compile(r"[\w][\w.+-]{0,99}")


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: where it stands in the grid, and the settings that it gives."""

    at: Mapping[str, Any]
    """The value on each axis."""
    settings: Mapping[str, Any]
    """For :func:`dfkd_lab.plan`."""
    folder: str
    """The name of its run folder, which stays while the grid grows."""

    @property
    def words(self) -> str:
        """Where it stands, for a person."""
        return ", ".join(
            "{" + ", ".join(f"{name}: {each}" for name, each in value.items()) + "}"
            if isinstance(value, Mapping)
            else f"{axis} = {value}"
            for axis, value in self.at.items()
        )


@dataclass(frozen=True)
class Sweep:
    """Runs that differ in ``grid`` and agree in ``settings``.

    Args:
        name: Of the folder that holds their run folders.
        grid: Values by axis; an axis is a setting of the run or of its method, or a name for settings that change
            together, whose values are mappings: {"pair": [{"teacher": "a.pth", "student": "resnet8"}]}, or mappings by
            a name of their own, which need not give the same settings: {"arm": {"uniform": {"priority": False}, "all":
            {}}}.
        settings: Of all of them.
        root: Takes the place of runs/.

    Raises:
        SpecError: if it is no grid, or an axis or setting is none that any of its methods has.
    """

    name: str
    grid: Mapping[str, Sequence[Any] | Mapping[str, Mapping[str, Any]]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    root: Path | str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if not isinstance(self.grid, Mapping) or not self.grid or not isinstance(self.settings, Mapping):
            raise SpecError(f"a sweep has a grid of lists, and settings of all its runs: {EXAMPLE}")
        for axis, values in self.grid.items():
            if not isinstance(axis, str) or not isinstance(values, (list, tuple, range, Mapping)) or not values:
                raise SpecError(f"grid: {axis} = {values!r} is no list of values; {EXAMPLE}")
            if isinstance(values, Mapping):
                _check_named(axis, values)
            elif {} in values:
                raise SpecError(f"grid: {axis}: {{}} gives no setting; give it a name, as in: {{arm: {{all: {{}}}}}}")
        if (count := self.size) > MOST_CELLS:
            raise SpecError(f"grid: {count:,} cells; allowed: up to {MOST_CELLS:,}")

    @property
    def size(self) -> int:
        """How many cells the grid has."""
        count = 1
        for values in self.grid.values():
            count *= len(values)
        return count

    @property
    def path(self) -> Path:
        """The folder that holds its run folders."""
        return Path(self.root or runs_root()) / self.name

    def cells(self) -> list[Cell]:
        """Every cell, the first axis slowest.

        Raises:
            SpecError: if two of them are one, or give a setting twice.
        """
        found = [
            self._cell(dict(zip(self.grid, values, strict=True))) for values in itertools.product(*self.grid.values())
        ]
        names: dict[str, Cell] = {}
        for cell in found:
            if (other := names.setdefault(cell.folder, cell)) is not cell:
                same = other.settings == cell.settings
                cure = "give one of them" if same else "give them names, as in: {arm: {a: {...}, b: {...}}}"
                raise SpecError(f"grid: two cells are both {cell.folder} ({other.words}; {cell.words}); {cure}")
        return found

    def _cell(self, at: dict[str, Any]) -> Cell:
        given: dict[str, Any] = {}
        for axis, value in at.items():
            more = self._settings_at(axis, value)
            if twice := given.keys() & more.keys():
                raise SpecError(f"grid: {min(twice)} is given by two axes; give it once")
            given |= more
        if twice := given.keys() & self.settings.keys():
            raise SpecError(f"with: {min(twice)} is on an axis of the grid too; give it once")
        refuse_out({**given, **self.settings})
        return self._as_meant(at, {**self.settings, **given})

    def _as_meant(self, at: Mapping[str, Any], settings: Mapping[str, Any]) -> Cell:
        """The cell whose values are those of its run: 1e-3, .001 and "0.001" are one value of one cell."""
        method = methods.METHODS.get(str(settings.get("method", RunSpec.method)))
        specs: list[type] = [RunSpec, *([method] if method else [])]
        at = {axis: at[axis] if self._is_named(axis) else _meant(specs, axis, at[axis]) for axis in at}
        settings = {name: _meant(specs, name, value) for name, value in settings.items()}
        return Cell(at, settings, "-".join(self._part(axis, value) for axis, value in at.items()))

    def _is_named(self, axis: str) -> bool:
        return isinstance(self.grid[axis], Mapping)

    def _settings_at(self, axis: str, value: Any) -> Mapping[str, Any]:
        """The settings that a value on an axis gives."""
        values = self.grid[axis]
        if isinstance(values, Mapping):
            return values[value]
        return value if isinstance(value, Mapping) and axis != "settings" else {axis: value}

    def _part(self, axis: str, value: Any) -> str:
        """How a value on an axis stands in the name of a folder."""
        is_alone = self._is_named(axis) or isinstance(value, Mapping) or axis == "method"
        return f"{'' if is_alone else axis}{_short(value)}"

    def prepare(self, planned_to: Callable[[int], object] = lambda cells: None) -> list[RunFolder]:
        """Plan all cells and make their folders; nothing is written unless all can be run.

        Args:
            planned_to: Told how many cells were looked at, after each.

        Raises:
            SpecError: with every refusal, and the cells that it is of.
        """
        refused: dict[str, list[Cell]] = {}
        planned: list[Planned] = []
        text = self._as_yaml()
        for number, (cell, resolved) in enumerate(self._planned(), 1):
            planned_to(number)
            if isinstance(resolved, str):
                refused.setdefault(resolved, []).append(cell)
            else:
                planned.append(Planned(resolved.spec, resolved.notes, resolved.code))
        if refused:
            raise Refusals(_sentences(refused, self.size))
        folders = [prepare(each) for each in planned]
        write_atomically(self.path / "sweep.yaml", text.encode(), shared=True)
        return folders

    def _as_yaml(self) -> str:
        content = {"name": self.name, "grid": {axis: _plain(values) for axis, values in self.grid.items()}}
        try:
            return str(yaml.safe_dump({**content, "with": dict(self.settings)}, sort_keys=False))
        except yaml.representer.RepresenterError as error:
            value = error.args[-1]
            raise SpecError(f"{value!r} is a {type(value).__name__}; allowed: text, numbers, yes or no") from None

    def _planned(self) -> Iterator[tuple[Cell, ResolvedRun | str]]:
        """Every cell as it would be run, or why it cannot be."""
        for cell in self.cells():
            try:
                out = {"out": str((self.path / cell.folder).absolute())}
                resolved = plan({**cell.settings, **out})
                refuse_other_spec(RunFolder(out["out"]), resolved.spec)
                yield cell, resolved
            except (SpecError, RunError) as error:
                yield cell, str(error)


def _meant(specs: Sequence[type], name: Any, value: Any) -> Any:
    """``value`` as the setting ``name`` of one of ``specs`` takes it; as it is where none does, to be refused later."""
    if isinstance(value, Mapping):
        return {key: _meant(specs, key, each) for key, each in value.items()}
    spec = next((each for each in specs if name in settings_of(each)), None)
    try:
        return value if spec is None else check(spec, name, value)
    except SpecError:
        return value


def _check_named(axis: Any, values: Mapping[Any, Any]) -> None:
    """Refuse an axis of named settings if a name is no text, or what it names is no mapping of settings."""
    for name, settings in values.items():
        if not isinstance(name, str) or not isinstance(settings, Mapping):
            raise SpecError(
                f"grid: {axis}: {name!r} = {settings!r} is no name of settings; allowed: a list of values, or settings "
                "by name, as in: {arm: {uniform: {priority: false}, all: {}}}"
            )


def _plain(values: Sequence[Any] | Mapping[str, Mapping[str, Any]]) -> Any:
    """The values of an axis as YAML has them."""
    return {name: dict(each) for name, each in values.items()} if isinstance(values, Mapping) else list(values)


def check_name(name: Any) -> None:
    """Refuse what the folder of a sweep cannot be called.

    Raises:
        SpecError: saying what is allowed.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        quoted = "" if isinstance(name, str) else f", and {name!r} in quotes"
        raise SpecError(f"name = {name!r} is no name for a folder; allowed: letters, digits and _ . + -{quoted}")


def refuse_out(settings: Iterable[str]) -> None:
    """Refuse to have a run folder named, which a sweep does itself.

    Raises:
        SpecError: if ``out`` is among the settings.
    """
    if "out" in settings:
        raise SpecError("out is of one run; the folders of many are named by 'name' and by what they vary")


@dataclass
class Planned:
    """What is kept of a planned run until its folder is made."""

    spec: RunSpec
    notes: list[str]
    code: dict[str, Code]


def _sentences(refused: Mapping[str, Sequence[Cell]], size: int) -> list[str]:
    """Every refusal once, with the cells that it is of."""
    count = sum(map(len, refused.values()))
    lines = [f"{count} of {size} runs are refused, so nothing is started:"]
    for reason, cells in [*refused.items()][:SHOWN]:
        more = f", and {len(cells) - 3} more" if len(cells) > 3 else ""
        lines.append(f"  {'; '.join(cell.words for cell in cells[:3])}{more}: {reason}")
    if len(refused) > SHOWN:
        lines.append(f"  and {len(refused) - SHOWN} more refusals")
    return lines


def _short(value: Any) -> str:
    """A value as it stands in the name of a folder: as it is if it can, else its stem and a digest."""
    if isinstance(value, Mapping):
        return "-".join(_short(each) for each in value.values())
    short = f"{value:g}" if isinstance(value, float) else str(value)
    text = short if not isinstance(value, float) or float(short) == value else repr(value)
    if NAME.fullmatch(text) or (isinstance(value, (int, float)) and NAME.fullmatch(text.removeprefix("-"))):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    stem = re.sub(r"[^\w.+]+", "_", Path(text).stem).strip("_.")[:40]
    return f"{stem}_{digest}" if stem else digest
