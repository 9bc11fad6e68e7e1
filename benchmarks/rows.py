"""What the benchmarks record of a run, with its provenance, and how they show it."""

import json
import statistics
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from dfkd_lab import RunFolder, RunSpec
from dfkd_lab.system.files import write_atomically

FOLDER = Path(__file__).parent / "results"
"""Where the benchmarks write what they measured."""


def typed_folder(text: str) -> Path:
    """The folder that a flag names, which need not be there yet.

    Raises:
        ArgumentTypeError: if it can be none, as there is a file.
    """
    path = Path(text)
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir():
        raise ArgumentTypeError(f"{there} is a file; allowed: a folder")
    return path


def run_of(folder: RunFolder) -> dict[str, Any]:
    """What a finished run came to, and its provenance."""
    manifest, spec = folder.manifest(), folder.spec()
    return {
        "seed": spec.seed,
        **folder.result(),
        "data_free": folder.seal()["data_free"],
        "parameters": {who: manifest[who]["parameters"] for who in ("teacher", "student")},
        "teacher_sha256": manifest["teacher"]["sha256"],
        "precision": spec.precision,
        **manifest["sessions"][-1],
    }


def recorded(name: str) -> dict[str, Any]:
    """What results/``name``.json holds; nothing if there is none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def curve(folder: RunFolder) -> list[tuple[int, float]]:
    """Round and accuracy of every round that was evaluated."""
    return [(each.round, each.accuracy) for each in folder.reports() if each.accuracy is not None]


def curve_and_settings(folder: RunFolder) -> dict[str, Any]:
    """Of a finished run what decided it, and the accuracy over its rounds."""
    return {"curve": curve(folder), "settings": all_settings(folder.spec())}


def runs_of(row: Any) -> list[dict[str, Any]]:
    """The runs of a row as a results file has it: a list of them, or facts with ``runs``."""
    runs: list[dict[str, Any]] = row if isinstance(row, list) else row["runs"]
    return runs


def method_of(row: str) -> str:
    """With which the name of a row begins: "ssd_kd" of "ssd_kd, 4 times the rounds"."""
    return row.partition(",")[0]


def put(name: str, order: Sequence[str], row: str, run: dict[str, Any], record: Callable[[Any], Any]) -> None:
    """Put a finished run into results/``name``.json, in place of one of the same row and seed; nothing else changes.

    The file is read anew under a lock, for another process may have written meanwhile.

    Args:
        name: Of the file.
        order: Rows as they stand in it; others stay behind them.
        row: That the run is of.
        run: Its figures.
        record: What the file has of the row, from its runs by seed.
    """
    with FileLock(FOLDER / f"{name}.lock"):
        found = recorded(name)
        others = [each for each in runs_of(found.get(row, [])) if each["seed"] != run["seed"]]
        found[row] = record(sorted([*others, run], key=lambda each: each["seed"]))
        places = {each: place for place, each in enumerate(order)}
        write(name, {each: found[each] for each in sorted(found, key=lambda each: places.get(each, len(places)))})


def write(name: str, found: dict[str, Any]) -> None:
    """Write results/``name``.json."""
    write_atomically(FOLDER / f"{name}.json", (json.dumps(found, indent=1) + "\n").encode())


def all_settings(spec: RunSpec) -> dict[str, Any]:
    """What decides a run, for its row."""
    return {"rounds": spec.rounds, "optimizer": spec.optimizer, "terms": spec.terms, **spec.settings}


def percent(runs: list[dict[str, Any]], name: str) -> str:
    """Mean and spread of a fraction, in percent."""
    found = spread(runs, name)
    deviation = "" if found["standard_deviation"] is None else f" ± {100 * found['standard_deviation']:.2f}"
    return f"{100 * (found['mean'] or 0.0):.2f}{deviation}"


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    rows = ["| " + " | ".join(cells) + " |" for cells in (head, *lines)]
    return "\n".join([rows[0], "|---" * len(head) + "|", *rows[1:]])


def put_between(path: Path, name: str, text: str) -> None:
    """Write ``text`` into a document between the marks of ``name``."""
    head, begin, rest = path.read_text().partition(f"<!-- measured: {name} -->\n")
    end = f"<!-- /measured: {name} -->"
    assert begin, f"{path.name} has no mark for {name}"
    assert end in rest, f"{path.name} has no mark for the end of {name}"
    path.write_text(f"{head}{begin}{text}\n{end}{rest.partition(end)[2]}")


def spread(rows: list[dict[str, Any]], name: str) -> dict[str, float | None]:
    """Mean and standard deviation of one figure over the seeds."""
    values = [row[name] for row in rows]
    return {
        "mean": statistics.mean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


def shown(value: dict[str, float | None], digits: int = 0) -> str:
    """A spread as text: mean ± standard deviation, the latter only where there are several values."""
    deviation = "" if value["standard_deviation"] is None else f" ± {value['standard_deviation']:,.{digits}f}"
    return f"{value['mean']:,.{digits}f}{deviation}"
