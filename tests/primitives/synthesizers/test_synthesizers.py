"""Synthesizers keep the best images and take exactly the steps they say."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.engine.schedules import cosine
from dfkd_lab.nets import Generator
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.observer import Observation
from dfkd_lab.primitives.synthesizers import Best, MetaGenerator, NoiseGenerator, Pixels, draw_labels

MEAN, STD = torch.tensor([[[0.4]]]), torch.tensor([[[0.2]]])
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def seen_of(batch: Batch) -> Observation:
    return Observation(batch.images, batch.images.flatten(1)[:, :3])


def small_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.Sigmoid(), nn.Unflatten(1, (1, 3, 3)))


def objective(images: Tensor) -> Tensor:
    return ((images - 0.7) ** 2).mean() + images[:, :, 0].mean()


# the best of a phase


@pytest.mark.parametrize("losses", [[3.0, 1.0, 2.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 2.0]])
def test_the_lowest_offered_loss_is_kept_as_a_copy(losses: list[float]) -> None:
    best, live, offered = Best(), torch.rand(2, 1, 3, 3), []
    for loss in losses:
        batch = Batch(live)
        best.offer(torch.tensor(loss), batch, seen_of(batch))
        offered.append(live.clone())
        live.add_(1)  # as an optimizer does, in place
    kept = best.take()
    place = losses.index(min(losses))
    assert torch.equal(kept.images, offered[place])
    assert torch.equal(kept.predicted, offered[place].flatten(1)[:, :3].argmax(1))
    assert kept.images.data_ptr() != live.data_ptr()


def test_the_best_starts_afresh_after_it_was_taken() -> None:
    best = Best()
    for loss, value in ((1.0, 1.0), (5.0, 2.0)):
        batch = Batch(torch.full((1, 1, 3, 3), value))
        best.offer(torch.tensor(loss), batch, seen_of(batch))
        assert float(best.take().images.mean()) == value
    with pytest.raises(AssertionError, match="before the first step"):
        best.take()


@pytest.mark.parametrize("lr", [0.05, 3.0])
def test_pixels_give_the_batch_with_the_lowest_loss_also_when_the_last_is_worse(lr: float) -> None:
    pixels = Pixels(5, (1, 3, 3), 3, MEAN, STD, lr=lr)
    for _ in range(2):
        pixels.open()
        logged = []
        for _ in range(8):
            rendered = pixels.render()
            loss = objective(rendered.images)
            logged.append(float(loss.detach()))
            pixels.step(loss, seen_of(rendered))
        kept = pixels.close()
        assert float(objective(kept.images)) == pytest.approx(min(logged), rel=1e-6)
        assert kept.labels is pixels.targets
        assert not kept.images.requires_grad


def test_pixels_stay_valid_images_and_cannot_be_drawn_anew() -> None:
    pixels = Pixels(4, (1, 3, 3), 3, MEAN, STD, lr=5.0)
    pixels.open()
    rendered = pixels.render()
    pixels.step(objective(rendered.images), seen_of(rendered))
    after = pixels.render().images.detach()
    assert float(after.min()) >= -1e-6
    assert float(after.max()) <= 1 + 1e-6
    with pytest.raises(TypeError, match="a memory that keeps images"):
        pixels.sample(2)


@pytest.mark.parametrize(("n", "classes"), [(20, 10), (23, 10), (7, 10), (2, 3)])
def test_balanced_labels_have_each_class_equally_often_and_a_random_rest(n: int, classes: int) -> None:
    counts = draw_labels(n, classes, "balanced", CPU).bincount(minlength=classes)
    assert int(counts.min()) >= n // classes
    assert int(counts.sum()) == n
    found = draw_labels(50 * classes, classes, "random", CPU).bincount(minlength=classes)
    assert int(found.min()) > 0
    assert len(found) == classes


# generators


def test_the_noise_generator_takes_an_adam_step_and_gives_what_it_was_judged_on() -> None:
    net = small_net()
    twin = copy.deepcopy(net)
    generator = NoiseGenerator(net, 6, 4, lr=0.01)
    adam = torch.optim.Adam(twin.parameters(), lr=0.01, fused=True)
    for _ in range(3):
        noise_state = torch.get_rng_state()
        generator.open()
        rendered = generator.render()
        generator.step(objective(rendered.images), seen_of(rendered))
        kept = generator.close()
        torch.set_rng_state(noise_state)
        wanted = twin(torch.randn(6, 4))
        adam.zero_grad()
        objective(wanted).backward()
        adam.step()
        assert torch.equal(kept.images, wanted)
        assert not kept.images.requires_grad
        assert torch.equal(kept.predicted, wanted.flatten(1)[:, :3].argmax(1))
    assert all(map(torch.equal, net.parameters(), twin.parameters()))
    assert generator.sample(5).images.shape == (5, 1, 3, 3)
    assert not generator.sample(5).images.requires_grad


class Conditional(nn.Module):
    """A net that writes what it was asked for into its images."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        return labels.view(-1, 1, 1, 1) + 0 * (self.scale * noise).sum(1).view(-1, 1, 1, 1).expand(-1, 1, 3, 3)


def test_with_classes_every_image_has_the_label_it_was_made_for() -> None:
    generator = NoiseGenerator(Conditional(), 10, 4, lr=0.01, classes=5)
    rendered = generator.render()
    generator.step(objective(rendered.images), seen_of(rendered))
    for batch in (rendered, generator.close(), generator.sample(10)):
        assert batch.labels.bincount().tolist() == [2] * 5
        assert torch.equal(batch.images[:, 0, 0, 0], batch.labels.float())


def test_the_noise_is_held_after_the_step_and_seen_through_the_generator_it_made() -> None:
    generator = NoiseGenerator(small_net(), 6, 4, lr=0.1, hold=True)
    rendered = generator.render()
    generator.step(objective(rendered.images), seen_of(rendered))
    held = generator.sample(6)
    assert torch.equal(held.images, generator.sample(6).images)
    assert torch.equal(held.images, generator.net(generator._code[0]))
    assert not torch.equal(held.images, rendered.images)
    assert not torch.equal(held.images, (generator.render(), generator.sample(6))[1].images)


def test_the_gradient_is_no_longer_than_the_clip() -> None:
    norms = []
    for clip in (None, 1e-3):
        generator = NoiseGenerator(small_net(), 6, 4, lr=0.1, clip=clip)
        rendered = generator.render()
        generator.step(objective(rendered.images), seen_of(rendered))
        norms.append(torch.cat([each.grad.flatten() for each in generator.net.parameters()]).norm())
    assert norms[0] > 1e-2
    assert norms[1] == pytest.approx(1e-3, rel=1e-2)


def test_the_learning_rate_fades_along_a_cosine_also_after_a_resume() -> None:
    fading = partial(NoiseGenerator, n=6, z_dim=4, lr=0.1, fade=4, rate=partial(cosine, start=0.1, floor=0.0))
    generator, rates = fading(small_net()), []
    for _ in range(6):
        rendered = generator.render()
        generator.step(objective(rendered.images), seen_of(rendered))
        rates.append(generator.optimizer.param_groups[0]["lr"])
        state, generator = generator.state_dict(), fading(small_net())
        generator.load_state_dict(copy.deepcopy(state))
    assert rates == pytest.approx([0.1, 0.0853553, 0.05, 0.0146447, 0, 0], abs=1e-6)


@pytest.mark.parametrize("output", ["sigmoid", "tanh_bn", "bn"])
def test_every_output_of_the_generator_has_the_range_it_promises(output: str) -> None:
    net = Generator(4, (1, 8, 8), 8, output, MEAN, STD)  # type: ignore[arg-type]
    images = net(torch.randn(16, 4)).detach()
    if output == "sigmoid":
        assert 0 <= float(images.min()) < float(images.max()) <= 1
        return
    assert float(images.mean()) == pytest.approx(0.4, abs=1e-4)
    assert float(images.std(correction=0)) == pytest.approx(0.2, rel=0.01)
    assert [name for name, _ in net.last_norm.named_parameters()] == (["weight", "bias"] if output == "bn" else [])


def test_a_conditional_generator_multiplies_the_noise_by_the_labels_embedding() -> None:
    net, noise, labels = Generator(4, (1, 8, 8), 8, classes=3).eval(), torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    assert torch.equal(net(noise, labels), net(noise * net.embedding.weight[labels]))
    assert net.embedding.weight.shape == (3, 4)


def meta_generator(meta: str, steps: int = 3) -> MetaGenerator:
    return MetaGenerator(small_net(), 6, 4, 3, lr=0.02, z_lr=0.05, meta_lr=0.02 * steps, meta=meta)


def inner_steps(clone: nn.Module, noise: Tensor, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """Adam on clone and noise, written out: the images before each step, and the sums of the clone's gradients."""
    inner_clone = torch.optim.Adam(clone.parameters(), lr=0.02, betas=(0.5, 0.999), fused=True)
    inner_noise = torch.optim.Adam([noise], lr=0.05, betas=(0.5, 0.999), fused=True)
    sums = [torch.zeros_like(value) for value in clone.parameters()]
    images = []
    for _ in range(steps):
        found = clone(noise)
        images.append(found.detach())
        clone.zero_grad()
        noise.grad = None
        objective(found).backward()
        sums = [sum_ + mine.grad for sum_, mine in zip(sums, clone.parameters(), strict=True)]
        inner_clone.step()
        inner_noise.step()
    return images, sums


@pytest.mark.parametrize("meta", ["fomaml", "reptile", "none"])
def test_the_meta_update_is_the_one_written_out(meta: str) -> None:
    generator = meta_generator(meta)
    parameters = [value.detach().clone().requires_grad_() for value in generator.net.parameters()]
    outer = torch.optim.Adam(parameters, lr=0.02 * 3, betas=(0.5, 0.999), fused=True)
    for _ in range(2):  # the outer optimizer lives on, the inner one does not
        noise_state = torch.get_rng_state()
        generator.open()
        losses = []
        for _ in range(3):
            rendered = generator.render()
            loss = objective(rendered.images)
            losses.append(float(loss.detach()))
            generator.step(loss, seen_of(rendered))
        kept = generator.close()

        clone = small_net()
        for mine, value in zip(clone.parameters(), parameters, strict=True):
            mine.data = value.detach().clone()
        torch.set_rng_state(noise_state)
        images, sums = inner_steps(clone, torch.randn(6, 4).requires_grad_(), steps=3)
        assert [float(objective(found)) for found in images] == pytest.approx(losses, rel=1e-4)
        after = [mine.detach() for mine in clone.parameters()]
        if meta == "none":
            for value, stepped in zip(parameters, after, strict=True):
                value.data = stepped.clone()
        else:
            for value, sum_, stepped in zip(parameters, sums, after, strict=True):
                value.grad = sum_ if meta == "fomaml" else value.detach() - stepped
            outer.step()
        assert torch.allclose(kept.images, images[losses.index(min(losses))], atol=1e-5)
        for mine, wanted in zip(generator.net.parameters(), parameters, strict=True):
            assert torch.allclose(mine, wanted, atol=1e-5)


def test_a_meta_phase_begins_from_the_generator_and_leaves_a_restorable_state() -> None:
    first, second = meta_generator("fomaml"), meta_generator("fomaml")
    run = lambda generator: [  # noqa: E731
        (rendered := generator.render(), generator.step(objective(rendered.images), seen_of(rendered)))
        for _ in range(3)
    ]
    first.open()
    run(first)
    first.close()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for generator in (first, second):
        torch.manual_seed(9)
        generator.open()
        assert all(map(torch.equal, generator.clone.parameters(), generator.net.parameters()))
        run(generator)
        generator.close()
    assert all(map(torch.equal, first.net.parameters(), second.net.parameters()))
    assert first.sample(3).images.shape == (3, 1, 3, 3)
