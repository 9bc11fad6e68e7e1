"""What the benchmarks share: one run is one row, with its provenance; a finished run is read, not run again."""

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dfkd_lab import RunFolder, RunSpec, Session

FOLDER = Path(__file__).parent / "results"
"""Where the benchmarks write what they measured."""


def measure(spec: RunSpec, path: Path, end: float = math.inf) -> dict[str, Any]:
    """Run ``spec`` in ``path``, or go on with it, until it is finished or ``time.monotonic()`` is ``end``, saved.

    Gives its result and provenance.
    """
    folder = RunFolder(path)
    if not is_finished(path):
        session = Session(dataclasses.replace(spec, out=folder.out))
        for _ in session:
            if time.monotonic() > end:
                session.stop()
    manifest = folder.manifest()
    return {
        "seed": spec.seed,
        **folder.result(),
        "data_free": folder.seal()["data_free"],
        "parameters": {who: manifest[who]["parameters"] for who in ("teacher", "student")},
        "teacher_sha256": manifest["teacher"]["sha256"],
        **manifest["sessions"][-1],
    }


def folder_of(out: Path, row: str, seed: int) -> Path:
    """The run folder of one row and seed."""
    return out / f"{row}-seed{seed}"


def is_finished(path: Path) -> bool:
    """Whether the run in ``path`` has all of its rounds."""
    return RunFolder(path).status()["state"] == "finished"


def recorded(name: str) -> dict[str, Any]:
    """What results/``name``.json holds; nothing if there is none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def curve(folder: RunFolder) -> list[tuple[int, float]]:
    """Round and accuracy of every round that was evaluated."""
    return [(each.round, each.accuracy) for each in folder.reports() if each.accuracy is not None]


def with_run(runs: list[dict[str, Any]], run: dict[str, Any]) -> list[dict[str, Any]]:
    """``runs`` by seed with ``run`` among them, in place of one of the same seed."""
    others = [each for each in runs if each["seed"] != run["seed"]]
    return sorted([*others, run], key=lambda each: each["seed"])


def put(name: str, order: Iterable[str], row: str, run: dict[str, Any], **facts: Any) -> None:
    """Put a finished run into results/``name``.json, rows in ``order``; ``facts`` are the row's.

    The file is read anew, for another process may have written meanwhile.
    """
    found = recorded(name)
    found[row] = {**facts, "runs": with_run(found.get(row, {}).get("runs", []), run)}
    kept = {each: found[each] for each in order if each in found}
    (FOLDER / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


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
