"""What a search varies: ranges of numbers, and choices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dfkd_lab import methods
from dfkd_lab.errors import SpecError
from dfkd_lab.spec import RunSpec, check, settings_of, unknown

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

    def __contains__(self, value: Any) -> bool:
        return value in self.choices if self.choices else self.low <= value <= self.high

    def __str__(self) -> str:
        return "|".join(map(str, self.choices)) if self.choices else f"{self.low:g}..{self.high:g}"

    def short(self, value: Any) -> Any:
        """As it is written down: four digits say enough of a weight."""
        if self.choices or self.whole:
            return value
        return min(max(float(f"{value:.4g}"), self.low), self.high)


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
            known = [each for other in specs for each in settings_of(other) if each != "settings"]
            raise SpecError(f"over: {unknown(name, known, f'setting of {method}')}")
        if name in found:
            raise SpecError(f"over: {name} is given twice")
        found[name] = _axis(spec, name, values)
    if not found:
        raise SpecError(f"over = {text!r} varies nothing; {EXAMPLE}")
    return found


def _axis(spec: type, name: str, values: str) -> Axis:
    """What "0.1..3" or "ring|priority" allows."""
    if values.count("..") == 1 and "..." not in values:
        low, high = (check(spec, name, each) for each in values.split(".."))
        if not isinstance(low, int | float) or isinstance(low, bool) or not low < high or not math.isfinite(high):
            raise SpecError(f"over: {name} = {values} is no range of numbers; {EXAMPLE}")
        return Axis(low, high, whole=isinstance(low, int))
    if "|" not in values:
        raise SpecError(f"over: {name} = {values} is neither a range nor a choice; {EXAMPLE}")
    choices = tuple(check(spec, name, each) for each in values.split("|"))
    if len({*choices}) < len(choices):
        raise SpecError(f"over: {name} = {values} has a choice twice")
    return Axis(choices=choices)
