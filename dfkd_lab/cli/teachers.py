"""The commands about teachers: ``teachers`` and ``train-teacher``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import takewhile

from dfkd_lab import teachers
from dfkd_lab.cli.flags import first_interrupt, read, show_help
from dfkd_lab.errors import SpecError
from dfkd_lab.spec import build, record, setting
from dfkd_lab.system.signals import CALL_AGAIN, terminating_at
from dfkd_lab.system.text import printable


@dataclass(frozen=True)
class Measured:
    """Teachers as cards: what they are, and how right and how sure they are on an evaluation set."""

    normalization: str = setting("auto", "input normalization; auto: as the checkpoint or the data set says")
    data: str = setting("auto", "evaluation set; auto takes what the teacher was trained on, if known")


def show(arguments: list[str]) -> None:
    """The teachers at hand, measured now; or those given by name or file, before the flags."""
    if not {"-h", "--help"}.isdisjoint(arguments):
        show_help(Measured, "teachers [FILE...]")
    names = list(takewhile(lambda word: not word.startswith("-"), arguments))
    request = read(Measured, arguments[len(names) :], "teachers")
    for name in names or teachers.BUILT_IN:
        built_in = teachers.BUILT_IN.get(name)
        if not names and name != "digits" and built_in and not built_in.path.exists():
            print(f"{'name':18} {name}, which is trained when it is first used (teachers {name}: now)")
            continue
        _print_teacher(name, request.normalization, "" if request.data == "auto" else request.data)


def _print_teacher(name: str, normalization: str, evaluation: str) -> None:
    teacher = teachers.load(name, normalization, evaluation)
    known = evaluation or teacher.data_at_hand
    try:
        calibration, reading = teachers.examine_on(teacher, known)
        measured = "not measured"
        if calibration:
            figure = calibration.words() if teacher.card.task == "segmentation" else f"{calibration.accuracy:.4f}"
            measured = f"{figure} on the held-out {known}"
        if calibration is None and not evaluation and teacher.card.data:
            measured += f"; the file names {teacher.card.data}: to measure it there, add --data {teacher.card.data}"
    except SpecError as error:
        if evaluation:
            raise
        calibration, reading, measured = None, "", f"not measured: {error}"
    images = {"images": reading} if reading else {}
    for key, value in {**teacher.describe(calibration), "accuracy": measured, **images, "file": teacher.path}.items():
        print(printable(f"{key:18} {value}"))


def train(arguments: list[str]) -> None:
    """A teacher by the fixed recipe. The first interrupt saves it, the second ends at once."""
    from dfkd_lab.teachers.teacher_spec import TeacherSpec
    from dfkd_lab.teachers.training import TeacherTraining, finished

    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        raise SpecError("train-teacher takes a network, as in: train-teacher convnet_32 --data cifar10")
    if not {"-h", "--help"}.isdisjoint(arguments):
        show_help(TeacherSpec, "train-teacher")
    flags = read(TeacherSpec, ["--net", *arguments], "train-teacher")
    spec = build(TeacherSpec, record(flags))
    if card := finished(spec):
        print(printable(f"{spec.path} is finished: {card.recipe}"))
        return
    training = TeacherTraining(spec)
    for sentence in (*training.readings, *training.said):
        print(printable(sentence), flush=True)
    sentence = "stopping after this step; interrupt again to stop at once"
    with contextlib.suppress(SystemExit), first_interrupt(training.stop, sentence), terminating_at(training.end):
        for epoch in training:
            print(epoch, flush=True)
    if training.done:
        print(f"teacher {spec.path}: {training.card.recipe}")
        return
    print(f"{training.step} of {training.steps} steps are saved in {spec.checkpoint}; run the same command again")
    raise SystemExit(130 if training.stopped else CALL_AGAIN)
