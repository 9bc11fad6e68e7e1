"""The README of an export, which model hubs show as its card: what the run folder says, and nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dfkd_lab import __version__, methods, nets
from dfkd_lab.export.graphs import FEWEST_STEPS, LARGEST_SIDE
from dfkd_lab.export.parity import INPUTS
from dfkd_lab.export.siblings import Measured
from dfkd_lab.export.source import Source
from dfkd_lab.nets import python_file
from dfkd_lab.runs import records
from dfkd_lab.system.text import printable

Rows = Mapping[str, Mapping[str, Any]]
"""The files of an export by name, as parity.json has them."""


def page(source: Source, rows: Rows, teacher_license: str) -> str:
    """The card, in Markdown with the front matter that hubs read.

    Args:
        source: The run.
        rows: What was written.
        teacher_license: As whoever exports states it; empty if nobody does.
    """
    found = source.measured
    head = yaml.safe_dump(_front_matter(source, found, rows), sort_keys=False, allow_unicode=True)
    parts = [_title(source), _files(rows), _use(source, rows), _origin(source, teacher_license),
             _figures(source, found), _limits(source)]  # fmt: skip
    return f"---\n{head}---\n\n" + "\n\n".join(parts) + "\n"


def compared(row: Mapping[str, Any]) -> str:
    """What was found of a file beside the student; empty if nothing was compared."""
    if "same_class" not in row:  # of what only lies beside
        return ""
    words = f"same class in {row['same_class']:.2%}, logits differ by {row['relative_difference']:.1e}"
    return f"{words}; did not pass, and was accepted" if row.get("accepted") else words


def _front_matter(source: Source, found: Measured | None, rows: Rows) -> dict[str, Any]:
    task = "image-segmentation" if source.is_dense else "image-classification"
    kind = ["data-free-knowledge-distillation"] if _is_data_free(source) else []
    formats = [name for name in ("onnx", "safetensors") if any(each.endswith(name) for each in rows)]
    matter = {
        "library_name": "dfkd_lab",
        "pipeline_tag": task,
        "tags": ["knowledge-distillation", *kind, source.spec.method, *formats],
    }
    if found is None:
        return matter
    data, metric = printable(_without_folders(found.data)), "mean_iou" if source.is_dense else "accuracy"
    result = {
        "task": {"type": task},
        "dataset": {"name": data, "type": data},
        "metrics": [{"type": metric, "value": round(found.last, 6), "name": f"{found.metric} {_when(source, 'of')}"}],
    }
    return {**matter, "model-index": [{"name": printable(source.folder.name), "results": [result]}]}


def _is_data_free(source: Source) -> bool:
    return bool(source.seal.get("data_free"))


def _title(source: Source) -> str:
    task = "a class for every pixel" if source.is_dense else "a class for an image"
    teacher = _code(_without_folders(source.manifest.get("teacher", {}).get("name", "")))
    how = f"distilled from the teacher {teacher}" if _learns(source) else "trained without a teacher"
    commits = dict.fromkeys(
        str(each["commit"])[:12] for each in source.manifest.get("sessions", []) if "commit" in each
    )
    at = f" at commit {', '.join(commits)}" if commits else ""
    before = f", as it was {source.unfinished}, for the run had not finished" if source.unfinished else ""
    return (
        f"# {_plain(source.folder.name)}\n\nThe student {_code(source.net)}, which gives {task}, {how} by "
        f"{_code(source.spec.method)} of dfkd_lab{_plain(at)}{before}; exported by dfkd_lab {__version__}."
    )


def _learns(source: Source) -> bool:
    """Whether the student learnt from the teacher, and was not only compared with it."""
    return bool(getattr(methods.METHODS.get(source.spec.method), "learns_from_teacher", True))


def _files(rows: Rows) -> str:
    lines = [f"| {_code(name)} | {_plain(row['what'])} | {compared(row)} |" for name, row in rows.items()]
    return "\n".join(["## Files", "", "| file | what it is | beside the student |", "|---|---|---|", *lines])


def _use(source: Source, rows: Rows) -> str:
    card = source.card
    channels, height, width = card.shape
    size = f"{card.classes}, H, W" if source.is_dense else str(card.classes)
    lines = [
        "## Use",
        f"Images are float32 [N, {channels}, {height}, {width}] in [0, 1]; they are normalized inside. Logits are "
        f"[N, {size}], in the order {_plain(', '.join(source.class_names))}.",
    ]
    if step := next((row["size_step"] for row in rows.values() if "size_step" in row), 0):
        sizes = f"from {FEWEST_STEPS * step} to {LARGEST_SIDE:,}"
        lines.append(f"The graphs take any height and width {sizes} that are multiples of {step}.")
    if graph := next((name for name in rows if name.endswith(".onnx")), ""):
        call = '(logits,) = student.run(["logits"], {"image": images})  # images: a NumPy array'
        start = f'import onnxruntime\n\nstudent = onnxruntime.InferenceSession("{graph}")'
        lines.append(f"```python\n{start}\n{call}\n```")
    if "model.safetensors" in rows:
        lines.append(_loading(source.net))
    return "\n\n".join(lines)


def _loading(net: str) -> str:
    """How the weights are loaded again."""
    own, note = "", ""
    if python_file.names_file(net):
        own, note = f', "{net}"', "The Python file is executed by that; read it first.\n\n"
    elif ":" not in net and net not in nets.PUBLISHED:
        note = f"The network is one that was registered: `dfkd_lab.nets.register({net!r}, ...)` comes first.\n\n"
    call = f'from dfkd_lab import load_student\n\nlogits = load_student("."{own})(images)  # images: a tensor'
    return f"{note}```python\n{call}\n```"


def _origin(source: Source, teacher_license: str) -> str:
    manifest, result, seal, name = source.manifest, source.result, source.seal, source.spec.method
    citation = getattr(methods.METHODS.get(name), "citation", "a method that is not known here")
    teacher = manifest.get("teacher", {})
    who = _without_folders(teacher.get("name", ""))
    replaced = manifest.get("method", {}).get("replaced") or {}
    known = "teacher" if _learns(source) else "teacher that it was compared with"
    watched = dict.fromkeys(way for each in seal.get("sessions", []) for way in each.get("watched", []))
    rows = {
        "method": f"{name}: {citation}",
        "certainty of the method": _certainty(source),
        "slots filled otherwise": "; ".join(f"{slot} = {value}" for slot, value in replaced.items()),
        known: f"{who} ({teacher.get('net')}), sha256 {teacher.get('sha256')}",
        "license of the teacher": f"{teacher_license}, as stated by whoever exported it" if teacher_license else
                                  "not stated by whoever exported it",
        "sha256 of the student": source.student.sha256,
        f"images {'shown' if source.seal.get('real_images') else 'synthesized'}": _count(result.get("images")),
        "teacher queries": _count(result.get("teacher_queries")),
        "seed": str(source.spec.seed),
        "data": f"the distillation {records.verdict(seal, result['rounds'])}",
        "what was watched": "; ".join(watched),
        "what was not watched": "; ".join(seal.get("not_watched", {}).values()),
    }  # fmt: skip
    return "## Where it is from\n\n" + _table((name, value) for name, value in rows.items() if value)


def _figures(source: Source, found: Measured | None) -> str:
    result, teacher = source.result, source.manifest.get("teacher", {}).get("accuracy")
    seen = "the real images that it was given" if source.seal.get("real_images") else "synthetic images"
    agreement = (f"agreement with the teacher on {seen}", _figure(result.get("agreement")))
    if found is None:
        why = "The student was not evaluated after that round." if source.unfinished else ""
        why = why if source.manifest.get("evaluation") else "The run had no evaluation set."
        return f"## Measured\n\n{why}\n\n" + _table([agreement])
    where = f"{found.n:,} evaluation images of {_without_folders(found.data)}"
    rows = [
        (f"{found.metric} {_when(source, 'after')}, on the {where}", found.words()),
        ("of the teacher on the same images", _figure(teacher)),
        ("oracle: of the best round, which nobody can choose without labels", _figure(result.get("oracle_best"))),
        agreement,
    ]
    return "## Measured\n\nBy the run, of the student as it is in 32 bits.\n\n" + _table(rows)


def _when(source: Source, last: str) -> str:
    """Of which round a figure is."""
    return source.unfinished or f"{last} the last round"


def _limits(source: Source) -> str:
    reading = ["The method is a reading of a paper whose equations were not all at hand, not a reproduction."]
    lines = [
        *([f"It {remark}."] if (remark := methods.remark(methods.METHODS.get(source.spec.method))) else []),
        *([f"It is the student {source.unfinished}: the run had not finished."] if source.unfinished else []),
        *(reading if _certainty(source).startswith("inferred") and "control" not in _certainty(source) else []),
        "What it makes of images unlike those that it was measured on is not known.",
        *(["It inherits the teacher's faults."] if _learns(source) else []),
        "No license is stated for it: what the teacher's license and its training data allow is to be asked there.",
        f"Its files were compared on {INPUTS} inputs, none of them a real image (parity.json).",
    ]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _certainty(source: Source) -> str:
    """As it was when the run was planned."""
    return str(source.manifest.get("method", {}).get("certainty", "not known"))


def _without_folders(name: str) -> str:
    """The name of a teacher's file or of a folder of images without where it lies, which is nobody's business."""
    return "@".join(f"{kind}{colon}{Path(path).name}" for kind, colon, path in map(_parts, name.split("@")))


def _parts(name: str) -> tuple[str, str, str]:
    return name.partition(":") if ":" in name else ("", "", name)


def _count(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.0f}"


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["|  |  |", "|---|---|", *(f"| {_plain(name)} | {_plain(value)} |" for name, value in rows)])


def _plain(text: object) -> str:
    """Text for a table in Markdown; names of files and classes may hold anything."""
    shown = html.escape(printable(text), quote=False)
    return re.sub(r"[\\|\[\]`*~$]|_(?![A-Za-z0-9])|(?<![A-Za-z0-9])_", r"\\\g<0>", shown)


def _code(text: object) -> str:
    return f"`{printable(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"
