"""Twins of the region terms. Maps of a stage and gradients are [N, C, H, W], weights of a classifier [K, C]."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def pooled(plane: Array, height: int, width: int) -> Array:
    """A plane [H, W] averaged over windows to height x width."""
    rows, columns = plane.shape
    small = np.zeros((height, width))
    for h in range(height):
        for w in range(width):
            inside_h = range(h * rows // height, -(-(h + 1) * rows // height))
            inside_w = range(w * columns // width, -(-(w + 1) * columns // width))
            small[h, w] = sum(plane[i, j] for i in inside_h for j in inside_w) / (len(inside_h) * len(inside_w))
    return small


def distance(teacher: Array, student: Array) -> float:
    """mean_{hw} (A_S - A_T)^2 of two planes, at the smaller of both sizes."""
    height, width = min(teacher.shape[0], student.shape[0]), min(teacher.shape[1], student.shape[1])
    one, other = pooled(teacher, height, width), pooled(student, height, width)
    total = 0.0
    for h in range(height):
        for w in range(width):
            total += (other[h, w] - one[h, w]) ** 2 / (height * width)
    return total


def combined(maps: Array, weights: Array) -> Array:
    """sum_c w_c A_c of one sample's maps [C, H, W]."""
    plane = np.zeros(maps.shape[1:])
    for channel, weight in zip(maps, weights, strict=True):
        plane = plane + weight * channel
    return plane


def cam(teacher: Array, student: Array, teacher_head: Array, student_head: Array) -> Array:
    """mean_k mean_{hw} (CAM_S^k - CAM_T^k)^2, CAM^k = sum_c w_kc A_c."""
    losses = []
    for mine, other in zip(teacher, student, strict=True):
        pairs = zip(teacher_head, student_head, strict=True)
        found = [distance(combined(mine, one), combined(other, two)) for one, two in pairs]
        losses.append(sum(found) / len(found))
    return np.array(losses)


def importance(gradient: Array) -> Array:
    """w_c = mean_{hw} (d logit / d A)_c of one sample."""
    _, height, width = gradient.shape
    means = []
    for channel in gradient:
        means.append(sum(channel[h, w] for h in range(height) for w in range(width)) / (height * width))
    return np.array(means)


def grad_cam(
    teacher: Sequence[Array], student: Sequence[Array], teacher_g: Sequence[Array], student_g: Sequence[Array]
) -> Array:
    """sum_l mean_{hw} (G_S^l - G_T^l)^2, G = sum_c w_c A_c."""
    losses = np.zeros(len(teacher[0]))
    for mine, other, mine_g, other_g in zip(teacher, student, teacher_g, student_g, strict=True):
        for i in range(len(losses)):
            one, two = combined(mine[i], importance(mine_g[i])), combined(other[i], importance(other_g[i]))
            losses[i] += distance(one, two)
    return losses
