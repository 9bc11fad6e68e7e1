"""Train a teacher on real images: one short, fixed recipe, in slices that continue bit for bit."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from dfkd_lab import data, nets
from dfkd_lab.engine.optimization import keep_counters_on_host
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.nets.wrap import Classifier, copied
from dfkd_lab.system.device import check_device, device_name, pick_device
from dfkd_lab.system.faults import reason
from dfkd_lab.system.rng import RNGState, preserved
from dfkd_lab.teachers import checkpoints, dense, unfinished
from dfkd_lab.teachers.checkpoints import Card
from dfkd_lab.teachers.recipes import TrainingRecipe, average, deterministic
from dfkd_lab.teachers.tasks import task_of
from dfkd_lab.teachers.teacher_spec import EPOCHS, TeacherSpec

CHECKPOINT_S = 60.0
TIMED = 3
"""Steps, after one that warms up."""
ROOM = 1.25
"""How much longer than it was timed an epoch is taken to last, as a run's step is."""


@dataclass(frozen=True)
class Epoch:
    """What an epoch was like: mean loss in nats, accuracy (or mIoU) of the averaged weights on the held-out split."""

    number: int
    epochs: int
    loss: float
    accuracy: float
    seconds: float
    left_s: float
    metric: str = "accuracy"

    def __str__(self) -> str:
        left = f"{self.left_s / 60:.1f} min left" if self.left_s >= 60 else f"{self.left_s:.0f} s left"
        figures = f"loss {self.loss:.4f}  {self.metric} {self.accuracy:.4f}  {self.seconds:.1f} s"
        return f"epoch {self.number}/{self.epochs}  {figures}  {left}"


def finished(spec: TeacherSpec) -> Card | None:
    """The card of the teacher that this very training has already written; None if there is no file yet.

    Raises:
        SpecError: if the file cannot be written or holds something else, or the network or the data set is unknown.
    """
    if spec.path.suffix != ".safetensors":
        raise SpecError(f"out = '{spec.out}' is no name for a teacher; allowed: FILE.safetensors")
    try:
        if python_file.names_file(spec.net):
            nets.trust(spec.net)  # a person typed it
        nets.check(spec.net)
    except SpecError as error:
        raise SpecError(f"net: {error}") from None
    if spec.data == "none":
        raise SpecError("data = 'none': a teacher learns from real images; choose: " + ", ".join(data.TRAINING_SETS))
    data.check(spec.data)
    spec.check_side()
    check_device(spec.device)
    unfinished.check_place(spec.out, spec.path)
    if not spec.path.exists():
        return None
    card = checkpoints.read(spec.path).card
    if card is None or not card.recipe.startswith(spec.command + ": "):
        other = "a file without a card" if card is None else f"another teacher ({card.recipe[:100]})"
        raise SpecError(f"out: {spec.path} holds {other}; give another --out")
    return card


class TeacherTraining:
    """``for epoch in TeacherTraining(spec)``: a training from where its checkpoint stands to the finished file.

    ``recipe`` is the short one of the data's task unless told otherwise. It ends early, saved, when the minutes of a
    spec that has epochs are over or after ``stop()``; then ``done`` is False. The same spec continues it bit for bit
    (on a GPU: on the same device with the same versions), or does nothing if all is done.

    Raises:
        SpecError: if the spec or its data cannot be used, before anything is trained.
        RunError: if the checkpoint is another training's or cannot be read, or a loss is not a number.
    """

    def __init__(self, spec: TeacherSpec, recipe: TrainingRecipe | None = None):
        self._ends = time.monotonic() + (60 * spec.minutes if spec.minutes and not spec.is_laid_out else math.inf)
        self.done = finished(spec) is not None
        self.spec, self.device = spec, pick_device(spec.device)
        self.stopped, self.gpu = False, self.device.type == "cuda"
        self.card = self._read()
        self.recipe = recipe = recipe or self.task.recipe
        self.batch = min(recipe.batch, len(self.labels))
        self.per_epoch = len(self.labels) // self.batch
        self.epochs = spec.epochs or EPOCHS
        self.rng = RNGState(spec.seed, self.device)
        self.model = self._model()
        keep_counters_on_host(self.model)
        self.averaged = copied(self.model).eval().requires_grad_(False) if recipe.averaging else self.model
        normed = any(isinstance(layer, nn.BatchNorm2d) for layer in self.model.modules())
        self.lr = recipe.lr if normed else recipe.lr_without_norm
        self.optimizer = recipe.optimizer(self.model, self.lr)
        self.step, self.seconds = 0, 0.0
        self.order = torch.arange(len(self.labels), device=self.device)
        self.loss = torch.zeros((), device=self.device)
        if not self._load() and spec.is_laid_out:
            self.epochs = self._epochs_within(60 * spec.minutes)

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.epochs * self.per_epoch

    def __iter__(self) -> Iterator[Epoch]:
        with unfinished.held(self.spec.checkpoint):
            yield from self._epochs()

    def _epochs(self) -> Iterator[Epoch]:
        self._saved = time.monotonic()
        while not self.done and self.step < self.steps:
            epoch = self._advance()
            if saved := self._ending() or time.monotonic() - self._saved > CHECKPOINT_S:
                self._save()
            if epoch:
                yield epoch
            if self._ending() and self.step < self.steps:
                if not saved:  # whoever was given the epoch asked for the end
                    self._save()
                return
        if not self.done:
            self._finish()

    def stop(self) -> None:
        """End after this step, saved, because a person wants it."""
        self.stopped = True
        self.end()

    def end(self) -> None:
        """End after this step, saved, as when the minutes are over."""
        self._ends = 0.0

    def description(self) -> str:
        """What was done, in a line."""
        recipe, how = replace(self.recipe, batch=self.batch), self.recipe.name
        return f"{self.spec.command}: {how} {self.lr:g}, {recipe}, {self.steps} steps, {self.task.variation}"

    def _save(self) -> None:
        unfinished.save(self.spec.checkpoint, self.state_dict())
        self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        values = {name: getattr(self, name) for name in ("step", "seconds", "order", "loss", "epochs")}
        values |= {name: part.state_dict() for name, part in self._parts().items()}
        return {"command": self.spec.command, "data": self.hashes, **values}

    def _parts(self) -> dict[str, Any]:
        """What has a state, by the name it has in a checkpoint."""
        return {"model": self.model, "averaged": self.averaged, "optimizer": self.optimizer, "stream": self.rng}

    def _read(self) -> Card:
        """Both splits onto the device, and what they say of the teacher."""
        shape = (3, self.spec.side, self.spec.side)
        train, held_out = data.training_set(self.spec.data, shape), data.evaluation_set(self.spec.data, shape)
        assert held_out is not None
        self.readings = [each.reading for each in (train, held_out) if each.reading]
        self.hashes = train.hashes()
        self.images, self.labels = train.images.to(self.device), train.labels.to(self.device)
        self.task = task = task_of(self.spec.data, train, held_out, self.device)
        net, facts = python_file.short(self.spec.net), (task.shape, *task.normalization, self.spec.data)
        card = Card(net, task.classes, *facts, class_names=train.class_names, task=task.name)
        if task.name == "segmentation":
            dense.check(card, held_out)
        if nets.task_of(self.spec.net) not in (None, task.name):
            what = f"'{self.spec.net}' is a network of {nets.task_of(self.spec.net)}"
            raise SpecError(f"net: {what}, and data = '{self.spec.data}' is for {task.name}; choose another of them")
        return card

    def _model(self) -> Classifier:
        with self.rng:
            net = nets.classifier(self.spec.net, self.card.shape[0], self.card.classes)
        model = Classifier(net, self.card.mean, self.card.std).to(self.device)
        if self.gpu:
            model.to(memory_format=torch.channels_last)
        try:
            with preserved(), torch.no_grad():
                self.task.loss(model.eval(), self.images[:2], self.labels[:2])
                self.task.loss(copied(model).train(), self.images[: self.batch], self.labels[: self.batch])
        except Exception as error:
            what = f"cannot be trained on batches of {self.batch} images {list(self.card.shape)} ({reason(error)})"
            raise SpecError(f"net: '{self.card.net}' {what}") from None
        if self.task.name == "segmentation":
            who = f"net: on the held-out images '{self.card.net}'"
            dense.check_size(who, model, self.task.evaluate.images, self.card.classes)
        return model

    def _epochs_within(self, seconds: float) -> int:
        """As many as fit by a few timed steps and one timed evaluation; at least one."""
        trial = copied(self.model).train()
        optimizer = self.recipe.optimizer(trial, self.lr)
        took = []
        with preserved():
            for _ in range(1 + TIMED):
                start = time.monotonic()
                loss = self.task.loss(trial, self.images[: self.batch], self.labels[: self.batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
                took.append(time.monotonic() - start)
            start = time.monotonic()
            self.task.evaluate(trial)
        epoch = self.per_epoch * statistics.median(took[1:]) + time.monotonic() - start
        return max(1, min(EPOCHS, int(seconds / (ROOM * epoch))))

    def _load(self) -> bool:
        """Go on from the newest checkpoint that is as it was saved, if there is one."""
        found, damaged = unfinished.load(self.spec.checkpoint, self._take)
        self.said = [f"{damaged}; going on from step {self.step}"] if damaged else []
        return found

    def _take(self, state: dict[str, Any]) -> None:
        """Be where a checkpoint was."""
        unfinished.refuse_another(self.spec.checkpoint, state, self.spec.command, self.hashes)
        step, epochs = state["step"], state["epochs"] if self.spec.is_laid_out else self.epochs
        if not (isinstance(step, int) and 0 <= step <= epochs * self.per_epoch):
            raise ValueError(f"step = {step!r} is none of this training's")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step, self.epochs, self.seconds = step, epochs, float(state["seconds"])
        self.order, self.loss = state["order"].to(self.device), state["loss"].to(self.device)

    def _advance(self) -> Epoch | None:
        """Train to the end of the epoch; None if the training ends before."""
        start = time.monotonic()
        self.model.train()
        with self.rng, deterministic():
            self._step()
            while self.step % self.per_epoch and not self._ending():
                self._step()
        if self.step % self.per_epoch:
            self.seconds += time.monotonic() - start
            return None
        number, loss = self.step // self.per_epoch, self.loss.item() / self.per_epoch
        if not math.isfinite(loss):
            raise RunError(f"epoch {number}: the loss is not a number; this recipe does not suit '{self.spec.net}'")
        accuracy = self.task.evaluate(self.averaged)
        seconds = time.monotonic() - start
        self.seconds += seconds
        left = self.seconds / self.step * (self.steps - self.step)
        return Epoch(number, self.epochs, loss, accuracy, seconds, left, self.task.evaluate.metric)

    def _step(self) -> None:
        rows = self._rows(self.step % self.per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate(self.step, self.steps, self.lr)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.gpu):
            loss = self.task.loss(self.model, self.images[rows], self.labels[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.loss += loss.detach()
        self.step += 1
        if self.recipe.averaging:
            average(self.averaged, self.model, min(self.recipe.averaging, (1 + self.step) / (10 + self.step)))

    def _rows(self, place: int) -> torch.Tensor:
        """The images of the step at ``place`` in its epoch."""
        if place == 0:
            self.loss = torch.zeros((), device=self.device)
        if self.recipe.replacement:
            return torch.randint(0, len(self.labels), (self.batch,), device=self.device)
        if place == 0:
            self.order = torch.randperm(len(self.labels), device=self.device)
        return self.order[place * self.batch : (place + 1) * self.batch]

    def _ending(self) -> bool:
        return time.monotonic() >= self._ends

    def _finish(self) -> None:
        """Write the teacher, then forget the checkpoint."""
        accuracy, n, metric = self.task.evaluate(self.averaged), self.task.n, self.task.evaluate.metric
        precision = "bf16" if self.gpu else "float32"
        measured = f"{metric} {accuracy:.4f} on the {n:,} held-out images after {self.seconds:.0f} s"
        recipe = (
            f"{self.description()}; {measured} in {precision} on {device_name(self.device)}, torch {torch.__version__}"
        )
        self.card = replace(self.card, recipe="; ".join([recipe, *self.readings]))
        checkpoints.save(self.averaged, self.card, self.spec.path)
        unfinished.forget(self.spec.checkpoint)
        self.done = True
