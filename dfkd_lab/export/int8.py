"""An ONNX file in int8: static quantization by onnxruntime, calibrated on synthetic images alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfkd_lab.export.graphs import IMAGE, quiet
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.runs.synthetic import PASS

CALIBRATED_ON = 1000
"""Images at most."""
MARGIN = 1.5
"""By how much a range is wider than synthetic images make it: networks are surer of real ones, and their maps larger.

Inferred: no paper's. On MNIST the last maps of a student reached 3.6 times as far on real images; at 1 it lost .9
points of accuracy, at 1.5 none, and at 3 students of digits agreed less (one and three students, looked at once).
"""
LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights."""


def quantized(model: bytes, images: Tensor) -> bytes:
    """A float ONNX file as int8: weights by output channel, activations by the ranges that ``images`` give them.

    QDQ: every operator stands between a quantization and its undoing, which any runtime can read. The last operator
    with weights, and what follows it, stay in 32 bits: logits that are cut off are all alike, and their class is lost.

    Args:
        model: As :func:`dfkd_lab.export.graphs.onnx_model` gives it.
        images: Synthetic, [N, C, H, W] as bytes.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quiet():
        given, prepared, made = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "int8"))
        given.write_bytes(model)
        quant_pre_process(given, prepared)
        nodes = onnx.load(prepared).graph.node
        linear = [place for place, node in enumerate(nodes) if node.op_type in LINEAR] or [len(nodes)]
        first, last = linear[0], linear[-1]
        ranges = _ranges(prepared, images, {IMAGE, *(name for node in nodes[:first] for name in node.output)})
        quantize_static(
            prepared, made, _reader(images[:1]), quant_format=QuantFormat.QDQ, per_channel=True,
            weight_type=QuantType.QInt8, activation_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in nodes[last:]],
            extra_options={"TensorQuantOverrides": ranges},
        )  # fmt: skip
        return made.read_bytes()


def _ranges(model: Path, images: Tensor, before: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The range of every activation, as ``quantize_static`` takes them.

    Those ``before`` the first operator with weights follow from images in [0, 1]; the others are as wide as ``images``
    make them, and the margin.
    """
    black, white = torch.zeros_like(images[:1]), torch.full_like(images[:1], 255)
    exact, measured = _extremes(model, torch.cat([black, white])), _extremes(model, images)
    wide = {name: (MARGIN * low, MARGIN * high) for name, (low, high) in measured.items()}
    chosen = {name: exact[name] if name in before else wide[name] for name in measured}
    return {name: [{"rmin": low, "rmax": high}] for name, (low, high) in chosen.items()}


def _extremes(model: Path, images: Tensor) -> dict[str, tuple[Any, Any]]:
    """The smallest and the largest value of every activation on ``images``."""
    from onnxruntime.quantization.calibrate import create_calibrator

    calibrator = create_calibrator(model, None, augmented_model_path=str(model.with_suffix(".augmented.onnx")))
    calibrator.set_execution_providers(["CPUExecutionProvider"])
    calibrator.collect_data(_reader(images))
    found = calibrator.compute_data().items()
    return {name: tuple(each.min() for each in data.range_value) for name, data in found}


def _reader(images: Tensor) -> Any:
    """``images`` as onnxruntime reads what it calibrates on, a batch at a time."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images.split(PASS))

        def get_next(self) -> dict[str, object] | None:
            batch = next(self.left, None)
            return None if batch is None else {IMAGE: to_float(batch).numpy()}

    return Reader()
