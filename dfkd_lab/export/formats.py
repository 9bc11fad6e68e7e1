"""The formats of an export: what is written for each, and how a file of it is read again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch

from dfkd_lab import teachers
from dfkd_lab.errors import SpecError
from dfkd_lab.export import graphs, int8
from dfkd_lab.export.parity import Parity, Runs, compare
from dfkd_lab.export.source import Source
from dfkd_lab.export.student import WEIGHTS
from dfkd_lab.nets import python_file
from dfkd_lab.spec import unknown
from dfkd_lab.system.faults import reason

FORMATS = ("safetensors", "pt2", "onnx", "int8", "images")
NEED_IMAGES = ("int8", "images")
"""Formats that a run without synthetic images has not."""
EXTRA = ("onnx", "onnxscript", "onnxruntime")
"""Packages of the extra "export"."""


def chosen(to: str) -> list[str]:
    """The formats that ``to`` names, with commas.

    Raises:
        SpecError: if one is unknown, there is none, or the packages it needs are not installed.
    """
    names = list(dict.fromkeys(name.strip() for name in to.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise SpecError(f"to: {unknown(name, FORMATS, 'format')}")
    if not names:
        raise SpecError(f"to = '{to}' names no format; known: {', '.join(FORMATS)}")
    missing = [package for package in EXTRA if find_spec(package) is None]  # onnxruntime has many names on an index
    if missing and {"onnx", "int8"} & set(names):
        raise SpecError(f"to = '{to}' needs {', '.join(missing)}; run: pip install 'dfkd_lab[export]'")
    return names


@dataclass(frozen=True)
class File:
    """A file of an export: name, what it is in words, content, and how it is read again."""

    name: str
    what: str
    content: bytes = field(repr=False)
    load: Callable[[Path], Runs]
    is_int8: bool = False


@dataclass(frozen=True)
class Files:
    """What is written for the formats that are wanted."""

    files: list[File]
    step: int
    """Height and width of images may be any multiple of this in the graphs; 0 if they are those of the student."""

    @classmethod
    def of(cls, source: Source, names: list[str]) -> Files:
        """Make them, in memory.

        Raises:
            SpecError: if the network has no such graph, naming the operator.
        """
        files, step = [_weights(source)] if "safetensors" in names else [], 0
        if {"pt2", "onnx", "int8"} & set(names):
            program, step = graphs.trace(source.student.model, source.net, source.card.shape, source.is_dense)
            if "pt2" in names:
                files.append(
                    File("model.pt2", "the graph, for torch.export.load", graphs.pt2(program), graphs.load_pt2)
                )
            if {"onnx", "int8"} & set(names):
                onnx = graphs.onnx_model(program, step, source.net, {"classes": list(source.class_names)})
            if "onnx" in names:
                files.append(File("model.onnx", "the graph, for onnxruntime and others", onnx, graphs.load_onnx))
            if "int8" in names:
                files.append(_int8(onnx, source))
        return cls(files, step)

    def compare(self, file: File, path: Path, source: Source, images: torch.Tensor) -> Parity:
        """Hold the file at ``path`` against the student on ``images`` [N, C, H, W] in [0, 1]."""
        other = None
        if self.step and file.name != WEIGHTS:
            channels, height, width = source.card.shape
            size = (2, channels, height + 2 * self.step, width + self.step)
            other = torch.rand(size, generator=torch.Generator().manual_seed(source.spec.seed))
        return compare(source.student.model, file.load(path), images, is_int8=file.is_int8, other=other)


def _weights(source: Source) -> File:
    def load(path: Path) -> Runs:
        net = source.card.net
        return teachers.of_file(path, net if python_file.names_file(net) else "").model

    return File(WEIGHTS, "the weights of the network", source.weights, load)


def _int8(onnx: bytes, source: Source) -> File:
    images = source.synthetic.spread(int8.CALIBRATED_ON).images
    what = f"the graph in int8, calibrated on {len(images):,} synthetic images and no other"
    try:
        content = int8.quantized(onnx, images)
    except OSError:
        raise
    except Exception as error:  # of a tool that meets an operator it has no rule for
        raise SpecError(f"'{source.net}' cannot be written in int8 ({reason(error)})") from None
    return File("model.int8.onnx", what, content, graphs.load_onnx, is_int8=True)
