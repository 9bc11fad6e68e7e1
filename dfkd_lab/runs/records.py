"""What the manifest and the seal's record say, as plain values."""

from __future__ import annotations

from typing import Any

from dfkd_lab import data, methods
from dfkd_lab.methods import composition
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.seal import Seal
from dfkd_lab.spec import RunSpec


def of_plan(spec: RunSpec) -> dict[str, Any]:
    """The method with its certainty and replaced slots, and the seed."""
    certainty = methods.find(spec.method).certainty
    return {
        "method": {"name": spec.method, "certainty": certainty, "replaced": composition.replaced(spec)},
        "seed": spec.seed,
    }


def of_images(name: str, real: data.Split) -> dict[str, Any]:
    """The real images a reference was given."""
    return {"name": name, "n": len(real.labels), "images_sha256": real.hashes()["images_sha256"]}


def sealed_sessions(folder: RunFolder, seal: Seal, rounds: int, *, given_images: bool) -> list[dict[str, Any]]:
    """What each session's distillation read: those before, and this one with its ``rounds``, if there is any news."""
    before = folder.seal().get("sessions", [])
    if not (rounds or seal.violations or not before):
        return list(before)
    record = seal.record()
    return [*before, {"sealed_rounds": rounds, **record, "data_free": record["data_free"] and not given_images}]
