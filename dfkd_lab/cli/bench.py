"""The command that measures the speed of the loop: ``python -m dfkd_lab bench``."""

from __future__ import annotations

import json
from typing import Any

from dfkd_lab.bench import BenchSpec, measure
from dfkd_lab.cli.flags import read, show_help, switched
from dfkd_lab.cli.tables import plain_table


def run(arguments: list[str]) -> None:
    """Measure, and print tables or JSON."""
    if not {"-h", "--help"}.isdisjoint(arguments):
        show_help(BenchSpec, "bench")
    request = read(BenchSpec, switched(BenchSpec, arguments), "bench")
    result = measure(request)
    print(json.dumps(result, indent=1) if request.json else tables(result))


def tables(result: dict[str, Any]) -> str:
    """Everything as plain tables."""
    slots = list(dict.fromkeys(name for row in result["loops"] for name in row["slots_s"]))
    loops = [
        {
            **{name: row[name] for name in ("pair", "method", "precision", "cache_views", "compile", "overhead")},
            "range": "{:.2f}..{:.2f}".format(*row["overhead_range"]),
            "loop s/round": row["loop_s"],
            "bare s/round": row["bare_s"],
            "student images/s": row["student_images_per_s"],
            "n": row["n"],
        }
        for row in result["loops"]
    ]
    parts = [
        {"pair": row["pair"], "method": row["method"], **{f"{name} s": row["slots_s"].get(name) for name in slots}}
        for row in result["loops"]
    ]
    about = (
        f"{result['device']}, {result['threads']} threads, torch {result['versions']['torch']}, {result['commit'][:9]}"
    )
    titles = {
        f"The loop and the bare passes of its networks; {about}": loops,
        "Seconds a round by slot": parts,
        "Networks by precision and layout": result["precisions"],
        "Memories": result["memories"],
        "Views": result["views"],
    }
    return "\n\n".join(f"{title}\n{plain_table(rows)}" for title, rows in titles.items())
