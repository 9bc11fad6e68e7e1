"""Synthesizers, one idea a file: where images come from, and what of it is trained."""

from dfkd_lab.primitives.synthesizers.base import Best, Labels, Synthesizer, draw_labels
from dfkd_lab.primitives.synthesizers.fixed import FixedImages, FixedSource, NoisePixels, Untrained, stratified_sample
from dfkd_lab.primitives.synthesizers.meta import MetaGenerator
from dfkd_lab.primitives.synthesizers.noise import NoiseGenerator
from dfkd_lab.primitives.synthesizers.per_batch import (
    Code,
    NoiseCode,
    NoisyLabels,
    PerBatchGenerator,
)
from dfkd_lab.primitives.synthesizers.pixels import Pixels

__all__ = [
    "Best",
    "Code",
    "FixedImages",
    "FixedSource",
    "Labels",
    "MetaGenerator",
    "NoiseCode",
    "NoiseGenerator",
    "NoisePixels",
    "NoisyLabels",
    "PerBatchGenerator",
    "Pixels",
    "Synthesizer",
    "Untrained",
    "draw_labels",
    "stratified_sample",
]
