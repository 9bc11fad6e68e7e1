"""The generator's hidden maps: where they are, how they are kept and exchanged, and that they decode to images."""

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab.errors import SpecError
from dfkd_lab.nets import Generator
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.memories import FeatureMapBuffer
from dfkd_lab.primitives.memories.feature_maps import exchanged
from dfkd_lab.primitives.synthesizers import NoiseCode, PerBatchGenerator

SHAPE = (1, 8, 8)
KINDS: dict[str, dict[str, Any]] = {
    "sigmoid": {},
    "tanh_bn": {"output": "tanh_bn", "eps": 0.8},
    "bn": {"output": "bn"},
    "spectral": {"spectral": True},
    "squeeze": {"squeeze": True},
}

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def net_of(kind: str = "sigmoid") -> Generator:
    return Generator(4, SHAPE, 8, **KINDS[kind])


# the generator


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_forward_is_head_body_and_output_in_one_go_bit_for_bit(kind: str, training: bool) -> None:
    net, noise = net_of(kind).train(training), torch.randn(6, 4)
    other = copy.deepcopy(net)
    raw = other.body(other.head(noise).view(6, 16, 2, 2))
    bounded = {"sigmoid": torch.sigmoid, "tanh_bn": torch.tanh, "bn": lambda x: x}[net.output](raw)
    wanted = bounded if net.output == "sigmoid" else other.last_norm(bounded) * other.std + other.mean
    assert torch.equal(net(noise), wanted)
    assert all(torch.equal(*pair) for pair in zip(net.state_dict().values(), other.state_dict().values(), strict=True))


@every_kind
def test_maps_are_behind_the_first_norm_and_both_blocks_and_each_decodes_to_the_image(kind: str) -> None:
    net, noise = net_of(kind).eval(), torch.randn(6, 4)
    maps = net.maps(noise)
    assert [tuple(each.shape[1:]) for each in maps] == [(16, 2, 2), (16, 4, 4), (8, 8, 8)]
    assert torch.equal(maps[0], net.body[0](net.head(noise).view(6, 16, 2, 2)))
    before = [each.clone() for each in maps]
    for depth, each in enumerate(maps):
        assert torch.equal(net.decode(depth, each), net(noise))
    assert all(torch.equal(*pair) for pair in zip(maps, before, strict=True))


def test_layers_and_their_first_weights_are_those_of_the_plain_generator_unless_squeezed() -> None:
    kinds = [type(layer).__name__ for layer in net_of().body]
    block = ["Identity", "UpsamplingConv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds == ["BatchNorm2d", *block, *block, "SteadyConv2d"]
    block = [*block, "SqueezeExcitation"]
    assert [type(layer).__name__ for layer in net_of("squeeze").body] == ["BatchNorm2d", *block, *block, "SteadyConv2d"]


def test_channel_attention_scales_each_channel_by_what_all_channels_hold() -> None:
    layer: Any = net_of("squeeze").body[5]
    x = torch.randn(3, 16, 4, 4)
    squeeze, _, excite, _ = layer.factors
    assert squeeze.out_features == 2
    hidden = (x.mean((2, 3)) @ squeeze.weight.T + squeeze.bias).clamp(min=0)
    factors = torch.sigmoid(hidden @ excite.weight.T + excite.bias)
    assert torch.allclose(layer(x), x * factors.view(3, 16, 1, 1))
    other = x.clone()
    other[:, 1] += 5
    assert not torch.allclose(layer(x)[:, 0], layer(other)[:, 0])


# what is kept


def memory_of(capacity: int = 12, exchange: float = 0.7, kind: str = "sigmoid") -> FeatureMapBuffer:
    synthesizer = PerBatchGenerator(net_of(kind), NoiseCode(4), 5, 3, lr=1e-3)
    return FeatureMapBuffer(synthesizer, capacity, SHAPE, exchange)


def batch_of(memory: FeatureMapBuffer, n: int = 5) -> Batch:
    codes = torch.randn(n, 4)
    labels = torch.arange(n) % 3
    return Batch(torch.rand(n, *SHAPE), labels, labels, codes=codes)


def net_in(memory: FeatureMapBuffer) -> Generator:
    (net,) = memory._followed
    return net


def never(n: int) -> Batch:
    raise AssertionError("hidden maps need no fresh images")


def test_the_maps_of_the_codes_are_kept_in_float16_and_the_oldest_are_replaced() -> None:
    memory = memory_of(capacity=12)
    batches = [batch_of(memory) for _ in range(3)]
    for batch in batches:
        memory.write(batch)
    codes = torch.cat([batch.codes for batch in batches])
    order = [12, 13, 14, *range(3, 12)]  # 15 written, the first three gone
    for pool, wanted in zip(memory.pools, net_in(memory).eval().maps(codes[order]), strict=True):
        assert pool.dtype == torch.float16
        assert torch.allclose(pool.float(), wanted, rtol=1e-3, atol=1e-3)
    assert len(memory) == 12
    assert memory.class_shares(3).tolist() == pytest.approx([5 / 12, 5 / 12, 2 / 12])
    assert memory.labels.tolist() == [row % 5 % 3 for row in order]


def test_of_a_batch_larger_than_the_rings_the_last_rows_stay() -> None:
    memory, batch = memory_of(capacity=3), batch_of(memory_of(), n=5)
    memory.write(batch)
    wanted = net_in(memory).eval().maps(batch.codes[-3:])
    assert all(torch.allclose(pool.float(), maps, atol=1e-3) for pool, maps in zip(memory.pools, wanted, strict=True))


def test_an_image_costs_213_kb_at_32_pixels_and_the_paper_width() -> None:
    synthesizer = PerBatchGenerator(Generator(4, (3, 32, 32), 64), NoiseCode(4), 5, 3, lr=1e-3)
    pools = FeatureMapBuffer(synthesizer, 2, (3, 32, 32), 0.7).pools
    assert sum(pool.numel() * pool.element_size() for pool in pools) == 2 * 3.25 * 64 * 32**2 == 2 * 212_992


def test_writing_and_reading_leave_the_generator_as_it_was() -> None:
    memory = memory_of()
    net = net_in(memory).train()
    before = copy.deepcopy(net.state_dict())
    memory.write(batch_of(memory))
    images = memory.read(9, never).images
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not images.requires_grad
    assert not [key for key in memory.state_dict() if key.startswith(("head", "body", "net"))]


# what is read


def matches(memory: FeatureMapBuffer, images: Tensor, net: Generator) -> list[set[int]]:
    """Per depth the rows of ``images`` that are decoded from one stored map as it is."""
    found = []
    for depth, pool in enumerate(memory.pools):
        known = net.eval().decode(depth, pool[: len(memory)].float())
        distance = (images[:, None] - known[None]).abs().amax((2, 3, 4)).amin(1)
        found.append({row for row, each in enumerate(distance.tolist()) if each < 1e-6})
    return found


def test_without_exchange_a_read_decodes_stored_maps_of_one_depth_each_as_likely() -> None:
    memory = memory_of(exchange=0.0)
    memory.write(batch_of(memory))
    net = net_in(memory)
    seen: Counter[int] = Counter()
    for _ in range(300):
        rows = matches(memory, memory.read(4, never).images, net)
        whole = [depth for depth, each in enumerate(rows) if len(each) == 4]
        assert len(whole) == 1
        seen[whole[0]] += 1
    assert set(seen) == {0, 1, 2}
    assert sum((seen[depth] - 100) ** 2 / 100 for depth in seen) < 13.8  # chi square, 2 degrees, p = 0.001


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_with_the_chance_asked_for_all_maps_of_a_step_are_exchanged(share: float) -> None:
    memory = memory_of(exchange=share)
    memory.write(batch_of(memory))
    net = net_in(memory)
    mixed = 0
    for _ in range(300):
        images = memory.read(6, never).images
        mixed += not any(len(rows) == 6 for rows in matches(memory, images, net))
    assert share * 300 - 35 < mixed <= 300 * share + 35
    assert share < 1 or mixed > 290  # twice the same map in all pairs looks unmixed, and is rare


def test_a_read_decodes_with_the_generator_as_it_is_now() -> None:
    memory = memory_of(exchange=0.0)
    memory.write(batch_of(memory))
    net = net_in(memory)
    last: Any = net.body[-1]
    torch.manual_seed(3)
    before = memory.read(6, never).images
    with torch.no_grad():
        last.weight.mul_(-2)
    torch.manual_seed(3)
    after = memory.read(6, never).images
    assert not torch.allclose(before, after)
    assert any(len(rows) == 6 for rows in matches(memory, after, net))


def test_a_read_carries_no_labels() -> None:
    memory = memory_of()
    memory.write(batch_of(memory))
    batch = memory.read(6, never)
    assert (batch.labels, batch.predicted, batch.index, batch.weights) == (None, None, None, None)
    assert (memory.reads_labels, memory.draws) == ("none", False)


@pytest.mark.parametrize(("n", "channels"), [(6, 8), (5, 7), (1, 4)])
def test_half_of_the_channels_come_whole_from_the_mirrored_row_and_each_row_draws_its_own(
    n: int, channels: int
) -> None:
    maps = torch.randn(n, channels, 3, 2)
    kept = maps.clone()
    found = exchanged(maps)
    taken = (found == maps.flip(0)).all(3).all(2)
    own = (found == maps).all(3).all(2)
    assert torch.equal(maps, kept)
    assert (taken | own).all()
    if n == 6:
        assert taken.sum(1).tolist() == [channels // 2] * n
        assert len({tuple(row) for row in taken.tolist()}) > 1
    if n == 5:
        assert taken.sum(1).tolist() == [3, 3, channels, 3, 3]  # the middle row is its own mirror


def test_every_channel_is_exchanged_as_often_as_any_other() -> None:
    maps = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 8, 1, 1)
    counts = torch.stack([exchanged(maps)[0, :, 0, 0] for _ in range(800)]).sum(0)
    assert ((counts - 400).abs() < 60).all()


# what it needs, and resuming


def test_a_synthesizer_without_codes_or_hidden_maps_is_refused() -> None:
    memory = memory_of()
    with pytest.raises(SpecError, match="keeps the maps of codes, and Linear gives none"):
        memory.follow(nn.Linear(4, 64))  # type: ignore[arg-type]
    plain = PerBatchGenerator(nn.Linear(4, 64), NoiseCode(4), 5, 3, lr=1e-3)
    with pytest.raises(SpecError, match="not with Linear"):
        memory.follow(plain)


def test_following_another_synthesizer_begins_with_its_sizes() -> None:
    memory, wider = memory_of(), Generator(6, SHAPE, 16, squeeze=True)
    memory.follow(PerBatchGenerator(wider, NoiseCode(6), 5, 3, lr=1e-3))
    memory.write(Batch(torch.rand(5, *SHAPE), codes=torch.randn(5, 6)))
    assert [pool.shape[1] for pool in memory.pools] == [32, 32, 16]
    assert net_in(memory) is wider


def test_a_restored_memory_goes_on_as_the_first_would() -> None:
    first, second = memory_of(), memory_of()
    net_in(second).load_state_dict(net_in(first).state_dict())
    batches = [batch_of(first) for _ in range(4)]
    for batch in batches[:3]:
        first.write(batch)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    found = []
    for memory in (first, second):
        memory.write(batches[3])
        torch.manual_seed(4)
        found.append(torch.cat([memory.read(6, never).images for _ in range(5)]))
    assert torch.equal(*found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_the_gpu_maps_are_kept_and_decoded_there() -> None:
    memory = memory_of()
    net_in(memory).to("cuda")
    memory.to("cuda")
    memory.write(Batch(torch.rand(5, *SHAPE, device="cuda"), codes=torch.randn(5, 4, device="cuda")))
    assert memory.written.device.type == "cpu"
    assert memory.read(4, never).images.device.type == "cuda"
