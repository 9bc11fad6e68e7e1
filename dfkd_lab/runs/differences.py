"""In which settings two runs differ, in words."""

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """The settings that differ, one "name: theirs -> ours" each; nested settings are compared one by one."""
    rows = []
    for name in dict.fromkeys([*theirs, *ours]):
        old, new = theirs.get(name, MISSING), ours.get(name, MISSING)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            rows += difference(new, old)
        elif old != new:
            rows.append(f"{name}: {_shown(old)} -> {_shown(new)}")
    return rows


def _shown(value: Any) -> str:
    return "(absent)" if value is MISSING else repr(value)
