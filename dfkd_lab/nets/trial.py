"""Whether a network of a user's own is what a run needs: a few images go through it before anything is begun.

What is refused is refused in one sentence, with what came, what is allowed, and a cure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import outputs, python_file
from dfkd_lab.nets.wrap import Classifier, copied, named_logits
from dfkd_lab.system.faults import THEIRS, reason
from dfkd_lab.system.rng import preserved

SUCH_AS: dict[str, str] = {"classification": "resnet20", "segmentation": "unet_12"}
"""A network of each task, to name one."""


def logits(
    who: str,
    net: nn.Module,
    images: Tensor,
    classes: int | None = None,
    file: Path | None = None,
    task: str = "classification",
) -> Tensor:
    """What ``net`` gives for ``images`` [N, C, H, W], as logits of ``classes`` K (or of any number of them).

    Args:
        who: What the network is called, for a sentence.
        net: Any.
        images: As it takes them, two or more if they shall tell logits from probabilities.
        classes: K.
        file: The Python file that it is from.
        task: Of the network, one of ``outputs.TASKS``.

    Returns:
        [N, K]; for segmentation [N, K, H, W], H and W being those of the images.

    Raises:
        SpecError: if it does not take them, or gives something else.
    """
    wanted = outputs.wanted(task, images, classes)
    output = _output(who, net, images, wanted, file)
    if outputs.task_of_shape(output, images) != task or output.shape[1] != (classes or output.shape[1]):
        cure = outputs.cure_of_shape(output, images, task)
        raise SpecError(f"{who} gives {list(output.shape)} for {len(images)} images; allowed: {wanted}{cure}")
    if not output.is_floating_point() or not output.isfinite().all():
        raise SpecError(f"{who} gives no finite numbers ({output.dtype}); allowed: {wanted}")
    if problem := outputs.no_logits(net, images, output.detach().float()):
        raise SpecError(f"{who} gives {problem}")
    return output


def _output(who: str, net: nn.Module, images: Tensor, wanted: str, file: Path | None) -> Tensor:
    """The tensor that ``net`` gives for ``images``, where ``wanted`` is allowed."""
    try:
        output = named_logits(net(images))
    except THEIRS as error:
        raise SpecError(f"{who} cannot take images {list(images.shape)} ({reason(error, file)})") from None
    if not isinstance(output, Tensor) or output.layout is not torch.strided or output.is_nested:
        cure = "so return them alone, or in a dictionary or object that calls them 'logits'"
        raise SpecError(f"{who} gives {outputs.kind(output)} for images; allowed: {wanted}, {cure}")
    return output


def task_of(name: str, shape: tuple[int, ...], classes: int) -> str:
    """What the network called ``name`` is for; one of a user's own is for what the shape of its output says.

    Args:
        name: As in :func:`dfkd_lab.nets.classifier`.
        shape: Of its images, [C, H, W].
        classes: K.

    Raises:
        SpecError: as :func:`dfkd_lab.nets.classifier` and :func:`task_of_network`.
    """
    if known := nets.task_of(name):
        return known
    who, file = f"'{python_file.short(name)}'", python_file.file_of(name)
    with preserved():
        net = nets.classifier(name, shape[0], classes)
        _set_mode(who, net, False, file)
        return task_of_network(who, net, shape, file)


def task_of_network(who: str, net: nn.Module, shape: tuple[int, ...], file: Path | None = None) -> str:
    """What a network is for, by the shape of its output: [N, K], or [N, K, H, W] with the images' own H and W.

    Args:
        who: What it is called.
        net: In eval mode, on the CPU.
        shape: Of its images, [C, H, W].
        file: The Python file that it is from.

    Raises:
        SpecError: if it does not take such images, or its output is of another shape.
    """
    images = probe(2, shape)
    either = " or ".join(outputs.wanted(task, images, None) for task in outputs.TASKS)
    with preserved(), torch.no_grad():
        output = _output(who, net, images, either, file)
    if (task := outputs.task_of_shape(output, images)) is None:
        ways = (
            f"{outputs.wanted(each, images, None)}{outputs.cure_of_shape(output, images, each)}"
            for each in outputs.TASKS
        )
        raise SpecError(f"{who} gives {list(output.shape)} for {len(images)} images; allowed: {', or '.join(ways)}")
    return task


def examine_teacher(
    who: str,
    model: Classifier,
    shape: tuple[int, ...],
    classes: int,
    file: Path | None = None,
    task: str = "classification",
) -> None:
    """Have images go through a network of a user's own, in eval mode as a run will: two, three, and one.

    Args:
        who: What it is called.
        model: In eval mode, on the CPU.
        shape: Of its images, [C, H, W].
        classes: K.
        file: The Python file that it is from.
        task: What it is for.

    Raises:
        SpecError: if it does not give the same logits for the same images, or the images get no gradient from them.
    """
    images = probe(2, shape)
    with preserved():
        with torch.no_grad():
            before = _sizes(who, model, file)
            first, second = (logits(who, model, images.clone(), classes, file, task) for _ in range(2))
            for n in (3, 1):
                logits(who, model, probe(n, shape), classes, file, task)
        if not torch.allclose(first, second, rtol=1e-3, atol=1e-4 * float(first.abs().max())):
            raise SpecError(
                f"{who} gives other logits for the same images in eval mode; allowed: the same, so leave out what "
                "draws random numbers there (F.dropout without training=self.training) or counts its passes"
            )
        _refuse_other_state(who, before, _sizes(who, model, file))
        images.requires_grad_()
        _refuse_no_gradient(who, logits(who, model, images, classes, file, task), [images], "images", file)


@lru_cache(maxsize=64)
def examine_student(
    name: str, identity: object, shape: tuple[int, ...], classes: int, task: str = "classification"
) -> None:
    """Have two images go through a fresh network called ``name`` in both modes, and learn from them, as a run will.

    One of a user's own is made twice from one seed, for a run that is resumed must not depend on anybody else's random
    numbers, and takes three images and one besides.

    Args:
        name: As in :func:`dfkd_lab.nets.classifier`.
        identity: Of what makes it, see :func:`dfkd_lab.nets.maker`: what was found right is not looked at again.
        shape: Of the images, [C, H, W].
        classes: K.
        task: The teacher's.

    Raises:
        SpecError: if it is for another task, gives no logits of ``classes`` classes, cannot be trained, or is another
            one each time.
    """
    if (known := nets.task_of(name)) not in (task, None):
        raise SpecError(f"'{name}' is a network of {known}; allowed: one of {task}, such as '{SUCH_AS[task]}'")
    is_own = not nets.is_published(name)
    first = _trial(name, shape, classes, task)
    if not is_own:
        return
    second = _trial(name, shape, classes, task)
    if len(first) != len(second) or not all(torch.equal(one, other) for one, other in zip(first, second, strict=True)):
        raise SpecError(f"'{python_file.short(name)}' is not the same twice from one seed; draw random numbers from "
                        "torch alone")  # fmt: skip


def probe(n: int, shape: tuple[int, ...]) -> Tensor:
    """``n`` images [n, C, H, W] in [0, 1], no two alike and none of one color, which a network may divide by."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def _trial(name: str, shape: tuple[int, ...], classes: int, task: str) -> list[Tensor]:
    """What a fresh network is made of, and gives in both modes."""
    is_own = not nets.is_published(name)
    who, file = f"'{python_file.short(name)}'", python_file.file_of(name)
    with preserved():
        torch.default_generator.manual_seed(0)
        net, images = nets.classifier(name, shape[0], classes), torch.randn(2, *shape)
        if is_own:
            _refuse_parameters(who, net)
            net = _copy(who, net, file)
        before = _sizes(who, net, file)
        with torch.no_grad():
            _set_mode(who, net, False, file)
            given = [logits(who, net, images.clone(), classes, file, task)]
            for n in (3, 1) if is_own else ():
                given.append(logits(who, net, torch.randn(n, *shape), classes, file, task))
        _set_mode(who, net, True, file)
        output = logits(f"{who} in train mode", net, images.clone(), classes, file, task)
        parameters = [each for each in net.parameters() if each.requires_grad]
        _refuse_no_gradient(who, output, parameters, "parameters", file)
        _refuse_other_state(who, before, _sizes(who, net, file))
        return [*given, output.detach(), *net.state_dict().values()]


def _refuse_parameters(who: str, net: nn.Module) -> None:
    """A student is trained in 32 bits, from weights that are there."""
    parameters = dict(net.named_parameters())
    if not any(each.requires_grad for each in parameters.values()):
        raise SpecError(f"{who} has no parameters to train; allowed: one that requires a gradient, at least")
    refuse_lazy(who, net)
    for name, each in parameters.items():
        if each.dtype != torch.float32 or each.device.type != "cpu":
            found = f"'{name}' in {each.dtype} on {each.device.type}"
            raise SpecError(f"{who} has {found}; allowed: torch.float32 on cpu, so end with net.float().cpu()")


def refuse_lazy(who: str, net: nn.Module) -> None:
    """Layers that wait for their first images would start with weights that nobody has seen.

    Raises:
        SpecError: naming the first one.
    """
    tensors = [*net.named_parameters(), *net.named_buffers()]
    if waiting := [name for name, each in tensors if torch.nn.parameter.is_lazy(each)]:
        raise SpecError(
            f"{who} has layers that were not initialized yet ('{waiting[0]}'); pass images through it once before, or "
            "give its lazy layers their sizes"
        )


def _copy(who: str, net: nn.Module, file: Path | None) -> nn.Module:
    try:
        made: nn.Module = copied(net)
    except THEIRS as error:
        raise SpecError(f"{who} cannot be copied ({reason(error, file)})") from None
    return made


def _set_mode(who: str, net: nn.Module, training: bool, file: Path | None) -> None:
    try:
        net.train(training)
    except THEIRS as error:
        mode = "train" if training else "eval"
        raise SpecError(f"{who} cannot be set to {mode} mode ({reason(error, file)})") from None


def _sizes(who: str, net: nn.Module, file: Path | None) -> dict[str, Any]:
    """Of everything in the state of a network."""
    try:
        return {name: getattr(value, "shape", None) for name, value in net.state_dict().items()}
    except THEIRS as error:
        raise SpecError(f"{who} has no state that can be saved ({reason(error, file)})") from None


def _refuse_other_state(who: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """What is saved and loaded again are tensors, as large after a pass as before it."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if others := [name for name, size in after.items() if size is None]:
        raise SpecError(f"{who} keeps '{others[0]}' in its state, which is no tensor; allowed: tensors")
    if changed:
        raise SpecError(
            f"{who} changes the size of '{changed[0]}' in its state with every pass; allowed: a state of one size, so "
            "register it with persistent=False or not at all"
        )


def _refuse_no_gradient(who: str, output: Tensor, inputs: Sequence[Tensor], what: str, file: Path | None) -> None:
    try:
        gradients = torch.autograd.grad(output.float().square().sum(), inputs, allow_unused=True)
    except THEIRS as error:
        raise SpecError(f"{who} gives its {what} no gradient ({reason(error, file)})") from None
    if all(each is None for each in gradients):
        raise SpecError(
            f"{who} gives its {what} no gradient; allowed: operations of torch on them, without detach() or no_grad()"
        )
