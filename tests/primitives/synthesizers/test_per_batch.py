"""Phases begin with what is new in them, keep what is not, and train exactly what they say."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dfkd_lab.errors import RecipeError
from dfkd_lab.methods.nayer import NAYER, table
from dfkd_lab.nets import Generator
from dfkd_lab.nets.initialization import dcgan_init, reset_parameters
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers import (
    NoiseCode,
    NoisyLabels,
    PerBatchGenerator,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def seen_of(batch: Batch) -> Observation:
    return Observation(batch.images, batch.images.flatten(1)[:, :3])


def objective(images: Tensor) -> Tensor:
    return ((images - 0.7) ** 2).mean() + images[:, :, 0].mean()


def synthesizer(code: nn.Module, n: int = 8, **settings: Any) -> PerBatchGenerator:
    return PerBatchGenerator(Generator(4, (1, 8, 8), 4), code, n, 3, lr=0.05, **settings)  # type: ignore[arg-type]


def phase(source: PerBatchGenerator, steps: int = 3) -> tuple[Batch, list[float]]:
    """One phase: the kept batch and the losses on the way."""
    source.open()
    losses = []
    for _ in range(steps):
        rendered = source.render()
        loss = objective(rendered.images)
        losses.append(float(loss.detach()))
        source.step(loss, seen_of(rendered))
    return source.close(), losses


def noisy(**table_of: Any) -> NoisyLabels:
    return NoisyLabels(torch.randn(3, 5, **table_of), 4)


CODES = {"noise": lambda: NoiseCode(4), "trained noise": lambda: NoiseCode(4, 0.1), "noisy labels": noisy}

every_code = pytest.mark.parametrize("code", CODES.values(), ids=CODES.keys())


@every_code
def test_the_images_with_the_lowest_loss_are_kept_with_their_labels(code: Any) -> None:
    kept, losses = phase(synthesizer(code()), 6)
    assert min(losses) < losses[0]
    assert float(objective(kept.images)) == pytest.approx(min(losses), rel=1e-5)
    assert kept.images.shape == (8, 1, 8, 8)
    assert kept.labels.bincount(minlength=3).min() >= 2
    assert kept.codes.shape == (8, 4)
    assert not kept.images.requires_grad
    assert not kept.codes.requires_grad


@every_code
def test_the_phases_adam_trains_net_and_code_and_is_new_in_the_next(code: Any) -> None:
    source = synthesizer(code())
    source.open()
    adam, trained = source.optimizer, [each for group in source.code.parameter_groups() for each in group["params"]]
    before = [each.detach().clone() for each in (*source.net.parameters(), *trained)]
    for _ in range(2):
        rendered = source.render()
        source.step(objective(rendered.images), seen_of(rendered))
    after = [*source.net.parameters(), *trained]
    moved = [not torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    still = [place for place, each in enumerate(moved) if not each]
    assert not [place for place in still if after[place].grad.abs().sum() > 0]
    assert sum(moved) > 0.8 * len(moved)
    source.close()
    source.open()
    assert source.optimizer is not adam
    assert not source.optimizer.state


def test_noise_is_new_each_phase_and_moves_only_with_a_rate() -> None:
    for lr, moves in ((0.0, False), (0.1, True)):
        code, labels = NoiseCode(4, lr), torch.zeros(6, dtype=torch.long)
        code.open(labels)
        first = code().detach().clone()
        code.open(labels)
        assert not torch.equal(code(), first)
        source = synthesizer(code)
        source.open()
        before = code().detach().clone()
        rendered = source.render()
        source.step(objective(rendered.images), seen_of(rendered))
        assert torch.equal(code(), before) is not moves


@every_code
def test_new_images_can_be_drawn_between_phases_of_any_number(code: Any) -> None:
    source = synthesizer(code())
    phase(source)
    one, other = source.sample(7), source.sample(7)
    assert one.images.shape == (7, 1, 8, 8)
    assert one.labels.shape == (7,)
    assert not one.images.requires_grad
    assert not torch.equal(one.images, other.images)
    assert phase(source)[0].images.shape == (8, 1, 8, 8)


# noisy layers


def test_the_noisy_code_is_the_one_written_out() -> None:
    code, labels = noisy(), torch.tensor([0, 1, 2, 0, 1, 2, 1, 0])
    code.open(labels)
    rows = code.table[labels].double()
    rows = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
    with torch.no_grad():
        code.biases.normal_()
        code.norm.weight.normal_()
        code.norm.bias.normal_()
    rows = rows * code.norm.weight + code.norm.bias
    found = code()
    for i in range(8):
        wanted = code.weights[i // 3].double() @ rows[i] + code.biases[i // 3]
        assert found[i].tolist() == pytest.approx(wanted.tolist(), rel=1e-4, abs=1e-4)


def test_noisy_layers_are_new_each_phase_one_for_every_k_images() -> None:
    code = NoisyLabels(torch.randn(10, 100), 50)
    for n, layers in ((20, 2), (21, 3), (9, 1)):
        code.open(torch.arange(n) % 10)
        assert code.weights.shape == (layers, 50, 100)
        assert code.biases.shape == (layers, 50)
        assert code.biases.abs().sum() == 0
        assert float(code.weights.detach().mean()) == pytest.approx(0, abs=0.05)
        assert float(code.weights.detach().std()) == pytest.approx(1, abs=0.05)
    code.open(torch.arange(20) % 10)
    first = code.weights.detach().clone()
    codes = code().detach()
    assert not torch.allclose(codes[0], codes[10])  # the same class through another layer
    code.open(torch.arange(20) % 10)
    assert not torch.equal(code.weights, first)


def test_layers_and_norm_are_trained_and_images_of_one_class_in_one_group_have_the_same_code() -> None:
    code = noisy()
    code.open(torch.tensor([0, 1, 1]))
    (group,) = code.parameter_groups()
    assert {*map(id, group["params"])} == {*map(id, (code.norm.weight, code.norm.bias, code.weights, code.biases))}
    codes = code()
    assert torch.equal(codes[1], codes[2])
    assert not torch.equal(codes[0], codes[1])


def test_the_table_is_fixed_while_the_rest_learns_and_is_kept_in_the_state() -> None:
    code = noisy()
    source, before = synthesizer(code, life=1, reset=reset_parameters), code.table.clone()
    for _ in range(3):
        phase(source)
    assert torch.equal(code.table, before)
    assert not code.table.requires_grad
    assert {"code.table", "code.norm.weight", "code.norm.running_mean"} <= source.state_dict().keys()
    assert not [name for name in source.state_dict() if "weights" in name or "biases" in name]


# the clock


def renewals(source: PerBatchGenerator, phases: int) -> list[int]:
    """The phases that begin with a new generator."""
    found: list[int] = []
    reset = source.reset
    source.reset = lambda net: (found.append(int(source.phases)), reset(net))[1]
    for _ in range(phases):
        source.open()
    return found


@pytest.mark.parametrize(
    ("life", "restart", "wanted"),
    [(0, 0, []), (1, 0, [1, 2, 3, 4, 5, 6, 7]), (3, 0, [3, 6]), (3, 4, [3, 4, 7]), (3, 3, [3, 6]), (5, 2, [2, 7])],
)
def test_the_generator_is_made_new_when_its_time_is_over(life: int, restart: int, wanted: list[int]) -> None:
    assert renewals(synthesizer(NoiseCode(4), life=life, restart=restart), 8) == wanted


def test_the_clock_goes_on_after_a_resume() -> None:
    source = synthesizer(NoiseCode(4), life=3)
    renewals(source, 2)
    resumed = synthesizer(NoiseCode(4), life=3)
    resumed.load_state_dict(copy.deepcopy(source.state_dict()))
    assert renewals(resumed, 3) == [3]


def test_a_new_generator_forgets_everything_of_the_old_one() -> None:
    code = noisy()
    source = synthesizer(code, life=2, reset=reset_parameters)
    phase(source)
    before = copy.deepcopy(source.state_dict())
    source.open()
    weights = {name for name, _ in source.named_parameters()}
    assert all(torch.equal(each, before[name]) for name, each in source.named_parameters())
    source.open()
    now = source.state_dict()
    layers = {name for name in weights if "body.0" not in name and now[name].dim() > 1}
    assert layers
    assert not [name for name in layers if torch.equal(now[name], before[name])]
    net: Any = source.net
    for norm in (code.norm, net.body[0]):
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert norm.running_mean.abs().sum() == 0
        assert int(norm.num_batches_tracked) == 0


def test_cmis_generator_starts_from_small_weights_also_the_first_time() -> None:
    net: Any = PerBatchGenerator(Generator(40, (1, 8, 8), 16), NoiseCode(40), 4, 3, lr=0.01, life=1).net
    for again in range(2):
        for layer in net.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.15)
            if isinstance(layer, nn.BatchNorm2d):
                assert float(layer.weight.detach().mean()) == pytest.approx(1, abs=0.02)
                assert 0.01 < float(layer.weight.detach().std()) < 0.03
            if isinstance(layer, (nn.Linear, nn.Conv2d, nn.BatchNorm2d)):
                assert layer.bias.abs().sum() == 0
        if not again:
            net(torch.randn(4, 40))
            dcgan_init(net)
            assert net.body[0].running_mean.abs().sum() == 0


def test_a_generator_that_lives_for_ever_is_left_as_it_was_given() -> None:
    net = Generator(4, (1, 8, 8), 4)
    before = copy.deepcopy(net.state_dict())
    source = PerBatchGenerator(net, NoiseCode(4), 4, 3, lr=0.01)
    source.open()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# the table of embeddings


def test_the_random_table_is_the_same_whatever_the_runs_seed_and_draws_nothing_from_it() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = table("", 10)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(table("", 10), first)
    assert first.shape == (10, 512)
    assert torch.linalg.matrix_rank(first) == 10


def test_a_file_is_read_in_its_own_length(tmp_path: Path) -> None:
    rows, path = torch.randn(10, 7).half(), tmp_path / "rows.safetensors"
    save_file({"any name": rows}, path)
    assert torch.equal(table(str(path), 10), rows.float())


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    with pytest.raises(RecipeError, match=r"rows.safetensors' cannot be read as a \.safetensors file: .*No such file"):
        table(str(path), 10)
    path.write_bytes(b"no tensors")
    with pytest.raises(RecipeError, match=r"cannot be read as a \.safetensors file"):
        table(str(path), 10)
    held: list[list[tuple[int, ...]]] = [[(9, 7)], [(10,)], [(10, 7, 1)], [(10, 7), (10, 7)], []]
    for shapes in held:
        save_file({str(place): torch.zeros(shape) for place, shape in enumerate(shapes)}, path)
        with pytest.raises(RecipeError, match=r"holds tensors of the shapes \[.*\]; wanted: one, \(10, E\)"):
            table(str(path), 10)


def test_nayer_takes_the_files_embeddings_and_the_clock_of_its_rounds(tmp_path: Path, make_run: Any) -> None:
    rows, path = torch.eye(10, 12), tmp_path / "rows.safetensors"
    save_file({"rows": rows}, path)
    source = make_run("nayer", embeddings=str(path), g_life=3, cycles=2, warm_up=5).recipe.synthesizer
    assert torch.equal(source.code.table, rows)
    assert source.code.norm.num_features == 12
    assert (source.life, source.restart) == (6, 10)
    assert NAYER().embeddings == ""
