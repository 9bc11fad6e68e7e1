"""What fills a slot without a method around it: ``view = "resized_crop:low=0.5"``."""

from dataclasses import dataclass

from dfkd_lab.engine.recipe import MethodContext, Recipe
from dfkd_lab.methods.common import settings
from dfkd_lab.primitives.views import ResizedCrop
from dfkd_lab.spec import setting


@dataclass(frozen=True)
class ResizedCropFilling:
    """A random part of each image, enlarged: FastDFKD's view at 224 pixels (arXiv:2112.06253).

    Certain (authors' code): 0.75.
    """

    low: float = setting(0.75, "smallest share of an image's area that is shown", low=0.01, high=1)
    flip: bool = settings.flip(True)

    def __call__(self, context: MethodContext, recipe: Recipe) -> ResizedCrop:
        """The view."""
        return ResizedCrop(self.low, self.flip)
