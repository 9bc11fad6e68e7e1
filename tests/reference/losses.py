"""Twins of the terms. Logits t, s are [N, K], images x are [N, C, H, W], maps of a layer are [N, C, H, W]."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(row: Array) -> Array:
    """exp(t_c) / sum_k exp(t_k)."""
    top = max(row)
    exponentials = [math.exp(value - top) for value in row]
    return np.array([value / sum(exponentials) for value in exponentials])


def entropy(p: Array) -> float:
    """-sum_c p_c log p_c."""
    return -sum(value * math.log(value) for value in p if value > 0)


def confidence(t: Array) -> Array:
    """CE(t(x), argmax t(x))."""
    return np.array([-math.log(softmax(row)[int(np.argmax(row))]) for row in t])


def label(t: Array, y: Sequence[int]) -> Array:
    """CE(t(x), y)."""
    return np.array([-math.log(softmax(row)[wanted]) for row, wanted in zip(t, y, strict=True)])


def student_label(s: Array, y: Sequence[int]) -> Array:
    """CE(s(x), y)."""
    return label(s, y)


def attention_of(maps: Array, height: int, width: int) -> Array:
    """normalise(vec(mean_c A^2)) of one sample's maps [C, H, W], each averaged over windows to height x width."""
    channels, rows, columns = maps.shape
    values = []
    for h in range(height):
        for w in range(width):
            inside_h = range(h * rows // height, -(-(h + 1) * rows // height))
            inside_w = range(w * columns // width, -(-(w + 1) * columns // width))
            area, square = len(inside_h) * len(inside_w), 0.0
            for c in range(channels):
                square += (sum(maps[c, i, j] for i in inside_h for j in inside_w) / area) ** 2 / channels
            values.append(square)
    return np.array(values) / norm(np.array(values))


def attention(teacher: Sequence[Array], student: Sequence[Array]) -> Array:
    """sum_l mean((a_S - a_T)^2), a the attention of the maps after stage l at the smaller of both sizes."""
    losses = np.zeros(len(teacher[0]))
    for mine, other in zip(teacher, student, strict=True):
        height, width = min(mine.shape[2], other.shape[2]), min(mine.shape[3], other.shape[3])
        for i in range(len(losses)):
            pairs = zip(attention_of(mine[i], height, width), attention_of(other[i], height, width), strict=True)
            losses[i] += sum((b - a) ** 2 for a, b in pairs) / (height * width)
    return losses


def balance(t: Array, base: float) -> float:
    """sum_c p_c log p_c of the batch mean p, to ``base``."""
    mean = np.zeros(t.shape[1])
    for row in t:
        mean += softmax(row) / len(t)
    return -entropy(mean) / math.log(base)


def activation(features: Array) -> Array:
    """-mean abs(f_T(x))."""
    return np.array([-sum(abs(value) for value in row) / len(row) for row in features])


def moments(maps: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel over samples and places."""
    n, channels, height, width = maps.shape
    mean, variance = np.zeros(channels), np.zeros(channels)
    for channel in range(channels):
        values = [maps[i, channel, h, w] for i in range(n) for h in range(height) for w in range(width)]
        mean[channel] = sum(values) / len(values)
        variance[channel] = sum((value - mean[channel]) ** 2 for value in values) / len(values)
    return mean, variance


def norm(vector: Array) -> float:
    """The L2 norm, over all axes."""
    return math.sqrt(sum(float(value) ** 2 for value in vector.ravel()))


class BatchNormGap:
    """sum_l |mu_hat - (1 - beta) mu - beta ema(mu)| + the same of the variance; plain in the first call.

    The first layer counts ``first`` times.
    """

    def __init__(self, beta: float = 0.0, first: float = 1.0):
        self.beta, self.first = beta, first
        self.ema: list[tuple[Array, Array]] | None = None
        self.last: list[tuple[Array, Array]] = []

    def __call__(self, layers: Sequence[tuple[Array, Array, Array]]) -> float:
        """``layers``: the input maps of each layer, its running mean and its running variance."""
        self.last = [moments(maps) for maps, _, _ in layers]
        gap = 0.0
        for place, (_, mean_hat, variance_hat) in enumerate(layers):
            for now, hat, which in ((self.last[place][0], mean_hat, 0), (self.last[place][1], variance_hat, 1)):
                blended = now if self.ema is None else (1 - self.beta) * now + self.beta * self.ema[place][which]
                gap += norm(hat - blended) * (self.first if place == 0 else 1)
        return gap

    def commit(self) -> None:
        """ema <- beta ema + (1 - beta) m, m the last step's statistics."""
        if self.ema is None:
            self.ema = self.last
            return
        pairs = zip(self.ema, self.last, strict=True)
        mix = lambda old, new: self.beta * old + (1 - self.beta) * new  # noqa: E731
        self.ema = [(mix(old[0], new[0]), mix(old[1], new[1])) for old, new in pairs]


def kl(t: Array, s: Array, temperature: float) -> Array:
    """tau^2 sum_c p_c log(p_c / q_c) at temperature tau, p the teacher's."""
    losses = []
    for mine, other in zip(t, s, strict=True):
        p, q = softmax(mine / temperature), softmax(other / temperature)
        losses.append(temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return np.array(losses)


def l1(t: Array, s: Array) -> Array:
    """mean_c abs(s_c - t_c)."""
    rows = zip(t, s, strict=True)
    return np.array([sum(abs(b - a) for a, b in zip(one, other, strict=True)) / len(one) for one, other in rows])


def log_gap(t: Array, s: Array) -> float:
    """-log(1 + D), D the mean over samples, classes and pixels of abs(s - t) (DFAD, segmentation)."""
    differences = [abs(b - a) for a, b in zip(t.ravel(), s.ravel(), strict=True)]
    return -math.log(1 + sum(differences) / len(differences))


def js(t: Array, s: Array, temperature: float) -> Array:
    """KL(p, m) / 2 + KL(q, m) / 2, m = (p + q) / 2."""
    losses = []
    for mine, other in zip(t, s, strict=True):
        p, q = softmax(mine / temperature), softmax(other / temperature)
        middle = (p + q) / 2
        loss = 0.0
        for a, b, m in zip(p, q, middle, strict=True):
            loss += a * math.log(a / m) / 2 + b * math.log(b / m) / 2
        losses.append(loss)
    return np.array(losses)


def js_released(t: Array, s: Array, temperature: float) -> Array:
    """mean_c (m_c log(m_c / p_c) + m_c log(m_c / q_c)) / 2, all clamped to [.01, .99] after m is formed (PRE-DFKD)."""
    clamp = lambda value: min(max(value, 0.01), 0.99)  # noqa: E731
    losses = []
    for mine, other in zip(t, s, strict=True):
        p, q = softmax(mine / temperature), softmax(other / temperature)
        loss = 0.0
        for a, b in zip(p, q, strict=True):
            m = clamp((a + b) / 2)
            loss += m * math.log(m / clamp(a)) / 2 + m * math.log(m / clamp(b)) / 2
        losses.append(loss / len(p))
    return np.array(losses)


def bounded(losses: Array, bound: float) -> Array:
    """min(D, bound)."""
    return np.array([min(loss, bound) for loss in losses])


def adversarial(losses: Array, t: Array, s: Array, agreeing: bool, bound: float) -> Array:
    """-1[argmax s = argmax t] min(D, bound)."""
    values = []
    for loss, mine, other in zip(losses, t, s, strict=True):
        counts = not agreeing or int(np.argmax(mine)) == int(np.argmax(other))
        values.append(-min(loss, bound) if counts else 0.0)
    return np.array(values)


def total_variation(x: Array) -> float:
    """The Frobenius norms of the horizontal, vertical and both diagonal differences of the whole batch."""
    n, channels, height, width = x.shape
    total = 0.0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = 0.0
        for i in range(n):
            for c in range(channels):
                for h in range(height - down):
                    for w in range(max(0, -right), width - max(0, right)):
                        squares += (x[i, c, h + down, w + right] - x[i, c, h, w]) ** 2
        total += math.sqrt(squares)
    return total


def total_variation_l1(x: Array) -> float:
    """The mean absolute horizontal, vertical and diagonal differences (the CMI toolbox)."""
    _, _, height, width = x.shape
    total = 0.0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        found = [
            abs(image[c, h + down, w + right] - image[c, h, w])
            for image in x
            for c in range(len(image))
            for h in range(height - down)
            for w in range(max(0, -right), width - max(0, right))
        ]
        total += sum(found) / len(found)
    return total


def l2(x: Array) -> float:
    """|x| of the whole batch."""
    return math.sqrt(sum(norm(image) ** 2 for image in x))


def l2_of_images(x: Array) -> float:
    """mean_i |x_i|."""
    return sum(norm(image) for image in x) / len(x)


def phi(
    t: Array, targets: Sequence[int], stored: Sequence[int], gamma: float, diversity: bool, difficulty: bool
) -> Array:
    """(1 - share of the buffer in class c) (1 - p_c)^gamma, c the target class of each sample (SSD-KD)."""
    values = []
    for row, wanted in zip(t, targets, strict=True):
        p = softmax(row)[wanted]
        share = sum(one == wanted for one in stored) / len(stored) if stored else 0.0
        values.append((1 - share if diversity else 1.0) * ((1 - p) ** gamma if difficulty else 1.0))
    return np.array(values)


def chances(priorities: Sequence[float], alpha: float, epsilon: float = 1e-6) -> Array:
    """P(i) = (p_i + eps)^alpha / sum_k (p_k + eps)^alpha (prioritized replay)."""
    scores = [(value + epsilon) ** alpha for value in priorities]
    return np.array([score / sum(scores) for score in scores])


def importance(chances_: Array, index: Sequence[int], beta: float) -> Array:
    """w_i = (N P(i))^-beta, divided by the largest of the batch."""
    weights = [(len(chances_) * chances_[i]) ** -beta for i in index]
    return np.array([weight / max(weights) for weight in weights])
