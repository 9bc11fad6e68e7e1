"""The observer sees what it was asked to see and changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfkd_lab import nets
from dfkd_lab.engine.recipe import MethodContext
from dfkd_lab.errors import RecipeError
from dfkd_lab.nets.wrap import Classifier, Frozen
from dfkd_lab.primitives.last_maps import last_maps_of
from dfkd_lab.primitives.layers import head_of, stages_of
from dfkd_lab.primitives.observer import Observer
from dfkd_lab.teachers import Teacher, student_of

ALL = frozenset({"student", "features", "statistics", "maps"})


@pytest.fixture
def observer(teacher: Teacher) -> Observer:
    torch.manual_seed(1)
    return Observer(teacher.model, student_of(teacher.card, "convnet_8"))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_nothing_is_recorded_unless_asked_for(observer: Observer, images: Tensor) -> None:
    seen = observer(images)
    assert (seen.student, seen.features, seen.statistics) == (None, None, [])
    assert seen.maps == seen.student_maps == observer(images, needs=ALL - {"maps"}).maps == []
    observer.teacher(images)
    assert observer._observation is None
    assert torch.equal(seen.logits, observer.teacher(images))


def test_features_are_the_input_of_the_last_linear_layer(observer: Observer, images: Tensor) -> None:
    seen = observer(images, needs=ALL)
    net: Any = observer.teacher.net
    assert torch.allclose(net.fc(seen.features), seen.logits)
    assert seen.features.shape == (6, net.fc.in_features)


def test_statistics_are_those_of_every_batch_norms_input_in_order(observer: Observer, images: Tensor) -> None:
    seen = observer(images, needs=ALL)
    assert len(seen.statistics) == len(observer.batch_norms) == 3
    net: Any = observer.teacher.net
    first = net.stages[0][0](observer.teacher.network_units(images)).double()
    assert torch.allclose(seen.statistics[0].mean.double(), first.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(seen.statistics[0].variance.double(), first.var((0, 2, 3), correction=0), atol=1e-4)
    for layer, found in zip(observer.batch_norms, seen.statistics, strict=True):
        assert found.running_mean is layer.running_mean
        assert found.running_variance is layer.running_var


def test_the_student_that_is_seen_is_the_one_given(observer: Observer, images: Tensor) -> None:
    observer.student.eval()
    assert torch.equal(observer(images, needs=ALL).student, observer.student(images))


@pytest.mark.parametrize("graph", [True, False])
def test_the_gradient_reaches_the_images_only_with_a_graph(observer: Observer, images: Tensor, graph: bool) -> None:
    seen = observer(images.requires_grad_(), needs=ALL, graph=graph)
    for found in (seen.logits, seen.features, seen.statistics[0].mean):
        assert found.requires_grad is graph
    assert seen.student.requires_grad


def test_maps_are_what_each_stage_of_both_networks_gives(observer: Observer, images: Tensor) -> None:
    observer.student.eval()
    seen = observer(images, needs=frozenset({"maps"}))
    assert [each.shape[2] for each in seen.maps] == [each.shape[2] for each in seen.student_maps] == [16, 8, 4]
    both: list[tuple[Any, list[Tensor]]] = [(observer.teacher, seen.maps), (observer.student, seen.student_maps)]
    for model, maps in both:
        assert torch.equal(maps[0], model.net.stages[0](model.network_units(images)))
        assert torch.equal(model.net.fc(maps[-1].mean((2, 3))), seen.logits if maps is seen.maps else seen.student)
    assert not any(each.requires_grad for each in seen.maps)
    assert all(each.requires_grad for each in seen.student_maps)


class Layered(nn.Module):
    """A network in the style of torchvision's ResNet, with as many layers as it is given."""

    def __init__(self, layers: int):
        super().__init__()
        for place in range(layers):
            self.add_module(f"layer{place + 1}", nn.Conv2d(1, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x.flatten(1)


def layered(layers: int) -> Classifier:
    return Classifier(Layered(layers), [0.5], [0.5])


@pytest.mark.parametrize("layers", [3, 4])
def test_the_stages_are_layer1_to_layer4_where_there_are_no_stages(images: Tensor, layers: int) -> None:
    observer = Observer(Frozen(Layered(layers), [0.5], [0.5]), layered(layers))
    seen = observer(images, needs=frozenset({"maps"}), graph=True)
    assert len(seen.maps) == len(seen.student_maps) == layers
    assert torch.equal(seen.maps[-1].flatten(1), seen.logits)
    assert torch.equal(seen.student_maps[-1].flatten(1), seen.student)


@pytest.mark.parametrize(
    ("of_teacher", "of_student", "words"),
    [(0, 3, "the teacher has neither"), (3, 0, "the student has neither"), (4, 3, "4 stages, the student 3")],
)
def test_a_method_that_compares_maps_says_when_it_cannot(of_teacher: int, of_student: int, words: str) -> None:
    teacher = Frozen(Layered(of_teacher), [0.5], [0.5])
    context = MethodContext(teacher, Observer(teacher, layered(of_student)), (1, 16, 16), classes=10, rounds=1)
    with pytest.raises(RecipeError, match=words):
        _ = context.stages


def logit_of(model: Any, maps: Tensor, after: int, class_: Tensor) -> Tensor:
    """Each sample's logit [N] of its class, from the map after a stage of a ConvNet."""
    for stage in model.net.stages[after + 1 :]:
        maps = stage(model.net.pool(maps))
    return model.net.fc(maps.mean((2, 3))).gather(1, class_[:, None])[:, 0]


@pytest.mark.parametrize("graph", [True, False])
def test_gradients_are_those_of_the_logit_of_the_teachers_class_in_both_networks(
    observer: Observer, images: Tensor, graph: bool
) -> None:
    observer.student.eval()
    seen = observer(images.requires_grad_(), needs=frozenset({"gradients"}), graph=graph)
    class_ = seen.logits.argmax(1)
    assert not torch.equal(class_, seen.student.argmax(1)), "the student's own classes must differ to tell them apart"
    both = (observer.teacher, seen.maps, seen.gradients), (observer.student, seen.student_maps, seen.student_gradients)
    for model, maps, gradients in both:
        assert [each.shape for each in gradients] == [each.shape for each in maps]
        assert not any(each.requires_grad for each in gradients)
        for stage, (found, gradient) in enumerate(zip(maps, gradients, strict=True)):
            leaf = found.detach().requires_grad_()
            (wanted,) = torch.autograd.grad(logit_of(model, leaf, stage, class_).sum(), leaf)
            assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-7)
    assert all(each.requires_grad for each in seen.student_maps)
    assert all(each.requires_grad is graph for each in (seen.logits, *seen.maps))


def test_asking_for_gradients_changes_nothing_else_and_leaves_none_in_the_networks(
    observer: Observer, images: Tensor
) -> None:
    observer.student.eval()
    plain, seen = observer(images, needs=ALL), observer(images, needs=ALL | {"gradients"})
    assert plain.gradients == plain.student_gradients == []
    assert torch.equal(plain.logits, seen.logits)
    assert torch.equal(plain.student, seen.student)
    for one, other in ((plain.maps, seen.maps), (plain.student_maps, seen.student_maps)):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    parameters = (*observer.teacher.parameters(), *observer.student.parameters())
    assert not [each for each in parameters if each.grad is not None]
    with torch.no_grad():
        assert len(observer(images, needs=frozenset({"gradients"})).student_gradients) == 3


def test_the_heads_are_the_last_linear_layers_of_both_networks(observer: Observer) -> None:
    assert observer.heads == (observer.teacher.net.fc, observer.student.net.fc)
    several = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4), nn.ReLU())
    assert Observer(Frozen(several, [0.5], [0.5]), nn.Identity()).heads == (several[1], None)


LAST = frozenset({"last_maps"})


@pytest.mark.parametrize("name", ["convnet_8", "wrn16_1", "resnet18", "vgg11", "resnet8_b"])
def test_last_maps_are_what_the_classifier_reads_the_spatial_means_of(name: str, images: Tensor) -> None:
    torch.manual_seed(0)
    nets_ = [nets.classifier(name, 1, 10) for _ in range(2)]
    observer = Observer(Frozen(nets_[0], [0.5], [0.5]), Classifier(nets_[1], [0.5], [0.5]).eval())
    seen = observer(images, needs=LAST | {"features", "maps"})
    assert torch.allclose(seen.last_maps.mean((2, 3)), seen.features, atol=1e-6)
    assert torch.allclose(observer.heads[1](seen.student_last_maps.mean((2, 3))), seen.student, atol=1e-5)
    is_last_stage = torch.equal(seen.last_maps, seen.maps[-1])
    assert is_last_stage is not name.startswith("wrn"), "a WRN's are behind its last batch norm and ReLU"
    assert not seen.last_maps.requires_grad
    assert seen.student_last_maps.requires_grad
    alone = observer(images, needs=LAST)
    assert torch.equal(alone.last_maps, seen.last_maps)
    assert (alone.maps, alone.features) == ([], None)


@pytest.mark.parametrize("graph", [True, False])
def test_gradients_beside_them_leave_the_last_maps_as_they_are(observer: Observer, images: Tensor, graph: bool) -> None:
    observer.student.eval()
    plain = observer(images, needs=LAST)
    seen = observer(images.requires_grad_(), needs=LAST | {"gradients"}, graph=graph)
    assert torch.equal(plain.last_maps, seen.last_maps)
    assert torch.equal(plain.student_last_maps, seen.student_last_maps)
    assert seen.last_maps.requires_grad is graph


class Squeezing(nn.Module):
    """A network of a user's own: pools by a function, and by a module inside its only stage."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
        self.stages[0].squeeze = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        stage: Any = self.stages[0]
        x = stage[1](stage[0](x))
        return self.fc((x + stage.squeeze(x)).mean((2, 3)))


def test_where_a_network_pools_by_a_function_the_last_maps_are_those_of_its_last_stage() -> None:
    squeezing, bare = Squeezing(), nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 10))
    found = last_maps_of(squeezing, stages_of(squeezing), head_of(squeezing))
    assert found is not None
    assert (found.module, found.goes_in) == (squeezing.stages[-1], False)
    assert last_maps_of(bare, [], head_of(bare)) is None
    behind = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    inside = last_maps_of(behind, [], head_of(behind))
    assert inside is not None
    assert (inside.module, inside.goes_in) == (behind[1], True)


def test_every_image_is_counted(observer: Observer, images: Tensor) -> None:
    observer(images)
    observer(images[:2], needs=ALL)
    assert observer.queries == 8


def test_a_failing_pass_leaves_no_recording_open(observer: Observer) -> None:
    with pytest.raises(RuntimeError):
        observer(torch.rand(2, 5, 16, 16), needs=ALL)
    assert observer._observation is None


def test_a_frozen_network_cannot_be_set_to_train() -> None:
    norm = nn.BatchNorm2d(1)
    frozen = Frozen(nn.Sequential(norm, nn.Dropout()), [0.5], [0.5])
    nn.Sequential(frozen).train()
    frozen.train(True)
    assert not [module for module in frozen.modules() if module.training]
    before = norm.running_mean.clone()
    frozen(torch.rand(4, 1, 2, 2))
    assert torch.equal(norm.running_mean, before)


def test_normalization_is_per_channel_and_not_part_of_the_weights() -> None:
    model = Classifier(nn.Identity(), [0.1, 0.2], [0.5, 2.0])
    found = model.network_units(torch.full((1, 2, 1, 1), 0.6)).flatten().tolist()
    assert found == pytest.approx([1.0, 0.2])
    assert not model.state_dict()
