"""The baseline of the speed figures: it trains what FastDFKD trains, and is compared as the results say."""

import importlib
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import METHODS, data, plan, teachers
from dfkd_lab.engine import metrics
from dfkd_lab.errors import SpecError
from dfkd_lab.methods.fast import FastDFKD
from dfkd_lab.primitives import losses
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.system.rng import RNGState

pytestmark = pytest.mark.slow

SMALL = {"batch": 32, "width": 16, "z_dim": 64, "g_steps": 5, "s_steps": 40, "warm_up": 2, "capacity": 4352}


@pytest.fixture
def benchmark() -> Callable[[str], ModuleType]:
    return importlib.import_module


@pytest.fixture
def make_loop(benchmark: Callable[[str], ModuleType], tiny: Callable[[str], dict[str, Any]]) -> Callable[..., Any]:
    """``make_loop(seed=0, workers=0, ...)``: the reference on the digits teacher; tiny, or with the settings given."""

    def make(seed: int = 0, workers: int = 0, rounds: int = 3, **settings: Any) -> Any:
        spec = plan(method="fast", rounds=rounds, settings={**tiny("fast"), **settings})
        teacher = teachers.load("digits")
        with RNGState(seed, torch.device("cpu")):
            student = teachers.student_of(teacher.card, "convnet_8")
        shape, classes = teacher.card.shape, teacher.card.classes
        method = METHODS["fast"](**spec.settings)
        return benchmark("reference_loop").ReferenceLoop(
            method, teacher.model, student, shape=shape, classes=classes, rounds=rounds, seed=seed, workers=workers
        )

    return make


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_student_learns(make_loop: Callable[..., Any], held_out: data.Split) -> None:
    loop = make_loop(rounds=8, **SMALL)
    before = weights(loop.generator)
    for _ in range(8):
        loop.advance()
    assert metrics.Accuracy(held_out.images, held_out.labels)(loop.student) > 0.5
    assert sum(loop.losses[-5:]) < 0.5 * sum(loop.losses[:5])
    assert loop.student_images == 6 * 40 * 32
    assert len(loop.images) == 8 * 32
    assert all(seconds > 0 for seconds in loop.seconds.values())
    assert not torch.equal(before, weights(loop.generator))
    assert loop.s_optimizer.param_groups[0]["lr"] == pytest.approx(loop.method.s_lr / 1000)


def test_its_losses_are_our_terms(
    make_loop: Callable[..., Any], benchmark: Callable[[str], ModuleType], held_out: data.Split
) -> None:
    loop = make_loop(warm_up=0)
    observer = Observer(loop.teacher, loop.student)
    bn_gap = losses.BatchNormGap(observer.batch_norms, loop.method.bn_momentum)
    gap = losses.adversarial(losses.kl(), agreeing=True)
    labels = held_out.labels[:50].flip(0)
    loop.student.eval()
    for images in held_out.images[:150].split(50):  # not blended, blended with one batch, then with an average
        found = loop.synthesis_losses(images, labels)
        seen = observer(images, labels, frozenset({"student", "statistics"}), graph=True)
        expected = {"label": losses.label(seen).mean(), "bn_gap": bn_gap(seen), "gap": gap(seen).mean()}
        assert expected["gap"] < 0
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, msg=partial("{}: {}".format, name))
        bn_gap.commit(Batch(images))
        for hook in loop.hooks:
            hook.update()
    theirs = benchmark("reference_loop").kl(seen.student, seen.logits, 4.0)
    torch.testing.assert_close(theirs, losses.kl(4.0)(seen))


def test_it_synthesizes_what_our_loop_does(make_loop: Callable[..., Any], make_run: Callable[..., Any]) -> None:
    settings = {"warm_up": 3, "padding": 0, "flip": False, "capacity": 64}
    loop, run = make_loop(rounds=4, **settings), make_run("fast", rounds=4, **settings)
    loop.generator.load_state_dict(run.recipe.synthesizer.net.state_dict())
    loop.rng.load_state_dict(run.rng.state_dict())
    for _ in range(3):
        loop.advance()
        run.advance()
    difference = torch.stack(loop.images).int() - run.recipe.memory.images[:48].int()
    assert difference.abs().max() <= 1  # the last digit; later rounds are the generator's that the earlier ones moved


def test_it_keeps_the_images_of_the_lowest_loss(make_loop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop(g_steps=3, padding=0)
    shown: list[Tensor] = []

    def losses(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        shown.append(images.detach().clone())
        return {**measured(images, labels), "label": images.mean() + (9e3, 0, 5e3)[len(shown) - 1]}

    measured = loop.synthesis_losses
    monkeypatch.setattr(loop, "synthesis_losses", losses)
    kept = loop._synthesize()
    assert [torch.equal(kept, images) for images in shown] == [False, True, False]


def test_a_seed_repeats_and_another_does_not(make_loop: Callable[..., Any], ambient: Callable[[int], None]) -> None:
    loops = []
    for noise, seed in enumerate((0, 0, 1)):
        ambient(noise)
        loops.append(make_loop(seed))
        for _ in range(3):
            loops[-1].advance()
    first, again, other = loops
    assert first.losses == again.losses
    assert torch.equal(weights(first.student), weights(again.student))
    assert not torch.equal(torch.stack(first.images), torch.stack(other.images))


def test_the_student_rests_during_warm_up_and_is_not_asked(make_loop: Callable[..., Any]) -> None:
    loop = make_loop(warm_up=2)
    before = weights(loop.student)
    assert "gap" not in loop.synthesis_losses(torch.rand(4, 1, 16, 16), torch.arange(4))
    loop.advance()
    assert torch.equal(before, weights(loop.student))
    assert (loop.student_images, loop.seconds["distillation"]) == (0, 0)
    assert "gap" in loop.synthesis_losses(torch.rand(4, 1, 16, 16), torch.arange(4))
    loop.advance()
    loop.advance()
    assert not torch.equal(before, weights(loop.student))


def test_the_buffer_keeps_the_newest(make_loop: Callable[..., Any]) -> None:
    loop = make_loop(capacity=40)
    rounds = []
    for _ in range(3):
        loop.advance()
        rounds.append(list(loop.images[-16:]))
    assert len(loop.images) == 40
    assert all(a is b for a, b in zip(loop.images, [*rounds[0][8:], *rounds[1], *rounds[2]], strict=True))


# Python 3.12 warns of any fork while threads run, which DataLoader's are.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_batches_are_legal_with_and_without_workers(make_loop: Callable[..., Any]) -> None:
    for workers in (0, 2):
        loop = make_loop(workers=workers, padding=1, flip=True, s_steps=4)
        loop.images = list(torch.full((5, 1, 16, 16), 255, dtype=torch.uint8))
        batches = list(loop._loader())
        assert [tuple(batch.shape) for batch in batches] == [(16, 1, 16, 16)] * 4
        assert all(batch.dtype == torch.float32 for batch in batches)
        crops = torch.cat(batches)
        assert set(crops.unique().tolist()) == {0.0, 1.0}  # white, with black where the padding came in
        assert len(crops.unique(dim=0)) > 3
        loop.advance()
        loop.advance()
        assert loop.student_images == 4 * 16


def test_only_fomaml_is_written(make_loop: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match=r"meta = 'reptile' .*allowed: 'fomaml'"):
        make_loop(meta="reptile")


@pytest.fixture
def versus(
    benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digits_cache: Path
) -> ModuleType:
    """The comparison on a pair that takes seconds, writing below ``tmp_path``."""
    module = benchmark("versus")
    settings = {**SMALL, "s_steps": 5, "rounds": 3, "warm_up": 1}
    monkeypatch.setattr(module, "RESULTS", tmp_path / "versus.json")
    monkeypatch.setattr(module, "PAIRS", {"tiny": replace(module.PAIRS["digits"], settings=settings)})
    monkeypatch.setattr(module, "VARIANTS", {"loop": {}, "no flip, narrow": {"width": 4}})
    monkeypatch.setattr(module, "WORKERS", (0,))
    monkeypatch.setattr(module, "LOOP", [])
    monkeypatch.setattr(module, "render", lambda: None)
    return module


def test_the_references_threads_wait_as_openmp_does_by_itself_and_ours_as_we_say(versus: ModuleType) -> None:
    ours = os.environ["GOMP_SPINCOUNT"]
    with versus.process_of_its_own() as field:
        assert field.submit(os.getenv, "GOMP_SPINCOUNT").result() == "300000" != ours
    assert os.environ["GOMP_SPINCOUNT"] == ours


@pytest.mark.long
def test_versus_records_what_it_measured(
    versus: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versus.main(("tiny",), ("loop",), (0, 1))
    assert not versus.LOOP, "the reference has a process of its own"
    row = json.loads(versus.RESULTS.read_text())["tiny, loop"]
    assert (row["pair"], row["variant"], row["n"]) == ("tiny", "loop", 2)
    for run in row["runs"]:
        assert run["student_images"] == run["reference_student_images"] == 2 * 5 * 32
        assert run["ratio"] == pytest.approx(run["reference_seconds"] / run["seconds"])
        assert run["distillation_ratio"] == pytest.approx(run["reference_distillation_s"] / run["distillation_s"])
        assert len(run["round_s"]) == len(run["reference_round_s"]) == 3
        assert sum(run["round_s"]) > run["distillation_s"]
        assert run["cpu_s"] > 0
        assert run["reference_cpu_s"] > 0
        assert 0 < run["accuracy"] <= 1
        assert 0 < run["reference_accuracy"] <= 1
        assert run["workers"] == 0
        assert run["images_per_s_by_workers"]["0"] > 0
        assert {"versions", "commit", "device", "threads"} <= run.keys()
        assert run["evaluation"] == {"name": "digits", "n": 450}
    ratios = [run["ratio"] for run in row["runs"]]
    assert row["ratio"]["mean"] == pytest.approx(sum(ratios) / 2)
    assert row["ratio"]["standard_deviation"] is not None
    assert f"| tiny | loop | 2 | {row['accuracy']['mean']:.3f} ± " in capsys.readouterr().out
    monkeypatch.setattr(versus, "measure", lambda *rest: pytest.fail("it has been measured"))
    versus.main(("tiny",), ("loop",), (0, 1))


def test_a_variant_changes_our_loop_alone(versus: ModuleType) -> None:
    versus.main(("tiny",), ("no flip, narrow",), (0,))
    (run,) = json.loads(versus.RESULTS.read_text())["tiny, no flip, narrow"]["runs"]
    assert run["spec"]["settings"]["width"] == 4
    assert run["reference_student_images"] == 2 * 5 * 32
    assert versus.reference_of(versus.PAIRS["tiny"], 0, 0).generator.width == SMALL["width"]


def test_both_begin_with_the_same_student(versus: ModuleType, make_run: Callable[..., Any]) -> None:
    assert torch.equal(
        weights(versus.reference_of(versus.PAIRS["tiny"], 3, 0).student), weights(make_run("fast", seed=3).student)
    )


def test_the_faster_number_of_workers_is_used(versus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(versus, "begin", lambda pair, seed, workers, threads: asked.append(workers) or 1 / 0)
    with ThreadPoolExecutor(1) as here, pytest.raises(ZeroDivisionError):
        versus.measure(versus.PAIRS["tiny"], [{}], 0, {0: 100.0, 2: 120.0}, here)
    assert asked == [2]


def test_variants_are_trained_beside_one_reference(versus: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    for name in ("next_round", "advance"):
        call = getattr(versus, name)
        monkeypatch.setattr(versus, name, lambda *rest, call=call, name=name: [call(*rest), turns.append(name)][0])
    with ThreadPoolExecutor(1) as here:
        rows = versus.measure(versus.PAIRS["tiny"], [{}, {"cache_views": 2}], 0, {0: 100.0}, here)
    assert turns == ["next_round", "next_round", "advance"] * 3
    assert rows[0]["reference_seconds"] == rows[1]["reference_seconds"]
    assert [row["spec"]["cache_views"] for row in rows] == [0, 2]


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [({"pairs": ("tiy",)}, "pairs: .*did you mean 'tiny'"), ({"variants": ("lop",)}, "variants: .*mean 'loop'")],
)
def test_a_misspelt_wish_is_a_sentence(
    versus: ModuleType, wish: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        versus.main(**{"pairs": ("tiny",), **wish})
    assert refused.value.code == 2
    assert re.search(sentence, capsys.readouterr().err)


@pytest.mark.data
def test_the_cifar_pair_is_the_small_budget_of_the_results(benchmark: Callable[[str], ModuleType]) -> None:
    module = benchmark("versus")
    pair = module.PAIRS["resnet20:resnet8"]
    if not Path(pair.teacher).is_file():
        pytest.skip("needs $DFKD_DATA")
    spec = module.spec_of(pair, 0, {})
    wishes = benchmark("cifar").BUDGETS["cpu"]["fast"]
    assert {name: spec.settings[name] for name in wishes if name != "rounds"} == {
        name: value for name, value in wishes.items() if name != "rounds"
    }
    assert isinstance(module.reference_of(pair, 0, 0).method, FastDFKD)
