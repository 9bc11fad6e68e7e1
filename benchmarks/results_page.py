"""RESULTS.md and the headline rows of the README, from what the benchmarks have written into results/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import abuse_page
import curves
import exports_page
import gpu_page
import mnist_page
import scenes_page
import speed_page
from rows import FOLDER, percent, put_between, recorded, shown, spread, table

from dfkd_lab import METHODS
from dfkd_lab.methods import remark

ROOT = Path(__file__).parents[1]
TEACHERS = FOLDER / "teachers.json"

INTRODUCTION = """# Results

Written by the programs in `benchmarks/` from `benchmarks/results/*.json`, which hold every setting, version and hash.
*Last* is the student after the last round; nobody without labels can choose the oracle's round. ± is the standard
deviation over n seeds. Seconds and hours are those of that device, with what else ran on it. `inferred` methods are our
reading of a paper, not a reproduction.

"""

# digits

FIGURES = {"last": 3, "teacher": 3, "mu": 3, "sigma": 3, "images": 0, "teacher_queries": 0, "seconds": 0}
"""The columns, with decimal places."""
DIGITS = """## Digits

All methods at 1,200 student steps each (`python benchmarks/digits.py`). `last` is the accuracy of the last student on
450 held-out digits, μ and σ its mean and deviation over the rounds. The presets were tuned lightly with these digits in
view, so the table ranks nobody. The teacher is trained where a row is measured, and its bits are those of that machine.
Seconds are those of one thread on a shared machine with other work on it: compare them with nothing outside this table,
and with little inside it.

"""
LADDER = """### SSD-KD taken apart

On digits (`python benchmarks/digits.py --ladder`). The original set has 1,347 images, so 135 and 14 are 10 % and 1 % of
it.

"""
CROSSED = ("ssd_kd with pre_dfkd's VAE", "cgdd with ssd_kd's buffer", "fast with attention transfer")


def runs_table(name: str) -> str:
    """The table of results/``name``.json, a row a setting."""
    rows: dict[str, list[dict[str, Any]]] = recorded(name)
    with_remarks = name == "digits"
    lines = []
    for row, runs in rows.items():
        cells = [shown(spread(runs, figure), places) for figure, places in FIGURES.items()]
        remarks = [row_remark(row, runs)] if with_remarks else []
        lines.append([row, str(len(runs)), *cells, mnist_page.origin(runs)[1], *remarks])
    head = ["", "n", *FIGURES, "commit", *(["remark"] if with_remarks else [])]
    return table(head, lines or [["not measured"] * len(head)])


def row_remark(row: str, runs: list[dict[str, Any]]) -> str:
    """What a reader has to know of a row; below 90 % the method's own caveat."""
    method = METHODS.get(row.split(" ")[0])
    real = "reference, uses real images" if remark(method) else ""
    cross = "no paper's method" if row in CROSSED else ""
    caveat = getattr(method, "caveat", "") if (spread(runs, "last")["mean"] or 0.0) < 0.9 else ""
    return "; ".join(filter(None, [real, cross, caveat]))


# CIFAR

PUBLIC = ("ssd_kd", "fast", "cgdd", "pre_dfkd", "cmi", "nayer", "dafl")
AT_AN_HOUR = ("ssd_kd", "fast", "nayer", "cmi", "deepinversion", "pre_dfkd", "cgdd", "kd", "noise")
PLANNED = (
    ("cpu", "resnet20:resnet8", "cifar10", ("ssd_kd", "fast", "dafl")),
    ("hour", "resnet20:resnet8", "cifar10", AT_AN_HOUR),
    ("hour", "resnet56:resnet20", "cifar10", AT_AN_HOUR),
    ("paper", "resnet56:resnet20", "cifar10", PUBLIC),
    ("paper", "resnet20:resnet8", "cifar10", PUBLIC),
    ("paper", "wrn40_2:wrn16_1", "cifar10", ("ssd_kd", "fast")),
    ("paper", "resnet34:resnet18", "cifar10", ("ssd_kd", "fast")),
)
FAST = "FastDFKD's README, best epoch"
PUBLISHED: dict[tuple[str, str, str], tuple[float, str]] = {
    ("fast", "wrn40_2:wrn16_1", "cifar10"): (88.90, f"Fast-5, {FAST}"),
    ("fast", "resnet34:resnet18", "cifar10"): (93.63, f"Fast-5, {FAST}"),
    ("dafl", "wrn40_2:wrn16_1", "cifar10"): (65.71, FAST),
    ("dafl", "resnet34:resnet18", "cifar10"): (92.22, FAST),
    ("cmi", "wrn40_2:wrn16_1", "cifar10"): (90.01, FAST),
    ("cmi", "resnet34:resnet18", "cifar10"): (94.84, FAST),
    ("zskt", "wrn40_2:wrn16_1", "cifar10"): (83.74, FAST),
    ("zskt", "resnet34:resnet18", "cifar10"): (93.32, FAST),
    ("deepinversion", "wrn40_2:wrn16_1", "cifar10"): (83.04, FAST),
    ("deepinversion", "resnet34:resnet18", "cifar10"): (93.26, FAST),
}
"""Top-1 in percent and where it was printed. SSD-KD's own figures are not known to us."""


HEAD = ["method", "certainty", "n", "last", "oracle best", "μ", "σ", "published", "images", "teacher queries",
        "student steps", "synthesis h", "distillation h", "device", "commit"]  # fmt: skip


SAID = {
    "cpu": "a small budget: about half an hour of one CPU core",
    "hour": "about an hour of two CPU cores",
    "paper": "the papers' budget",
}
TEACHER_HEAD = [
    "net",
    "data",
    "n",
    "top-1",
    "top-5",
    "calibration error",
    "parameters",
    "sha256",
    "seconds",
    "device",
    "commit",
]


def line(row: tuple[str, str, str, str], found: dict[str, dict[str, Any]]) -> list[str]:
    """One row of the table."""
    budget, pair, data, method = row
    runs = found.get("-".join([budget, pair.replace(":", "-"), data, method]), {}).get("runs", [])
    certainty = METHODS[method].certainty.split(" ")[0] if method in METHODS else "unknown"
    printed = PUBLISHED.get((method, pair, data))
    published = f"{printed[0]:.2f} ({printed[1]})" if printed else "none known"
    if remark(METHODS.get(method)):
        certainty += ", real images"
    if not runs:
        return [method, certainty, "0", *["not measured"] * 4, published, *["not measured"] * 7]
    accuracies = [percent(runs, name) for name in ("last", "oracle_best", "mu", "sigma")]
    counts = [f"{spread(runs, name)['mean']:,.0f}" for name in ("images", "teacher_queries", "s_steps")]
    hours = [f"{spread(runs, name)['mean'] / 3600:.3f}" for name in ("synthesis_s", "distillation_s")]
    where = [", ".join(dict.fromkeys(each[key] for each in runs)) for key in ("device", "commit")]
    return [method, certainty, str(len(runs)), *accuracies, published, *counts, *hours, where[0], where[1][:7]]


def teacher_lines() -> list[list[str]]:
    """The teachers that were measured with ``python benchmarks/cifar.py measure-teacher``."""
    known = recorded("teachers")
    lines = [
        [facts["net"], facts["on"], f"{facts['n']:,}", f"{100 * facts['accuracy']:.2f}", f"{100 * facts['top5']:.2f}",
         f"{facts['calibration_error']:.3f}", f"{facts['parameters']:,}", facts["sha256"][:12],
         f"{facts['seconds']:.0f}", facts["device"], facts["commit"][:7]]
        for facts in known.values()
    ]  # fmt: skip
    return lines or [["not measured"] * len(TEACHER_HEAD)]


def cifar_sections() -> list[str]:
    """A section a pair, data set and budget: every planned row, measured or not, and every other that was measured."""
    found = load()
    rows = [(budget, pair, data, each) for budget, pair, data, names in PLANNED for each in names]
    rows += [tuple(each[key] for key in ("budget", "pair", "data", "method")) for each in found.values()]
    parts = []
    for place in dict.fromkeys(row[:3] for row in rows):
        names = dict.fromkeys(row[3] for row in rows if row[:3] == place)
        budget, pair, data = place
        teacher, student = pair.split(":")
        lines = [line((budget, pair, data, name), found) for name in names]
        text = f"## {teacher} → {student} on {data}, {SAID[budget]}\n\n{CIFAR}{table(HEAD, lines)}\n"
        parts.append(f"{text}\n{drawn(place, found)}" if budget == "hour" else text)
    return parts


def drawn(place: tuple[str, ...], found: dict[str, dict[str, Any]]) -> str:
    """The curves of a section, in Markdown."""
    rows = {row["method"]: row["runs"] for row in found.values() if (row["budget"], row["pair"], row["data"]) == place}
    name = "-".join(place).replace(":", "-")
    return f"{curves.draw(rows, ROOT / 'docs' / f'curves_{name}.svg')}\n"


CIFAR = "Top-1 in percent on the test set. Published figures are best epochs: compare them with the oracle column.\n\n"


def load() -> dict[str, dict[str, Any]]:
    """What results/cifar.json holds, by a row's name."""
    return recorded("cifar")


# pages


def render() -> None:
    """Write RESULTS.md, and the headline rows of the README."""
    pictures = ROOT / "docs"
    parts = [
        INTRODUCTION,
        f"{DIGITS}{runs_table('digits')}\n",
        f"{LADDER}{runs_table('ladder')}\n",
        mnist_page.mnist(pictures),
        mnist_page.ladder(pictures),
        scenes_page.section(),
        scenes_page.camvid(),
        *cifar_sections(),
        "## Teachers\n\n" + table(TEACHER_HEAD, teacher_lines()) + "\n",
        exports_page.section(),
        speed_page.section(),
        gpu_page.section(),
        abuse_page.section(),
    ]
    (ROOT / "RESULTS.md").write_text("\n".join(parts))
    put_between(ROOT / "README.md", "headline", headline())


def headline() -> str:
    """A row of each table: SSD-KD on digits and scenes, the best without data on MNIST and on CIFAR-10."""
    lines = []
    if runs := recorded("digits").get("ssd_kd"):
        lines.append(["digits, convnet_32 → convnet_8, SSD-KD", str(len(runs)), shown(spread(runs, "last"), 3)])
    free = {name: row["runs"] for name, row in recorded("mnist").items() if not remark(METHODS[name])}
    if free:
        name = max(free, key=lambda each: spread(free[each], "last")["mean"] or 0.0)
        lines.append(
            [f"MNIST, lenet5 → lenet5_half, {name}", str(len(free[name])), shown(spread(free[name], "last"), 3)]
        )
    if runs := recorded("scenes").get("ssd_kd", {}).get("runs"):
        lines.append(["scenes (every pixel a class: mIoU), unet_24 → unet_12, ssd_kd", str(len(runs)),
                      shown(spread(runs, "last"), 3)])  # fmt: skip
    rows = [row for row in load().values() if not remark(METHODS[row["method"]])]
    best = max(rows, key=lambda row: spread(row["runs"], "last")["mean"] or 0.0, default=None)
    if best:
        what = f"{best['data']}, {best['pair'].replace(':', ' → ')}, {best['method']}, {SAID[best['budget']]}"
        lines.append([what, str(len(best["runs"])), shown(spread(best["runs"], "last"), 3)])
    return table(["what", "n", "last student, accuracy or mIoU"], lines or [["nothing", "0", "not measured"]])
