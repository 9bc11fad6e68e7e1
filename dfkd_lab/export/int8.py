"""An ONNX file in int8: static quantization by onnxruntime, calibrated on synthetic images alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor

from dfkd_lab.export.graphs import IMAGE, quiet
from dfkd_lab.export.synthetic import PASS
from dfkd_lab.primitives.batch import to_float

CALIBRATED_ON = 512
"""Images at most; beyond a few hundred the ranges hardly move."""


def quantized(model: bytes, images: Tensor) -> bytes:
    """A float ONNX file as int8: weights by output channel, activations by the ranges that ``images`` give them.

    QDQ: every operator stands between a quantization and its undoing, which any runtime can read.

    Args:
        model: As :func:`dfkd_lab.export.graphs.onnx_model` gives it.
        images: Synthetic, [N, C, H, W] as bytes.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):
        """The images, a batch at a time."""

        def __init__(self) -> None:
            self.left = iter(images.split(PASS))

        def get_next(self) -> dict[str, object] | None:
            batch = next(self.left, None)
            return None if batch is None else {IMAGE: to_float(batch).numpy()}

    with tempfile.TemporaryDirectory() as folder, quiet():
        given, prepared, made = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "int8"))
        given.write_bytes(model)
        quant_pre_process(given, prepared)
        quantize_static(prepared, made, Batches(), quant_format=QuantFormat.QDQ, per_channel=True,
                        weight_type=QuantType.QInt8, activation_type=QuantType.QInt8)  # fmt: skip
        return made.read_bytes()
