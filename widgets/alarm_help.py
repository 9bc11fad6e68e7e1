"""What an alarm means, what is worth a try, and the lesson about it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from widgets import status


@dataclass(frozen=True)
class Help:
    """Of the alarms whose text has ``sign`` in it."""

    sign: str
    meaning: str
    cure: str
    lesson: str
    """A notebook beside the workbench."""


HELP = (
    Help(
        "is exactly 0",
        "A loss of exactly 0 gives no gradient, so nothing follows it any more.",
        "A few rounds, for it may pass. If it stays, look whether its weight is above 0, and whether the networks have "
        "what it measures (batch norms, say).",
        "20_what_a_teacher_remembers",
    ),
    Help(
        "the images cover few classes",
        "The teacher sees a few classes only, so the student learns nothing of the others.",
        "A few rounds, for the first images often are. If it stays, a larger weight of 'balance' (where the method has "
        "none: terms, among its slots, balance=5), or a method that asks for classes (CGDD, CMI, NAYER).",
        "24_asking_for_a_class",
    ),
    Help(
        "the images are all alike",
        "The generator makes one image again and again, which is called mode collapse.",
        "A larger weight of 'bn_gap' or 'balance', a smaller g_lr, or a memory that keeps earlier images.",
        "21_the_adversarial_game",
    ),
    Help(
        "the student guesses",
        "The student is as often right as who guesses, after enough steps to know better.",
        "A smaller s_lr (a tenth), Adam for a student without batch norm, or a look at the images.",
        "22_forgetting_and_replay",
    ),
    Help(
        "the student agrees by chance",
        "The student gives the teacher's class as often as who guesses, after enough steps to know better.",
        "A smaller s_lr (a tenth), Adam for a student without batch norm, or a look at the images.",
        "22_forgetting_and_replay",
    ),
    Help(
        "has not fallen in",
        "A loss of the student is where it was at the start, so it does not learn what that loss asks for.",
        "A smaller s_lr (a tenth), or images on which teacher and student differ: a larger weight of 'gap'.",
        "21_the_adversarial_game",
    ),
    Help(
        "sees one class in most pixels",
        "The images are background, nearly all of them: pixel accuracy stays high, and nothing else is learnt.",
        "A larger weight of 'bn_gap', which asks for the statistics that whole scenes have.",
        "25_every_pixel_a_class",
    ),
    Help(
        "sees a second class in many pixels",
        "One object fills the images, which real scenes do not have.",
        "A larger weight of 'bn_gap' or 'balance'.",
        "25_every_pixel_a_class",
    ),
    Help(
        "sees some classes nowhere",
        "No pixel is of these classes, so the student cannot learn them.",
        "A larger weight of 'balance' (or terms, among the slots, balance=5), more rounds, or a memory of images.",
        "25_every_pixel_a_class",
    ),
)


def find(alarm: str) -> Help | None:
    """What is known of an alarm; None of one that a plug-in raises."""
    return next((each for each in HELP if each.sign in alarm), None)


def html(alarm: str) -> str:
    """The help as a fold-out; empty if there is none."""
    if (known := find(alarm)) is None:
        return ""
    name = known.lesson.replace("_", " ")
    # on a page that Voilà serves there are no other notebooks
    link = escape(name) if status.is_served() else f"<a href='{known.lesson}.ipynb' target='_blank'>{escape(name)}</a>"
    lines = f"{escape(known.meaning)}<br>Worth a try: {escape(known.cure)}<br>Lesson: {link}"
    return f"<details><summary>What it means, and what to try</summary>{lines}</details>"
