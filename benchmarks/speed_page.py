"""The part of RESULTS.md on speed, from what speed.py, versus.py, cache_views.py and two_commits.py recorded."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from rows import recorded, shown, spread, table

INTRODUCTION = """## Speed

Written by `python benchmarks/speed.py` and `python benchmarks/versus.py`. *Overhead* is the seconds of a round of our
loop over those of the bare passes of its networks (generator, teacher, student, forward and backward; no loss, no view,
no memory, no optimizer), both measured in turns in one process; median and range of n turns. Seconds are those of that
machine, with what else ran on it; compare ratios. Memories are read and written with nothing of their images in the
caches, as between the passes of a run; a read includes what the student's losses change in it.
"""
LOOPS = ["pair", "method", "precision", "n", "overhead", "range", "student images/s", "loop s/round",
         "bare s/round"]  # fmt: skip
NETWORKS = ["pair", "precision", "filters", "teacher forward ms", "teacher to images ms", "student ms"]
MEMORIES = ["memory", "images", "MB", "write ms", "read ms"]
VERSUS = ["pair", "variant", "n", "accuracy", "reference", "ratio", "of the distillation", "images/s", "reference",
          "device", "threads", "commit"]  # fmt: skip


def section() -> str:
    """All of it, in Markdown; what was not measured says so."""
    speed = recorded("speed")
    parts = [INTRODUCTION, *chain(*(device(*each) for each in speed.items()))]
    lines = [versus_line(row) for row in recorded("versus").values()]
    parts.append(REFERENCE + table(VERSUS, lines or [["not measured"] * len(VERSUS)]) + "\n")
    parts.append(KEPT + table(VIEWS, [views_line(row) for row in recorded("cache_views").values()]) + "\n")
    parts.append(two_commits(recorded("two_commits")))
    return "\n".join(parts)


REFERENCE = """### Beside the field's loop

`benchmarks/reference_loop.py` is FastDFKD as the field writes it: fp32, eager, an in-memory buffer, a DataLoader, with
the number of workers that is faster here, in a process of its own. All train the same networks with the same settings
for the same number of steps, a round of each variant of ours, then one of it. *Ratio* is its seconds over ours, all
rounds, synthesis and what a session writes included, *of the distillation* that of the student's steps alone; mean ±
standard deviation over n seeds.

"""


KEPT = """### What kept views cost

`cache_views` = V keeps V views of each stored image with the teacher's answers, so that a student step asks no teacher.
Accuracy of the last student and seconds of the distillation, mean ± standard deviation over n seeds
(`python benchmarks/cache_views.py`, on CIFAR-10 with `--pair resnet20:resnet8`, a small budget).
None are kept by default: the papers view every image anew, and on CIFAR-10 kept views cost accuracy.
Seconds are those of machines with other work on them.

"""
VIEWS = ["pair", "method", "V", "n", "last", "distillation s", "teacher queries", "device", "commit"]


def views_line(row: dict[str, Any]) -> list[str]:
    """One method with one number of views."""
    devices, commits = (dict.fromkeys(run[name] for run in row["runs"]) for name in ("device", "commit"))
    distillation = shown(spread(row["runs"], "distillation_s"))
    figures = [shown(row["last"], 3), distillation, shown(row["teacher_queries"])]
    return [
        row["pair"].replace(":", " → "),
        row["method"],
        str(row["views"]) if row["views"] else "none kept",
        str(row["n"]),
        *figures,
        ", ".join(devices),
        ", ".join(each[:7] for each in commits),
    ]


COMMITS = """### Beside an earlier commit

Processor seconds of a shortened round on digits, commit {after} over {before}, a round of each in turns, one thread
({device}, torch {torch}); median and quartiles of n turns. Below 1 the later one is faster.
`python benchmarks/two_commits.py --before COMMIT` writes it.

"""


def two_commits(found: dict[str, Any]) -> str:
    """The later commit beside the earlier one, a line a method."""
    if not found:
        return COMMITS.partition("\n")[0] + "\n\nnot measured\n"
    head = ["method", "n", "ratio", "quartiles", "before ms", "after ms"]
    lines = [
        [
            method,
            str(row["n"]),
            f"{row['ratio']:.3f}",
            "–".join(f"{each:.3f}" for each in row["quartiles"]),
            *(f"{1000 * row[name]:.1f}" for name in ("before_s", "after_s")),
        ]
        for method, row in found["rows"].items()
    ]
    shas = {name: found[name][:7] for name in ("before", "after")}
    return COMMITS.format(**shas, device=found["device"], torch=found["versions"]["torch"]) + table(head, lines) + "\n"


def device(name: str, row: dict[str, Any]) -> Iterator[str]:
    """The tables of one device."""
    bench, length, session = row["bench"], row["length"], row["session"]
    yield f"### {name}, {bench['threads']} threads, torch {bench['versions']['torch']}, commit {bench['commit'][:7]}\n"
    yield table(LOOPS, [loop_line(each) for each in bench["loops"]]) + "\n"
    yield table(NETWORKS, [network_line(each) for each in bench["precisions"]]) + "\n"
    yield table(MEMORIES, [memory_line(each) for each in bench["memories"]]) + "\n"
    short, long = length["rounds"]
    before, after = (size / 1e6 for size in length["memory_bytes"])
    yield (
        f"A run of {long} rounds took {length['ratio']:.2f} times as long as one of {short} (FastDFKD on digits, ten "
        f"pairs in turns, commit {length['commit'][:7]}); the process had {before:,.0f} MB after a tenth of it and "
        f"{after:,.0f} MB at its end. In the main job evaluation, log, samples and checkpoints held the loop up for "
        f"{100 * session['share']:.1f} % of {session['seconds']:.1f} s (commit {session['commit'][:7]}).\n"
    )


def loop_line(row: dict[str, Any]) -> list[str]:
    """One method."""
    low, high = row["overhead_range"]
    cells = [f"{row['overhead']:.2f}", f"{low:.2f}–{high:.2f}", f"{row['student_images_per_s']:,.0f}"]
    seconds = (f"{row[name]:.2f}" for name in ("loop_s", "bare_s"))
    return [row["pair"].replace(":", " → "), row["method"], row["precision"], str(row["n"]), *cells, *seconds]


def network_line(row: dict[str, Any]) -> list[str]:
    """One precision and layout."""
    times = (row[name] for name in ("teacher_forward_ms", "teacher_to_images_ms", "student_ms"))
    return [row["pair"].replace(":", " → "), row["precision"], row["layout"], *(f"{each:.1f}" for each in times)]


def memory_line(row: dict[str, Any]) -> list[str]:
    """One memory of one size."""
    times = (f"{row[name]:.2f}" for name in ("write_ms", "read_ms"))
    return [row["memory"], f"{row['images']:,}", f"{row['bytes'] / 1e6:,.1f}", *times]


def versus_line(row: dict[str, Any]) -> list[str]:
    """One variant of our loop beside the reference."""
    figures = {"accuracy": 3, "reference_accuracy": 3, "ratio": 2, "distillation_ratio": 2, "images_per_s": 0,
               "reference_images_per_s": 0}  # fmt: skip
    where = [", ".join(dict.fromkeys(str(run[name]) for run in row["runs"])) for name in ("device", "threads")]
    commits = ", ".join(dict.fromkeys(run["commit"][:7] for run in row["runs"]))
    cells = [shown(row[name], digits) for name, digits in figures.items()]
    return [row["pair"].replace(":", " → "), row["variant"], str(row["n"]), *cells, *where, commits]
