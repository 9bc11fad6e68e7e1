"""What a training set asks of a teacher: how its images are varied, the loss, and how the result is measured."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dfkd_lab import data
from dfkd_lab.primitives.batch import to_float
from dfkd_lab.primitives.views import CropFlip
from dfkd_lab.teachers import dense
from dfkd_lab.teachers.recipes import DENSE, SHORT, TrainingRecipe


class Classification:
    """A class for every image: random crops of the padded image, mirrored if that keeps the meaning; cross entropy.

    Args:
        name: Of the data set.
        train: Images and labels to learn.
        held_out: To measure on.
        device: Where it is trained.
    """

    name = "classification"
    recipe: TrainingRecipe = SHORT

    def __init__(self, name: str, train: data.Split, held_out: data.Split, device: torch.device):
        row = data.find(name)  # a folder's images are taken to mean the same in a mirror
        self.flip = row.mirrors if row else True
        self.normalization = row.normalization if row else data.normalization(train.images)
        self.shape, self.n = self._shape(train, row), len(held_out.labels)
        self.classes = train.classes
        padding = row.crop_padding if row else max(1, self.shape[1] // 8)
        self.view = CropFlip(padding, self.flip)
        self.evaluate = dense.evaluation_of(held_out, self.classes)
        self.evaluate.to(device)

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of ``model`` on a batch of uint8 ``images`` [N, C, H, W] as they are varied now."""
        return F.cross_entropy(model(_prepared(self.view(images))), labels)

    @property
    def variation(self) -> str:
        """How images are varied, in words."""
        return f"crop {self.view.padding}, {'flip' if self.flip else 'no flip'}"

    def _shape(self, train: data.Split, row: data.DataSet | None) -> tuple[int, int, int]:
        channels, height, width = train.images.shape[1:]
        return channels, height, width


class Segmentation(Classification):
    """A class for every pixel: random pieces of the size that the data set is taught at; cross entropy over the pixels.

    Thin classes weigh more, see :func:`dfkd_lab.teachers.dense.class_weights`.
    """

    name, recipe = "segmentation", DENSE

    def __init__(self, name: str, train: data.Split, held_out: data.Split, device: torch.device):
        super().__init__(name, train, held_out, device)
        self.ignore = train.ignore
        weights = dense.class_weights(train)
        self.weights = None if weights is None else weights.to(device)

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        images, labels = dense.crop(images, labels, self.shape[1:], self.flip)
        return dense.loss(model(_prepared(images)), labels, self.weights, self.ignore)

    @property
    def variation(self) -> str:
        weighed = "" if self.weights is None else ", classes weighed by 1 / ln(1.02 + share)"
        return f"pieces of {self.shape[1]} x {self.shape[2]}, {'flip' if self.flip else 'no flip'}{weighed}"

    def _shape(self, train: data.Split, row: data.DataSet | None) -> tuple[int, int, int]:
        return row.synthesis_shape if row else super()._shape(train, row)


def task_of(name: str, train: data.Split, held_out: data.Split, device: torch.device) -> Classification:
    """What a data set asks of a teacher, by whether it has a class for every image or for every pixel."""
    return (Segmentation if train.task == "segmentation" else Classification)(name, train, held_out, device)


def _prepared(images: Tensor) -> Tensor:
    images = to_float(images)
    return images.to(memory_format=torch.channels_last) if images.device.type == "cuda" else images
