"""What the teaching notebooks call: the runs of a lesson, and one file a lesson with its figure."""

from widgets.lessons import adversary, asking, confidence, forgetting, inversion, own, pixels, small
from widgets.lessons.lesson_runs import run, vary

__all__ = ["adversary", "asking", "confidence", "forgetting", "inversion", "own", "pixels", "run", "small", "vary"]
