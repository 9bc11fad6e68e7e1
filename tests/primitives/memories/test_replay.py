"""Replay: what is read beside the new images, when it is stored or learned, and that learned memories are weights."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.nets import Encoder, Generator, parameter_count
from dfkd_lab.nets.wrap import Frozen
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.memories import EMAMemory, ImageBank, VAEMemory
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.primitives.synthesizers import NoiseGenerator
from tests.reference import replay as twins

SHAPE = (1, 16, 16)


def gray(number: int, n: int = 6) -> Batch:
    """``n`` images of one gray, k/255 for number k."""
    return Batch(torch.full((n, *SHAPE), number / 255.0))


def step(memory: Any, number: int, n: int = 6) -> Batch:
    """One student step of the loop: read, then feedback."""
    batch = memory.read(n, lambda n: gray(number, n))
    memory.feedback(batch, torch.zeros(len(batch.images)))
    return batch


def head_weight(net: Any) -> Tensor:
    """Of a generator's first layer."""
    return net.head.weight


def grays(images: Tensor) -> list[int]:
    assert torch.equal(images.amin((1, 2, 3)), images.amax((1, 2, 3)))
    return (images[:, 0, 0, 0] * 255).round().int().tolist()


# the bank


def rounds_of(bank: ImageBank, rounds: range) -> list[set[int]]:
    """Two steps a round on images numbered 10 * round + step; the replayed numbers of each round."""
    found = []
    for place in rounds:
        bank.open(0.0)
        batches = [step(bank, 10 * place + number) for number in range(2)]
        found.append({gray for batch in batches for gray in grays(batch.images[6:])})
    return found


def test_the_bank_takes_the_last_live_images_of_every_period_th_round_and_is_read_from_the_next_round_on() -> None:
    bank = ImageBank(replayed=2, batches=10, period=3, shape=SHAPE, classes=10)
    torch.manual_seed(0)
    found = rounds_of(bank, range(6))
    assert found[0] == set()
    assert found[1:4] == [{1}] * 3
    assert set().union(*found[4:]) <= {1, 31}
    assert len(bank.ring) == 4


def test_the_bank_forgets_the_oldest_batch_and_reads_one_whole_batch_with_equal_chances() -> None:
    bank = ImageBank(replayed=2, batches=2, period=1, shape=SHAPE, classes=10)
    torch.manual_seed(0)
    rounds_of(bank, range(4))
    bank.open(0.0)
    batches = [grays(step(bank, 99).images) for _ in range(200)]
    assert {tuple(batch[:6]) for batch in batches} == {(99,) * 6}
    assert {tuple(batch[6:]) for batch in batches} == {(21, 21), (31, 31)}
    assert 70 < sum(batch[6] == 21 for batch in batches) < 130


def test_a_restored_bank_goes_on_in_the_middle_of_a_period() -> None:
    first, second = (ImageBank(replayed=2, batches=3, period=2, shape=SHAPE, classes=10) for _ in range(2))
    rounds_of(first, range(3))
    second.load_state_dict(first.state_dict())
    found = []
    for bank in (first, second):
        torch.manual_seed(1)
        found.append(rounds_of(bank, range(3, 8)))
    assert found[0] == found[1]


def test_the_bank_says_how_much_it_keeps() -> None:
    bank = ImageBank(replayed=2, batches=10, period=5, shape=SHAPE, classes=10)
    pixels = 16 * 16
    # uint8, the last batch, labels and ages
    assert 20 * pixels < bank.bytes < 20 * pixels + 2 * pixels * 4 + 20 * 20 + 100


# the averaged generator


def moving(classes: int = 0) -> NoiseGenerator:
    torch.manual_seed(0)
    net = Generator(8, SHAPE, 8, "tanh_bn", classes=classes, conditioning="sum")
    return NoiseGenerator(net, 4, 8, lr=1e-2, classes=classes)


def move(synthesizer: NoiseGenerator) -> Batch:
    """Every weight and every statistic of the generator changes."""
    with torch.no_grad():
        for each in synthesizer.net.parameters():
            each.add_(torch.randn_like(each))
        return synthesizer.sample(6)


def floats(net: nn.Module) -> dict[str, Any]:
    return {key: value.double().numpy().copy() for key, value in net.state_dict().items() if value.is_floating_point()}


def test_the_average_agrees_with_its_twin_also_for_the_statistics_and_begins_as_a_copy() -> None:
    synthesizer = moving()
    memory = EMAMemory(synthesizer, 4, 10, momentum=0.8)
    begun, history = floats(memory.average), []
    assert all((begun[key] == value).all() for key, value in floats(synthesizer.net).items())
    for _ in range(3):
        memory.write(move(synthesizer))
        history.append(floats(synthesizer.net))
    assert any("running_mean" in key for key in begun)
    for key, found in floats(memory.average).items():
        wanted = twins.moving_average(begun[key].ravel(), [each[key].ravel() for each in history], 0.8)
        assert found.ravel() == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_the_generator_learns_nothing_from_its_average_and_the_average_nothing_but_by_writes() -> None:
    synthesizer = moving()
    memory = EMAMemory(synthesizer, 4, 10, momentum=0.8)
    move(synthesizer)
    before = floats(memory.average), floats(synthesizer.net)
    for _ in range(3):
        batch = memory.read(6, lambda n: Batch(torch.zeros(n, *SHAPE)))
        memory.feedback(batch, torch.zeros(10))
    for net, kept in zip((memory.average, synthesizer.net), before, strict=True):
        assert all((value == kept[key]).all() for key, value in floats(net).items())
    assert not any(each.requires_grad for each in memory.average.parameters())
    assert all(each.requires_grad for each in synthesizer.net.parameters())


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_momentum_0_replays_the_present_and_momentum_1_the_beginning(momentum: float) -> None:
    synthesizer = moving()
    begun = copy.deepcopy(synthesizer.net)
    memory = EMAMemory(synthesizer, 4, 10, momentum)
    memory.write(move(synthesizer))
    torch.manual_seed(3)
    found = memory.replay(5)
    torch.manual_seed(3)
    wanted = (begun if momentum else synthesizer.net).eval()(torch.randn(5, 8))
    assert torch.allclose(found, wanted, atol=1e-5)
    assert not found.requires_grad


def test_a_conditional_average_is_asked_for_every_class() -> None:
    synthesizer = moving(classes=5)
    memory, asked = EMAMemory(synthesizer, 10, 5, momentum=0.8), []
    memory.average.register_forward_pre_hook(lambda net, inputs: asked.append(inputs[1]))
    assert memory.replay(10).shape == (10, *SHAPE)
    assert torch.bincount(asked[0]).tolist() == [2] * 5


@pytest.mark.parametrize(("live", "past", "weight"), [(6, 4, 1.0), (3, 9, 0.25), (5, 5, 2.0), (4, 2, 0.0)])
def test_the_weights_make_the_mean_loss_the_sum_of_both_means(live: int, past: int, weight: float) -> None:
    memory = EMAMemory(moving(), past, 10, momentum=0.9, weight=weight)
    batch = memory.read(live, lambda n: gray(7, n))
    assert grays(batch.images[:live]) == [7] * live
    losses = torch.rand(live + past, generator=torch.Generator().manual_seed(1))
    assert batch.weights is not None
    wanted = twins.both_means(losses[:live].tolist(), losses[live:].tolist(), weight)
    assert float((losses * batch.weights).mean()) == pytest.approx(wanted, rel=1e-5)


def test_the_averages_memory_is_one_generator_and_can_be_restored() -> None:
    synthesizer = moving()
    first, second = EMAMemory(synthesizer, 4, 10, momentum=0.5), EMAMemory(moving(), 4, 10, momentum=0.5)
    first.write(move(synthesizer))
    second.load_state_dict(first.state_dict())
    found = []
    for memory in (first, second):
        torch.manual_seed(4)
        found.append(memory.replay(4))
    assert torch.equal(*found)
    own = {key.split(".")[0] for key in first.state_dict()}
    assert own == {"seen", "average"}
    assert 4 * parameter_count(synthesizer.net) <= first.bytes < 4 * parameter_count(synthesizer.net) * 1.1


def test_it_can_follow_another_synthesizer() -> None:
    memory, other = EMAMemory(moving(), 4, 10, momentum=0.0), moving()
    move(other)
    memory.follow(other)
    assert torch.equal(head_weight(memory.average), head_weight(other.net))
    memory.write(move(other))
    assert torch.equal(head_weight(memory.average), head_weight(other.net))


@pytest.mark.parametrize("conditioning", ["sum", "product"])
def test_labels_are_added_to_the_noise_or_multiply_it(conditioning: Any) -> None:
    torch.manual_seed(0)
    net = Generator(8, SHAPE, 8, classes=3, conditioning=conditioning)
    noise, labels = torch.randn(6, 8), torch.arange(6) % 3
    asked = net.embedding(labels)
    wanted = net(noise + asked if conditioning == "sum" else noise * asked)
    assert torch.equal(net(noise, labels), wanted)


# the VAE


class Flat(nn.Module):
    """A teacher that sees a fixed random projection."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.fc = nn.Flatten(), nn.Linear(256, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.flatten(x))


def vae(**settings: Any) -> VAEMemory:
    torch.manual_seed(settings.pop("seed", 0))
    observer = Observer(Frozen(Flat(), [0.5], [0.25]), nn.Identity())
    usual: dict[str, Any] = {
        "confidence": 1.0, "balance": 5.0, "z_lr": 0.02, "z_steps": 1, "lr": 2e-3, "steps": 4, "prior": 1e-5,
        "reconstruction": "logits",
    }  # fmt: skip
    decoder = Generator(8, SHAPE, 8, "tanh_bn", torch.tensor([0.5]).view(1, 1, 1), torch.tensor([0.25]).view(1, 1, 1))
    return VAEMemory(decoder, Encoder(8, SHAPE, 8), observer, 4, 8, 10, **{**usual, **settings})


def blobs(n: int) -> Tensor:
    """Smooth images that differ from each other."""
    random = torch.Generator().manual_seed(5)
    coarse = torch.rand(n, 1, 4, 4, generator=random)
    return nn.functional.interpolate(coarse, size=16, mode="bilinear")


@pytest.mark.parametrize("reconstruction", ["pixel", "logits"])
def test_the_vae_learns_to_reconstruct_what_it_is_shown(reconstruction: str) -> None:
    memory, images = vae(steps=1, reconstruction=reconstruction), blobs(32)
    first = memory.loss(images[:16]).item()
    for _ in range(60):
        memory.write(Batch(images))
        memory.feedback(memory.read(32, lambda n: Batch(images)), torch.zeros(36))
    assert memory.loss(images[:16]).item() < 0.5 * first


def test_logits_add_the_distance_of_the_teachers_answers() -> None:
    losses = []
    for reconstruction in ("pixel", "logits"):
        memory = vae(reconstruction=reconstruction)
        torch.manual_seed(1)
        losses.append(memory.loss(blobs(8)).item())
    torch.manual_seed(1)
    memory = vae()
    torch.manual_seed(1)
    mean, log_variance = memory.encoder((blobs(8) - 0.5) / 0.25)
    found = memory.decoder(mean + (log_variance / 2).exp() * torch.randn_like(mean))
    teacher = memory.observer.teacher
    assert losses[1] - losses[0] == pytest.approx((teacher(found) - teacher(blobs(8))).abs().mean().item(), rel=1e-4)
    prior = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
    pixels = (found - blobs(8)).abs().mean() / 0.25
    assert losses[0] == pytest.approx((pixels + 1e-5 * prior).item(), rel=1e-4)


def test_a_read_is_live_images_then_replayed_ones_without_gradient() -> None:
    memory = vae()
    batch = memory.read(6, lambda n: gray(7, n))
    assert batch.images.shape == (10, *SHAPE)
    assert grays(batch.images[:6]) == [7] * 6
    assert not batch.images.requires_grad
    assert not memory.decoder.training


def test_the_vae_trains_in_the_first_steps_after_a_write_only_and_replays_to_itself_from_the_second_phase_on() -> None:
    memory = vae(steps=2)
    sizes: list[int] = []
    loss = memory.loss
    memory.loss = lambda images: sizes.append(len(images)) or loss(images)  # type: ignore[method-assign]
    changed = []
    for number in range(2):
        memory.write(gray(number))
        for _ in range(4):
            before = head_weight(memory.decoder).clone()
            step(memory, number, n=6)
            changed.append(not torch.equal(before, head_weight(memory.decoder)))
    assert changed == [True, True, False, False] * 2
    assert sizes == [3, 3, 3 + 4, 3 + 4]


def test_tuning_the_codes_leaves_the_decoder_alone() -> None:
    memory = vae(z_steps=3)
    before = [value.clone() for value in memory.decoder.parameters()]
    memory.replay(4)
    assert all(each.grad is None for each in memory.decoder.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, memory.decoder.parameters(), strict=True))


@pytest.mark.parametrize(("confidence", "balance"), [(1.0, 5.0), (0.0, 0.0)])
def test_tuning_lowers_the_loss_of_the_codes(confidence: float, balance: float) -> None:
    seen: dict[int, Tensor] = {}
    for steps in (0, 20):
        memory = vae(z_steps=steps, confidence=confidence, balance=balance)
        memory.decoder.register_forward_pre_hook(lambda layer, inputs, steps=steps: seen.update({steps: inputs[0]}))
        torch.manual_seed(2)
        memory.replay(8)
    assert (seen[20] - seen[0]).abs().max().item() <= 20 * 0.02 * 1.1
    assert memory._code_loss(seen[20]).item() < memory._code_loss(seen[0]).item()


def test_nothing_but_weights_is_kept_whatever_was_shown() -> None:
    memory = vae()
    sizes = {key: value.shape for key, value in memory.state_dict().items() if key != "_extra_state"}
    weights = parameter_count(memory.decoder) + parameter_count(memory.encoder)
    for number in range(6):
        memory.write(gray(number))
        step(memory, number)
    assert {key: value.shape for key, value in memory.state_dict().items() if key != "_extra_state"} == sizes
    moments = memory.get_extra_state()["optimizer"]["state"].values()
    shapes = {value.shape for row in moments for value in row.values()}
    assert shapes <= {each.shape for each in memory.parameters()} | {torch.Size([])}
    assert 4 * weights <= memory.bytes < 4 * weights * 1.1
    assert not any("teacher" in key or "observer" in key for key in sizes)


def test_a_restored_vae_goes_on_as_the_first_would() -> None:
    first, second = vae(seed=0), vae(seed=1)
    first.observer = second.observer
    for number in range(3):
        first.write(gray(number))
        step(first, number)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    found = []
    for memory in (first, second):
        torch.manual_seed(4)
        memory.write(gray(3))
        step(memory, 3)
        found.append(memory.replay(4))
    assert torch.equal(*found)


@pytest.mark.parametrize(("side", "places"), [(8, 1), (16, 4), (28, 9), (32, 16), (64, 64)])
def test_the_encoder_takes_every_side_from_8_up(side: int, places: int) -> None:
    encoder = Encoder(5, (3, side, side), 4)
    mean, log_variance = encoder(torch.randn(2, 3, side, side))
    assert mean.shape == log_variance.shape == (2, 5)
    assert encoder.mean.in_features == 8 * places


def test_the_networks_have_the_papers_size() -> None:
    assert parameter_count(Encoder(1000, (3, 32, 32))) == pytest.approx(4.32e6, rel=1e-2)
    assert parameter_count(Generator(1000, (3, 32, 32), 64, "tanh_bn", eps=0.8)) == pytest.approx(8.42e6, rel=1e-2)


def test_a_spectral_generator_has_convolutions_of_norm_1() -> None:
    torch.manual_seed(0)
    net = Generator(8, SHAPE, 8, "tanh_bn", spectral=True)
    for _ in range(50):
        net(torch.randn(4, 8))
    convolutions = [layer for layer in net.body if isinstance(layer, nn.Conv2d)]
    assert [torch.linalg.matrix_norm(each.weight.flatten(1), 2).item() for each in convolutions] == pytest.approx(
        [1, 1, 1], rel=1e-2
    )
    assert not [key for key in Generator(8, SHAPE, 8).state_dict() if "parametrizations" in key]
