"""The student leaves: files that work without this library, each held against the student before it counts.

config.json        the network, its classes, and how images are normalized
model.safetensors  the weights, as :func:`load_student` and other frameworks read them
model.pt2          the graph, as ``torch.export.load`` reads it
model.onnx         the graph, as onnxruntime and most others read it
model.int8.onnx    the same in int8, calibrated on synthetic images alone
images/            the synthetic images, with what the teacher says of each
parity.json        what was compared, on which inputs, and what came of it
README.md          the model card
"""

from dfkd_lab.export.formats import FORMATS
from dfkd_lab.export.student import load_student
from dfkd_lab.export.writing import Exported, ExportSpec, write

__all__ = ["FORMATS", "ExportSpec", "Exported", "load_student", "write"]
