"""The part of RESULTS.md on a GPU, from results/gpu.json; runs on CIFAR-10 are in the tables of real teachers."""

from typing import Any

from rows import recorded, table

INTRODUCTION = """## On a GPU

Written by `python benchmarks/gpu.py` (`make gpu`). *Smoke* is three rounds of a whole session on digits. *Launches* are
what the host starts in a step of each kind, kernels or graphs of kernels, by torch's profiler; *overhead* is the loop
over the bare passes of its networks, in turns. A step's time by the host's clock and by the device's differ where the
device waits; *by trial*, cuDNN's kernels are those that were fastest when tried. *Large* is ResNet-50 → ResNet-18 at
224 pixels and 1,000 classes with random weights: what it takes, not what it learns. Runs that finished are in the
tables of real teachers.

"""
SMOKE = ["method", "eager", "compiled"]
SPEED = ["method", "n", "overhead", "range", "student images/s", "GB", "launches, synthesis", "launches, student"]
CLOCKS = [f"{phase} step, ms by the {clock}" for phase in ("synthesis", "student") for clock in ("host", "device")]
PROFILE = ["pair", *CLOCKS]
LARGE = ["method", "student images/s of the distillation", "GB", "synthesis s/round"]
STOPPED = ["run that was stopped", "came to", "commit"]
NOT_MEASURED = "not measured"


def section() -> str:
    """All of it, in Markdown; what was not measured says so."""
    found: dict[str, dict[str, Any]] = recorded("gpu")
    if not found:
        return f"{INTRODUCTION}Not measured: no GPU was at hand.\n"
    return INTRODUCTION + "\n".join(device(name, rows) for name, rows in found.items())


def device(name: str, rows: dict[str, Any]) -> str:
    """The tables of one device."""
    versions = next(iter(rows.values()))["versions"]
    commits = ", ".join(dict.fromkeys(row["commit"][:7] for row in rows.values()))
    tables = [
        (SMOKE, smoke_lines(of(rows, "smoke"))),
        (SPEED, [[name, *speed_cells(row)] for name, row in of(rows, "speed").items()]),
        (PROFILE, [[name, *profile_cells(row)] for name, row in of(rows, "profile").items()]),
        (LARGE, [[name, *large_cells(row)] for name, row in of(rows, "large").items()]),
        (STOPPED, [[name, row["reached"], row["commit"][:7]] for name, row in rows.items() if "reached" in row]),
    ]
    parts = [table(head, lines) if lines else f"Not measured: {', '.join(head[1:])}." for head, lines in tables]
    return "\n\n".join([f"### {name}, torch {versions['torch']}, commit {commits}", *parts]) + "\n"


def of(rows: dict[str, Any], stage: str) -> dict[str, Any]:
    """The rows of one stage, by the rest of their name."""
    return {name.partition("/")[2]: row for name, row in rows.items() if name.startswith(f"{stage}/")}


def smoke_lines(rows: dict[str, Any]) -> list[list[str]]:
    """A method a line: whether it runs, else why not."""
    methods = dict.fromkeys(name.rpartition(" ")[0] for name in rows)
    return [[method, *(outcome(rows.get(f"{method} {how}")) for how in SMOKE[1:])] for method in methods]


def outcome(row: dict[str, Any] | None) -> str:
    """In a word, or with torch's reason."""
    if row is None:
        return NOT_MEASURED
    left = [name for name, how in row.get("compiled", {}).get("networks", {}).items() if how != "compiled"]
    passed = f"passes, {', '.join(left)} eager" if left else "passes"
    return passed if row["state"] == "finished" else row.get("reason", row["state"])


def speed_cells(row: dict[str, Any]) -> list[str]:
    """The figures of one method."""
    if row["state"] != "finished":
        return ["0", row.get("reason", row["state"]), *[NOT_MEASURED] * (len(SPEED) - 3)]
    low, high = row["overhead_range"]
    launches = row["launches"]
    kinds = ("synthesis", "student")
    counts = [f"{launches[kind]:.0f}" if isinstance(launches, dict) else launches for kind in kinds]
    figures = [f"{row['student_images_per_s']:,.0f}", f"{row['peak_memory_bytes'] / 1e9:.2f}"]
    return [str(row["n"]), f"{row['overhead']:.2f}", f"{low:.2f}–{high:.2f}", *figures, *counts]


def profile_cells(row: dict[str, Any]) -> list[str]:
    """The figures of one way to take steps."""
    if row["state"] != "finished":
        return [row.get("reason", row["state"]), *[NOT_MEASURED] * (len(PROFILE) - 2)]
    names = [f"{phase}_{clock}_ms" for phase in ("synthesis", "student") for clock in ("wall", "device")]
    return [f"{row[name]:.2f}" if name in row else NOT_MEASURED for name in names]


def large_cells(row: dict[str, Any]) -> list[str]:
    """The figures of one method."""
    if row["state"] != "finished":
        return [row.get("reason", row["state"]), *[NOT_MEASURED] * (len(LARGE) - 2)]
    figures = (row["peak_memory_bytes"] / 1e9, row["synthesis_s"])
    return [f"{row['student_images_per_s_of_distillation']:,.0f}", *(f"{each:.2f}" for each in figures)]
