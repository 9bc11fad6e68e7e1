"""Memories, one idea a file: what is kept of the synthetic images and how it is read back."""

from dfkd_lab.primitives.memories.base import Draw, Live, Memory
from dfkd_lab.primitives.memories.buffer import ImageBuffer
from dfkd_lab.primitives.memories.cached_views import CachedViews
from dfkd_lab.primitives.memories.ema import EMAMemory
from dfkd_lab.primitives.memories.feature_maps import FeatureMapBuffer
from dfkd_lab.primitives.memories.priority import DIVISORS, PriorityBuffer
from dfkd_lab.primitives.memories.replay import ImageBank, ReplayMixture
from dfkd_lab.primitives.memories.vae import VAEMemory

__all__ = [
    "DIVISORS",
    "CachedViews",
    "Draw",
    "EMAMemory",
    "FeatureMapBuffer",
    "ImageBank",
    "ImageBuffer",
    "Live",
    "Memory",
    "PriorityBuffer",
    "ReplayMixture",
    "VAEMemory",
]
