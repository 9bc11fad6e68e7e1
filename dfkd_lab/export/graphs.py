"""The student as a graph that needs none of its code: ``torch.export`` (.pt2), and ONNX made of that."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from dfkd_lab.errors import SpecError
from dfkd_lab.export.parity import Runs
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.system.faults import reason

IMAGE, LOGITS = "image", "logits"
"""What the graph calls its input and its output."""
TRACED = 2
"""Images that are traced; 1 would be taken for the only number there is."""
MOST_IMAGES, LARGEST_SIDE = 4096, 4096
FEWEST_STEPS = 2
"""Height and width of a dense net's images, in the steps in which they may change: 1 is taken for the only size."""
STEPS = (1, 2, 4, 8, 16, 32)
"""Of a dense net: its height and width may be any multiple of the first of these that it can be traced with."""
OPERATOR = re.compile(r"op='([\w:.]+)'|torch\.ops\.(\w+\.\w+)")
"""How exporters write the operator that they stumbled over."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters tell a person much that is about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def trace(model: Frozen, who: str, shape: tuple[int, int, int], dense: bool) -> tuple[ExportedProgram, int]:
    """The graph of ``model`` for any number of images, and in which steps height and width may change, 0 for not.

    Args:
        model: On the CPU, in eval mode.
        who: What its network is called.
        shape: Of an image, [C, H, W].
        dense: Whether it labels every pixel, so that other heights and widths make sense.

    Raises:
        SpecError: if it has no graph, naming the reason.
    """
    images = torch.rand(TRACED, *shape, generator=torch.Generator().manual_seed(0))
    steps = [step for step in STEPS if all(side % step == 0 for side in shape[1:])] if dense else []
    refusal: Exception | None = None
    for step in (*steps, 0):
        try:
            with quiet(), torch.no_grad():
                program = torch.export.export(model, (images,), dynamic_shapes=(_dynamic(step),))
        except Exception as error:  # whatever the code of a network makes of sizes that are not numbers
            refusal = error
            continue
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # which would tell whoever gets the files where ours lie on this machine
        return program, step
    raise SpecError(f"'{who}' cannot be traced by torch.export ({_why(refusal)})") from None


def _dynamic(step: int) -> dict[int, Any]:
    sizes: dict[int, Any] = {0: Dim("batch", min=1, max=MOST_IMAGES)}
    if step:
        for place, name in ((2, "height"), (3, "width")):
            side: Any = Dim(name, min=FEWEST_STEPS, max=LARGEST_SIDE // step)
            sizes[place] = step * side if step > 1 else side
    return sizes


def pt2(program: ExportedProgram) -> bytes:
    """The program as ``torch.export.load`` reads it."""
    file = io.BytesIO()
    with quiet():
        torch.export.save(program, file)
    return file.getvalue()


def onnx_model(program: ExportedProgram, step: int, who: str, facts: dict[str, Any]) -> bytes:
    """The program as one ONNX file.

    Args:
        program: With ``step``, as :func:`trace` gives them.
        step: Of height and width.
        who: What the network is called.
        facts: Kept in the file's metadata.

    Raises:
        SpecError: naming the operator that ONNX has not.
    """
    named = {0: "batch", **({2: "height", 3: "width"} if step else {})}
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            made = torch.onnx.export(
                program, input_names=[IMAGE], output_names=[LOGITS], dynamic_shapes=(named,), dynamo=True, verbose=False
            )
            assert made is not None
            model = made.model_proto
            for name, value in facts.items():
                model.metadata_props.add(key=name, value=json.dumps(value))
            content: bytes = model.SerializeToString()
            return content
    except Exception as error:
        raise SpecError(f"'{who}' cannot be written as ONNX ({_why(error)})") from None


def load_pt2(path: Path) -> Runs:
    """What a .pt2 file computes."""
    with quiet():
        module = torch.export.load(path).module()
    return lambda images: module(images)


def load_onnx(path: Path) -> Runs:
    """What an ONNX file computes, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run([LOGITS], {IMAGE: np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(logits)

    return run


def _why(error: BaseException | None) -> str:
    """The operator that an exporter stumbled over, if it names one, else what it said."""
    causes: list[BaseException] = []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    for each in reversed(causes):  # from the one that knows most
        if found := OPERATOR.search(str(each)):
            return f"it has no operator for {found[1] or found[2]}"
    return reason(causes[0])
