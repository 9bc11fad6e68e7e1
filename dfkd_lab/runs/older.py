"""What the run folders of older versions mean today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfkd_lab import methods, nets
from dfkd_lab.spec import RunSpec, settings_of

RETIRED = {"tape": "steps are no longer recorded and played back; the run computes the same without"}
"""Settings of older versions that a spec may still have, and why they are passed over."""
ADDED = {
    "decay": "cosine",
    "evict": "oldest",
    "first_layer": 1.0,
    "form": "toolbox",
    "importance": "largest",
    "meta_lr": 0.0,
    "modulate": "confidence",
    "modulate_student": False,
    "weight_decay": 5e-4,
}
"""Settings that methods did not have in older versions, and what they did then."""
MENDED = {
    "dafl": "the generator's inner batch norms have 0.8 as eps, as the authors' code has",
    "ddad": "the generator's learning rate falls as the student's does",
    "deepinversion": "total_variation and l2 are taken in network units, and one roll serves a batch",
    "spaceshipnet": "class activation maps of a WRN are taken behind its last ReLU",
    "fssc": "class activation maps of a WRN are taken behind its last ReLU",
}
"""What a run that an older version began does otherwise from here on."""


def completed(spec: Mapping[str, Any], student: Any) -> dict[str, Any]:
    """The values of ``spec``, as a run folder has them, with what later versions added.

    Args:
        spec: As it was read; settings that are no longer known are left out.
        student: What the manifest says of the student, if anything.
    """
    values = {name: value for name, value in spec.items() if name not in RETIRED}
    if values.get("compile") is False:  # of 0.2.0, whose default it was
        values["compile"] = "auto"
    if isinstance(values.get("student"), str) and isinstance(student, dict):
        values["student"] = nets.as_written(values["student"], student.get("revision"))
    name = values.get("method", "")
    class_, settings = methods.METHODS.get(name) if isinstance(name, str) else None, values.get("settings")
    if isinstance(settings, dict) and settings and class_:
        known = {**ADDED, "mirror": settings.get("flip", True)}
        values["settings"] = {**{name: known[name] for name in known if name in settings_of(class_)}, **settings}
    return {"precision": "fp32", "optimizer": getattr(class_, "optimizer", "sgd"), **values}


def sentences(spec: Mapping[str, Any], now: RunSpec) -> list[str]:
    """What is passed over, called or done otherwise now, a sentence each.

    Args:
        spec: As it was read.
        now: What it means today.
    """
    said = [f"{name} is passed over: {RETIRED[name]}" for name in spec if name in RETIRED]
    if "optimizer" not in spec and (mended := MENDED.get(now.method)):
        said.append(f"begun by an older version; from here on {mended}")
    if spec.get("student") not in (None, now.student):
        said.append(f"student '{spec['student']}' is called '{now.student}' by now, and computes what it did")
    return said
