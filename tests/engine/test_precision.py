"""bfloat16 where networks compute, 32 bits everywhere else, and the same student within noise."""

import copy
from collections.abc import Callable
from itertools import chain
from types import MappingProxyType
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from dfkd_lab import Session, data, methods, nets, plan, teachers
from dfkd_lab.engine import metrics, precision
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Run
from dfkd_lab.engine.precision import Autocast, channels_last, hold_in_bfloat16
from dfkd_lab.nets.wrap import Frozen, folded
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.spec import build
from dfkd_lab.system.onednn_fusion import FusedConv2d


def run_of(teacher: teachers.Teacher, method: Any, held: str, rounds: int = 2, **more: Any) -> Run:
    composed = ComposedRun.of(
        method,
        teacher.model,
        lambda: teachers.student_of(teacher.card, "convnet_8"),
        shape=teacher.card.shape,
        classes=teacher.card.classes,
        rounds=rounds,
        seed=0,
        precision=held,
    )
    return Run(composed, **more)


@pytest.mark.parametrize(("able", "held"), [("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx2", "fp32")])
def test_auto_takes_what_the_processor_is_made_for(monkeypatch: pytest.MonkeyPatch, able: str, held: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType({able: True}), raising=False)
    assert precision.pick("auto", torch.device("cpu")) == held
    assert precision.pick("fp32", torch.device("cpu")) == "fp32"
    assert plan(method="fast").precision == held


def test_a_gpu_since_ampere_computes_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability, held in (((9, 0), "bf16"), ((7, 5), "fp32")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, it=capability: it)
        assert precision.pick("auto", torch.device("cuda")) == held


@pytest.mark.slow
@pytest.mark.parametrize("held", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["ssd_kd", "cgdd", "pre_dfkd", "spaceshipnet"])
def test_only_the_passes_of_networks_are_halved(
    teacher: teachers.Teacher, tiny: Callable[[str], dict[str, Any]], name: str, held: str
) -> None:
    run = run_of(teacher, build(methods.find(name), tiny(name)), held)
    wanted = torch.bfloat16 if held == "bf16" else torch.float32
    computed: set[torch.dtype] = set()
    owners = [run.teacher, run.student, *run.recipe.modules().values()]
    layers = [layer for owner in owners for layer in owner.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        layer.register_forward_hook(lambda layer, inputs, output: computed.add(output.dtype))
    observed: set[torch.dtype] = set()
    for row in (*run.recipe.losses.values(), *run.recipe.student_losses.values()):
        watch(row, observed)
    for _ in run:
        pass
    assert computed == {wanted}
    assert observed == {torch.float32}
    trained = [each for owner in owners[1:] for each in owner.parameters()]
    assert {each.dtype for each in trained} == {torch.float32}
    frozen = [each for layer in layers if layer in set(run.teacher.modules()) for each in layer.parameters()]
    assert {each.dtype for each in frozen} == {wanted}, "what is never trained is converted once, not in every pass"


def watch(row: Any, observed: set[torch.dtype]) -> None:
    """Note the number types of everything that this term is given and gives."""
    term = row.loss

    def watched(seen: Any) -> Tensor:
        lists = (seen.maps, seen.student_maps, seen.gradients, seen.instance_means, seen.preactivations)
        loss: Tensor = term(seen)
        alone = filter(torch.is_tensor, (seen.student, seen.features))
        observed.update(each.dtype for each in (seen.images, seen.logits, loss, *alone, *chain(*lists)))
        return loss

    watched.needs = getattr(term, "needs", frozenset())  # type: ignore[attr-defined]
    for event in ("bind", "commit", "step"):
        if hasattr(term, event):
            setattr(watched, event, getattr(term, event))
    object.__setattr__(row, "loss", watched)


@pytest.mark.long
def test_a_student_is_as_good_in_bfloat16(teacher: teachers.Teacher, held_out: data.Split) -> None:
    preset = {key: value for key, value in methods.find("fast").presets["digits"].items() if key != "rounds"}
    method = build(methods.find("fast"), {**preset, "warm_up": 2, "s_steps": 60, "batch": 64})
    evaluate = metrics.Accuracy(held_out.images, held_out.labels)
    runs = {held: run_of(teacher, method, held, rounds=7, evaluate=evaluate) for held in ("fp32", "bf16")}
    last = {held: [report.accuracy for report in run][-1] or 0.0 for held, run in runs.items()}
    assert last["fp32"] > 0.7, last
    assert last["bf16"] == pytest.approx(last["fp32"], abs=0.12), last


def test_filters_are_laid_out_with_channels_last(teacher: teachers.Teacher) -> None:
    run = run_of(teacher, build(methods.find("fast"), {"capacity": 20, "batch": 4}), "fp32")
    owners = (run.teacher, run.student, run.recipe.synthesizer)
    filters = [each for owner in owners for each in owner.parameters() if each.ndim == 4]
    assert len(filters) == 3 + 3 + 2 * 3  # a generator and its clone
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in filters)
    assert run.recipe.memory.images.is_contiguous()  # type: ignore[attr-defined]


def test_maps_of_images_with_one_channel_are_laid_out_too() -> None:
    layer = nn.Conv2d(1, 4, 3)
    channels_last(layer)
    assert layer(torch.ones(2, 1, 8, 8)).is_contiguous(memory_format=torch.channels_last)


def test_optimizers_hold_the_parameters_that_were_laid_out() -> None:
    layer = nn.Conv2d(4, 4, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.detach().clone()
    channels_last(layer)
    layer(torch.ones(1, 4, 4, 4)).sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def test_passes_can_be_entered_inside_passes() -> None:
    autocast, layer = Autocast(torch.device("cpu"), "bf16"), nn.Linear(2, 2)
    with autocast:
        with autocast:
            assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    assert layer(torch.ones(1, 2)).dtype == torch.float32


def test_a_run_that_is_older_than_the_setting_goes_on_in_32_bits(
    tmp_path: Any, tiny: Callable[[str], dict[str, Any]]
) -> None:
    spec = plan(method="fast", settings=tiny("fast"), rounds=2, precision="fp32", out=str(tmp_path / "run"))
    session = Session(spec)
    next(iter(session))
    file = tmp_path / "run" / "spec.yaml"
    recorded = yaml.safe_load(file.read_text())
    assert recorded.pop("precision") == "fp32"
    file.write_text(yaml.safe_dump(recorded))
    assert RunFolder(tmp_path / "run").spec().precision == "fp32"


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_optimizers_know_the_layout(optimizer: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 6, 3) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    channels_last(layers[1])
    steps = [
        optimizer(layer.parameters(), lr=0.01, foreach=foreach)  # type: ignore[call-arg]
        for layer, foreach in zip(layers, (False, True), strict=True)
    ]
    for _ in range(3):
        images = torch.randn(2, 4, 5, 5)
        for layer, step in zip(layers, steps, strict=True):
            step.zero_grad()
            (layer(images) ** 2).sum().backward()
            step.step()
    torch.testing.assert_close(layers[0].weight, layers[1].weight, rtol=1e-4, atol=1e-5)


def test_a_frozen_network_held_in_half_precision_has_the_bits_of_one_that_is_converted_each_time() -> None:
    torch.manual_seed(0)
    net, images = nets.classifier("resnet8", 3, 10), torch.rand(4, 3, 32, 32)
    converted, held = (Frozen(copy.deepcopy(net), [0.5] * 3, [0.25] * 3) for _ in range(2))
    halved = Autocast(torch.device("cpu"), "bf16")
    hold_in_bfloat16(held, images, halved)
    assert held.net.conv1.weight.dtype == torch.bfloat16
    grads = []
    for network in (converted, held):
        shown = images.clone().requires_grad_()
        with halved:
            network(shown).float().logsumexp(1).sum().backward()
        assert shown.grad is not None
        grads.append(shown.grad)
    assert torch.equal(*grads)


def test_a_frozen_network_that_leaves_autocast_inside_stays_as_it_is() -> None:
    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 10, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", enabled=False):
                return self.conv(x.float()).mean((2, 3))

    network = Frozen(Strict(), [0.5] * 3, [0.25] * 3)
    before = copy.deepcopy(network.state_dict())
    hold_in_bfloat16(network, torch.rand(2, 3, 8, 8), Autocast(torch.device("cpu"), "bf16"))
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)


@pytest.mark.parametrize("held", ["fp32", "bf16"])
def test_a_folded_teacher_on_a_cpu_does_in_one_pass_what_follows_a_convolution(held: str) -> None:
    teacher = Frozen(nets.classifier("resnet8", 3, 10), [0.5] * 3, [0.25] * 3)
    network, images = folded(teacher, (3, 16, 16)), torch.rand(4, 3, 16, 16)
    autocast = Autocast(torch.device("cpu"), held)
    autocast.prepare(network, (3, 16, 16))
    autocast.fuse(network, (3, 16, 16))
    assert any(isinstance(layer, FusedConv2d) for layer in network.modules())
    with torch.no_grad(), autocast:
        logits = network(images).float()
    apart = precision.ROUNDING[held] * float(logits.abs().max())
    torch.testing.assert_close(logits, teacher(images), rtol=0, atol=apart)


@pytest.mark.parametrize("fault", [RuntimeError, AttributeError, TypeError, None])
def test_where_that_does_not_work_the_teacher_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception] | None
) -> None:
    def forward(self: nn.Module, input: Tensor, summand: Tensor | None = None) -> Tensor:
        if fault is None:  # it works, and is wrong
            return nn.Conv2d.forward(self, input)  # type: ignore[arg-type]
        raise fault

    monkeypatch.setattr(FusedConv2d, "forward", forward)
    network = folded(Frozen(nets.classifier("resnet8", 3, 10), [0.5] * 3, [0.25] * 3), (3, 16, 16))
    before = network.net
    Autocast(torch.device("cpu"), "fp32").fuse(network, (3, 16, 16))
    assert network.net is before


@pytest.mark.parametrize("compile", [False, True])
def test_a_run_that_is_not_compiled_asks_such_a_teacher(teacher: teachers.Teacher, compile: bool) -> None:
    run = run_of(teacher, methods.METHODS["fast"](), "fp32", compile=compile)
    layers = [type(layer) for layer in run.observer.folded_teacher.modules()]
    assert (FusedConv2d in layers) is not compile
