"""The command that lists the methods."""

from __future__ import annotations

import json
from pathlib import Path

from dfkd_lab import methods
from dfkd_lab.errors import SpecError
from dfkd_lab.methods import catalogue, diagram


def show(arguments: list[str]) -> None:
    """The methods; --json for programs, --table for docs/methods.md, --diagram NAME for a picture of the slots."""
    if arguments[:1] == ["--diagram"] and len(arguments) in (2, 3):
        name = arguments[1]
        path = Path(arguments[2] if len(arguments) == 3 else f"{name}.svg")
        path.write_text(diagram.draw(name, catalogue.compose_on_digits(name)))
        print(path)
        return
    if arguments not in ([], ["--json"], ["--table"]):
        raise SpecError(f"methods takes --json, --table or --diagram NAME [FILE.svg], not {' '.join(arguments)}")
    if arguments == ["--table"]:
        print(catalogue.table())
        return
    rows = [catalogue.describe(name) for name in methods.METHODS]
    if arguments:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['name']}: {row['summary']}\n  {row['citation']}; {row['certainty']}")
        print("".join(f"  {slot}: {filling}\n" for slot, filling in row["slots"].items()))
