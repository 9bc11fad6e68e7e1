"""What a method may know when it fills the slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dfkd_lab.errors import RecipeError
from dfkd_lab.nets import Generator
from dfkd_lab.nets.generators import Output
from dfkd_lab.nets.large_generators import DCGANGenerator, DeepGenerator, large_generator
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.observer import Observer


@dataclass(frozen=True)
class MethodContext:
    """What a method may know: the teacher, the shape of its images, and the length of the run. No data."""

    teacher: Frozen
    observer: Observer
    shape: tuple[int, int, int]
    classes: int
    rounds: int
    generator_name: str = "auto"
    """The run's setting ``generator``."""
    task: str = "classification"
    """Or "segmentation": the teacher labels every pixel."""

    @property
    def pixel_classes(self) -> int:
        """K where the teacher labels every pixel, else 0."""
        return self.classes if self.task == "segmentation" else 0

    def refuse_pixels(self) -> None:
        """For what draws images of a target class.

        Raises:
            RecipeError: if the teacher labels every pixel.
        """
        if self.pixel_classes:
            raise RecipeError(
                "this method's generator draws an image of a target class, and this teacher labels every pixel; choose "
                "a method without target classes, as dfad, dafl, fast or ssd_kd"
            )

    @property
    def mean(self) -> Tensor:
        """Per-channel mean [C, 1, 1] of the teacher's normalization."""
        return self.teacher.mean

    @property
    def std(self) -> Tensor:
        """Per-channel standard deviation [C, 1, 1] of the teacher's normalization."""
        return self.teacher.std

    def network_units(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] as the teacher was trained to see them."""
        return self.teacher.network_units(images)

    def generator(
        self,
        z_dim: int,
        width: int,
        output: Output = "sigmoid",
        conditional: bool = False,
        latent_map: bool = True,
        **details: Any,
    ) -> Generator | DCGANGenerator | DeepGenerator:
        """A fresh generator of the teacher's images; the field's shared one unless the run names another.

        Args:
            z_dim: Of the noise.
            width: Channels of its last hidden layer.
            output: How the shared one is bounded; the others are as published.
            conditional: Whether it makes images of the target class.
            latent_map: Whether it may take a map as noise.
            details: Of :class:`~dfkd_lab.nets.Generator`.

        Raises:
            RecipeError: if the run names a generator that this method cannot use.
        """
        if conditional:
            self.refuse_pixels()
        if self.generator_name != "auto":
            # eps is that of the shared one's batch norms, the published ones have their own
            given = {name: value for name, value in details.items() if value and name != "eps"}
            return large_generator(self.generator_name, z_dim, self.shape, width, conditional, latent_map, given)
        classes = self.classes if conditional else 0
        return Generator(z_dim, self.shape, width, output, self.mean.cpu(), self.std.cpu(), classes, **details)

    @property
    def batch_norms(self) -> list[Any]:
        """The teacher's batch norms that keep statistics, in the order they are passed.

        If it has none, :meth:`Recipe.check` refuses the losses that read them.
        """
        return self.observer.batch_norms

    @property
    def stages(self) -> int:
        """The number of stages of teacher and student.

        Raises:
            RecipeError: if one has none that can be found, or they have different numbers of them.
        """
        counts = {"teacher": len(self.observer.stages), "student": len(self.observer.student_stages)}
        for who, count in counts.items():
            if not count:
                raise RecipeError(
                    f"this method compares stage maps, and the {who} has neither 'stages' nor 'layer1'; the weight of "
                    "what compares them (attention, grad_cam) may be 0"
                )
        if counts["teacher"] != counts["student"]:
            raise RecipeError(
                f"this method compares stage maps, and the teacher has {counts['teacher']} stages, "
                f"the student {counts['student']}"
            )
        return counts["teacher"]
