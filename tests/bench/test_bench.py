"""What ``bench`` measures: counts and structure, never a time."""

import importlib
import itertools
import json
from typing import Any

import pytest
import torch

from dfkd_lab import bench
from dfkd_lab.__main__ import main
from dfkd_lab.bench.overhead import Bare, Pair, Stopwatch, in_whole, measure_overhead, shortened, slots
from dfkd_lab.bench.parts import filled, in_turns
from dfkd_lab.cli.bench import tables
from dfkd_lab.engine.recipe import Schedule
from dfkd_lab.errors import SpecError

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = {"batch": 8, "width": 4, "z_dim": 4, "g_steps": 2, "s_steps": 3, "cycles": 2, "capacity": 32}
DIGITS = Pair.of("digits")


class Counted:
    """How often each network of a run was passed, and on how many images."""

    def __init__(self, run: Any):
        self.autocast = {"teacher": 0, "student": 0}
        for asked in {run.teacher, run.observer.folded_teacher}:
            asked.register_forward_hook(lambda *_: self._count("teacher"))
        run.student.register_forward_hook(lambda *_: self._count("student"))

    def _count(self, who: str) -> None:
        self.autocast[who] += 1


@pytest.mark.parametrize(("method", "views"), [("ssd_kd", 0), ("ssd_kd", 2), ("dafl", 0), ("dfad", 0), ("pre_dfkd", 0)])
def test_bare_passes_are_those_of_the_loop_and_no_more(method: str, views: int) -> None:
    run = DIGITS.run(method, SMALL, cache_views=views)
    run.recipe.schedule = shortened(run.recipe.schedule)
    bare = Bare(run)
    counted = Counted(run)
    bare.synthesis_step()
    assert counted.autocast["teacher"] == 1
    looks = any(
        {"student", "maps"} & row.loss.needs for row in run.recipe.losses.values() if hasattr(row.loss, "needs")
    )
    assert counted.autocast["student"] == looks
    bare.student_step()
    assert counted.autocast == {"teacher": 1 + (views == 0), "student": looks + 1}
    gradients = [parameter.grad for parameter in run.student.parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients[-2:])


def test_the_overhead_is_loop_over_bare_with_its_range() -> None:
    row = measure_overhead(DIGITS, "fast", SMALL, 3)
    low, high = row["overhead_range"]
    assert row["n"] == 3
    assert low <= row["overhead"] <= high
    assert row["loop_s"] > 0 < row["bare_s"]
    assert row["student_images_per_s"] == pytest.approx(3 * 8 / row["loop_s"])
    assert {"teacher", "student", "generator", "views", "memory", "synthesis step"} <= set(row["slots_s"])
    assert all(seconds >= 0 for seconds in row["slots_s"].values())


def test_short_turns_go_on_for_the_seconds_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = itertools.count()
    module = importlib.import_module("dfkd_lab.bench.overhead")
    monkeypatch.setattr(module, "_measured", lambda *_: (2.0, 1.0, 1.0))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(moments)))
    assert measure_overhead(DIGITS, "fast", SMALL, 2)["n"] == 2
    assert measure_overhead(DIGITS, "fast", SMALL, 2, 30.0)["n"] > 5


def test_slots_are_those_of_all_steps() -> None:
    run = DIGITS.run("fast", {**SMALL, "s_steps": 8})
    run.advance()
    counted = Counted(run)
    slots(run, run.recipe.schedule)
    steps = run.recipe.schedule.cycles * run.recipe.schedule.s_steps
    assert counted.autocast["student"] >= steps


def test_a_short_round_stands_for_a_whole_one() -> None:
    whole = Schedule(g_steps=5, s_steps=400, batch=8, s_lr=0.1, cycles=3, warm_up=9)
    short = shortened(whole)
    assert (short.g_steps, short.s_steps, short.cycles, short.warm_up) == (5, 20, 1, 0)
    assert in_whole(whole, 2.0, 1.0) == 3 * (5 * 2.0 + 400 * 1.0)


def test_a_stopwatch_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))

    class Owner:
        def outer(self) -> None:
            self.inner()

        def inner(self) -> None: ...

    owner, watch = Owner(), Stopwatch(CPU)
    watch.watch(owner, "outer", "outer")
    watch.watch(owner, "inner", "inner")
    owner.outer()
    assert watch.seconds == {"inner": 3.0, "outer": 7.0}


@pytest.mark.parametrize("kind", ["ImageRing", "PriorityRing", "CachedViews"])
def test_measured_memories_are_full_of_images(kind: str) -> None:
    memory = filled(kind, 64, (3, 8, 8), CPU)
    images = memory.read(32, lambda n: None).images
    assert images.shape == (32, 3, 8, 8)
    assert images.flatten(1).std(1).min() > 0.1
    pixels = sum(each.numel() for each in memory.buffers() if each.dtype == torch.uint8)
    assert pixels == (64 + (16 if kind == "CachedViews" else 0)) * 3 * 8 * 8


def test_turns_go_round() -> None:
    calls: list[str] = []
    found = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, CPU)
    assert calls == ["a", "b"] * 3
    assert set(found) == {"a", "b"}


def test_the_command_prints_tables_and_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench.SIZES, "cpu", SMALL)
    wish = ["--pairs", "convnet_16:convnet_8", "--methods", "dafl", "--repeats", "1", "--images", "300"]
    assert main(["bench", *wish, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found["loops"]] == ["dafl"]
    assert {row["images"] for row in found["memories"]} == {300}
    assert {(row["precision"], row["layout"]) for row in found["precisions"]} == {
        (held, layout) for held in ("fp32", "bf16") for layout in ("contiguous", "channels last")
    }
    assert found["commit"]
    text = tables(found)
    for word in ("overhead", "convnet_16:convnet_8", "Memories", "CropFlip", "channels last", found["commit"][:9]):
        assert word in text


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--pairs", "digit", "pairs = 'digit' is no pair; allowed: digits, or TEACHER:STUDENT"),
        ("--pairs", "resnet20:resnet9", "'resnet9' is not a network; did you mean"),
        ("--methods", "fastt", "did you mean 'fast'?"),
        ("--images", "1000,many", "images = 'many' is not a whole number"),
        ("--repeats", "0", "repeats = 0 is out of range"),
    ],
)
def test_bad_input_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flag: str, value: str, said: str
) -> None:
    monkeypatch.setattr(bench, "measure_overhead", lambda *_, **__: pytest.fail("measured"))
    assert main(["bench", flag, value]) == 2
    assert said in capsys.readouterr().err


def test_a_pair_takes_the_presets_of_its_images() -> None:
    assert Pair.of("wrn40_2:wrn16_1").presets == ("cifar10", "cifar")
    assert DIGITS.is_digits
    with pytest.raises(SpecError):
        Pair.of("wrn40_2")


@pytest.mark.parametrize("given", [True, "True", "yes"])
def test_to_compile_is_understood_as_in_a_run(monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    asked: list[bool] = []

    def measured(*_: Any, compile: bool, **__: Any) -> dict[str, Any]:
        asked.append(compile)
        raise SpecError("enough")

    monkeypatch.setattr(bench, "measure_overhead", measured)
    monkeypatch.setattr("dfkd_lab.engine.compilation.check", lambda requested, device: asked.append(requested))
    with pytest.raises(SpecError, match="enough"):
        bench.measure(bench.BenchSpec(pairs="digits", methods="fast", device="cpu", compile=given))
    assert asked == [True, True]
