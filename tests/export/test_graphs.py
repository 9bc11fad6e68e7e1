"""Networks as graphs: every one of ours has one that gives the same, and what has none is refused by its operator."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import RunFolder, Session, SpecError, data, export, nets, plan
from dfkd_lab.export import graphs, parity
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.runs.synthetic import Synthetic

pytestmark = pytest.mark.slow

QUICK = ("lenet5_half",)
"""Of the others each takes up to a minute; convnet_8 and unet_8 are exported as students."""
OTHERS = ("torchvision:squeezenet1_1", "torchvision:efficientnet_b0", "torchvision:lraspp_mobilenet_v3_large")


class Spectral(nn.Module):
    """Needs an operator that ONNX has not."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.linalg.svdvals(images.flatten(2)).flatten(1)


class Choosing(nn.Module):
    """Does one thing or another by what is in the images."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=[] if each in QUICK else [pytest.mark.long])
        for each in (*sorted(nets.PUBLISHED), *OTHERS)
    ],
)
def test_a_graph_gives_what_the_network_gives(name: str, tmp_path: Path) -> None:
    shape, dense = (3, 32, 32), nets.task_of(name) == "segmentation"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Frozen(nets.classifier(name, shape[0], 10), (0.5,), (0.5,))
    program, step = graphs.trace(net, name, shape, dense)
    assert bool(step) == dense
    images = parity.inputs(Synthetic(torch.zeros(0, *shape, dtype=torch.uint8), "none"), shape, 0).images
    (tmp_path / "model.onnx").write_bytes(graphs.onnx_model(program, step, name, {}))
    other = torch.rand(2, 3, 32 + 2 * step, 32 + step) if step else None
    assert not parity.compare(net, graphs.load_onnx(tmp_path / "model.onnx"), images, other=other).problem()
    (tmp_path / "model.pt2").write_bytes(graphs.pt2(program))
    assert not parity.compare(net, graphs.load_pt2(tmp_path / "model.pt2"), images[:64], other=other).problem()


def test_an_operator_that_there_is_not_is_named() -> None:
    net = Frozen(Spectral(), (0.5,), (0.5,))
    program, _ = graphs.trace(net, "spectral", (1, 4, 4), dense=False)
    with pytest.raises(SpecError, match=r"'spectral' cannot be written as ONNX \(it has no operator for aten\._li"):
        graphs.onnx_model(program, 0, "spectral", {})


def test_code_that_looks_at_its_images_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'choosing' cannot be traced by torch.export \(.*data-dependent"):
        graphs.trace(Frozen(Choosing(), (0.5,), (0.5,)), "choosing", (1, 4, 4), dense=False)


def test_a_network_that_labels_every_pixel(scenes_teacher: str, tmp_path: Path) -> None:
    sizes = {"batch": 4, "width": 8, "z_dim": 8, "g_steps": 1, "s_steps": 1, "capacity": 12, "warm_up": 0}
    given = {"teacher": scenes_teacher, "student": "unet_8", "data": "scenes", "rounds": 3, "preset": "segmentation"}
    session = Session(plan({**sizes, **given}, method="ssd_kd", device="cpu", out=str(tmp_path / "run")))
    list(session)
    folder: RunFolder = session.folder
    made = export.write(folder, "onnx,images")
    assert made.files["model.onnx"]["size_step"] == 2
    assert [each["size"] for each in made.files["model.onnx"]["batches"]] == ["32x32"] * 4 + ["36x34"]
    card = (made.path / "README.md").read_text()
    assert "pipeline_tag: image-segmentation" in card
    assert "any height and width from 4 to 4,096 that are multiples of 2" in card
    read = data.training_set(f"folder-pairs:{made.path / 'images'}", (1, 32, 32), 11)
    assert read is not None
    assert read.labels.shape == (12, 32, 32)
