"""Lines are told apart by eyes that lack a kind of cone, on light pages and on dark ones."""

from itertools import combinations

import numpy as np
import pytest

from widgets.class_figures import FADING, SCALE
from widgets.figures import COLORS

# Machado, Oliveira and Fernandes (2009), A Physiologically-based Model for Simulation of Color Vision Deficiency:
# severity 1, on linear RGB.
EYES = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])
WHITE = np.array([0.95047, 1.0, 1.08883])
LEAST_DISTANCE, LEAST_CONTRAST = 20.0, 2.6
"""In CIELAB, where 2.3 is just seen; and of a line of two pixels, which is named beside it."""
LEAST_OF_SHARES = 10.0
"""Between areas whose shares are a quarter apart."""


def linear(color: str) -> np.ndarray:
    """Linear RGB of "#rrggbb"."""
    parts = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def of_scale(parts: int) -> list[str]:
    """The colors of the heat maps' scale at ``parts`` + 1 shares from 0 to 1, as plotly mixes them."""
    shares, stops = np.linspace(0, 1, parts + 1), [at for at, _ in SCALE]
    bytes_ = np.array([[int(color[place : place + 2], 16) for place in (1, 3, 5)] for _, color in SCALE])
    mixed = np.stack([np.interp(shares, stops, bytes_[:, channel]) for channel in range(3)], 1).round().astype(int)
    return ["#" + "".join(f"{part:02x}" for part in color) for color in mixed]


def before(ground: str, share: float) -> np.ndarray:
    """Linear RGB of the scale that fades into the page, at one share."""
    stops = [at for at, _ in FADING]
    parts = np.array([[float(part) for part in color[5:-1].split(",")] for _, color in FADING])
    red, green, blue, alpha = (np.interp(share, stops, parts[:, channel]) for channel in range(4))
    page = np.array([int(ground[place : place + 2], 16) for place in (1, 3, 5)])
    mixed = (alpha * np.array([red, green, blue]) + (1 - alpha) * page).round().astype(int)
    return linear("#" + "".join(f"{part:02x}" for part in mixed))


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB."""
    scaled = XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", EYES)
def test_every_two_colors_differ(eyes: str) -> None:
    seen = {color: lab(np.array(EYES[eyes]) @ linear(color)) for color in COLORS}
    near = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in combinations(COLORS, 2)}
    assert min(near.values()) >= LEAST_DISTANCE, min(near, key=lambda pair: near[pair])


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_every_color_is_seen_on_light_and_on_dark(ground: str) -> None:
    behind = float(XYZ[1] @ linear(ground))
    for color in COLORS:
        bright, dark = sorted((float(XYZ[1] @ linear(color)), behind), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= LEAST_CONTRAST, color


@pytest.mark.parametrize("eyes", EYES)
def test_shares_a_quarter_apart_differ(eyes: str) -> None:
    seen = [lab(np.array(EYES[eyes]) @ linear(color)) for color in of_scale(4)]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) >= LEAST_OF_SHARES


def test_black_counts_are_read_on_every_color_of_the_scale() -> None:
    assert min((float(XYZ[1] @ linear(color)) + 0.05) / 0.05 for color in of_scale(100)) >= 4.5


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
@pytest.mark.parametrize("eyes", EYES)
def test_shares_that_fade_into_the_page_differ(eyes: str, ground: str) -> None:
    seen = [lab(np.array(EYES[eyes]) @ before(ground, share)) for share in np.linspace(0, 1, 5)]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) >= LEAST_OF_SHARES
    page = lab(np.array(EYES[eyes]) @ linear(ground))
    small, large = (np.linalg.norm(lab(np.array(EYES[eyes]) @ before(ground, share)) - page) for share in (0.01, 0.99))
    assert 2.3 < small < large / 4, "seen, and near the page"
