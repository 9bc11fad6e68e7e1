"""Views that are stored with the teacher's logits: what a read gives, what it costs, and what cannot be cached."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dfkd_lab import plan, teachers
from dfkd_lab.engine.composed import ComposedRun
from dfkd_lab.engine.loop import Run
from dfkd_lab.errors import RecipeError
from dfkd_lab.methods.composition import compose
from dfkd_lab.primitives.batch import Batch, to_float
from dfkd_lab.primitives.memories import CachedViews, ImageBuffer, PriorityBuffer
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.primitives.views import CropFlip

SHAPE = (1, 16, 16)
MakeRun = Callable[..., Run]


def refuse(n: int) -> Batch:
    raise AssertionError("a ring draws nothing")


@pytest.fixture
def cached(teacher: teachers.Teacher) -> CachedViews:
    """Twelve images in a ring of sixteen places, with three views of each."""
    observer = Observer(teacher.model, teachers.student_of(teacher.card, "convnet_8"))
    memory = CachedViews(PriorityBuffer(16, SHAPE, 0.6, 0.4), CropFlip(1, False), observer, 3, 10)
    torch.manual_seed(0)
    memory.write(Batch(torch.rand(12, *SHAPE), torch.arange(12) % 10, torch.arange(12) % 10))
    return memory


def test_a_read_gives_views_with_the_teachers_logits_of_them(cached: CachedViews, teacher: teachers.Teacher) -> None:
    batch = cached.read(64, refuse)
    assert batch.logits is not None
    assert batch.index is not None
    torch.testing.assert_close(batch.logits, teacher.model(batch.images))
    for image, index in zip(batch.images, batch.index, strict=True):
        padded = torch.nn.functional.pad(to_float(cached.ring.images[index]), [1] * 4)
        crops = [padded[:, top : top + 16, left : left + 16] for top in range(3) for left in range(3)]
        assert any(torch.equal(image, crop) for crop in crops)


def test_every_view_of_an_image_is_read(cached: CachedViews) -> None:
    images = cached.read(600, refuse).images
    assert len(images.flatten(1).unique(dim=0)) == len(cached.views[: 12 * 3].flatten(1).unique(dim=0)) > 12


def test_the_ring_below_is_read_and_told(cached: CachedViews) -> None:
    batch = cached.read(8, refuse)
    assert batch.weights is not None
    cached.feedback(batch, torch.full((8,), 7.0))
    ring = cached.ring
    assert isinstance(ring, PriorityBuffer)
    assert (ring.priorities[batch.index] == 7).all()
    assert cached.summary(10) == ring.summary(10)


def test_what_is_overwritten_is_viewed_anew(cached: CachedViews, teacher: teachers.Teacher) -> None:
    cached.write(Batch(torch.rand(10, *SHAPE)))  # goes round the end of the ring
    assert cached.ring.latest.tolist() == [12, 13, 14, 15, 0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(cached.logits, teacher.model(to_float(cached.views)))


def test_a_student_step_asks_no_teacher(make_run: MakeRun, tiny: Callable[[str], dict[str, Any]]) -> None:
    settings = {**tiny("ssd_kd"), "s_steps": 8}
    looked = {}
    for views in (0, 2):
        run = make_run("ssd_kd", rounds=3, cache_views=views, **settings)
        reports = list(run)
        looked[views] = run.cost.teacher_queries
        assert torch.isfinite(torch.tensor(reports[-1].student["kd"]))
    batch, rounds, taught = settings["batch"], 3, 2
    for_samples = 1  # a round, where what the student is shown is not what is stored
    assert looked[0] - looked[2] == batch * (taught * (settings["s_steps"] + for_samples) - rounds * 2)


def test_a_run_goes_on_with_its_cache(make_run: MakeRun, goes_on: Callable[..., None]) -> None:
    goes_on(lambda: make_run("ssd_kd", rounds=3, cache_views=2), after=2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dfad", "Live stores none"),
        ("spaceshipnet", "FeatureMapBuffer stores none"),
        ("pre_dfkd", "VAEMemory stores none"),
    ],
)
def test_a_memory_without_images_is_refused(make_run: MakeRun, name: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=f"cache_views = 2 .*{reason}.*allowed: 0"):
        make_run(name, cache_views=2)


def test_a_term_that_reads_the_teachers_maps_is_refused(
    teacher: teachers.Teacher,
) -> None:
    method = compose("ssd_kd", preset="digits", terms="attention=50")
    with pytest.raises(RecipeError, match=r"'attention' reads its maps too; allowed: 0, or terms = 'attention=0'"):
        ComposedRun.of(
            method, teacher.model, lambda: teachers.student_of(teacher.card, "convnet_8"),
            shape=teacher.card.shape, classes=10, rounds=3, seed=0, cache_views=1,
        )  # fmt: skip


def test_nothing_is_cached_unless_asked_for(make_run: MakeRun) -> None:
    assert type(make_run("fast", cache_views=0).recipe.memory) is ImageBuffer
    with pytest.raises(ValueError, match="cache_views = -1 is out of range"):
        plan(method="fast", cache_views=-1)
