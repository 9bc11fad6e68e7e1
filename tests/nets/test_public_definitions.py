"""Every network of ours that shares its tensors with public code computes what that code computes, and says so."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dfkd_lab import RunFolder, RunSpec, nets, teachers
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.spec import record
from tests.reference import nets as public
from tests.support import ROOT

pytestmark = pytest.mark.slow

Weights = Mapping[str, Tensor]
Definition = Callable[[Tensor, Weights], Tensor]


def respelt(*changes: tuple[str, str]) -> Callable[[str], str]:
    def theirs(name: str) -> str:
        for old, new in changes:
            name = re.sub(old, new, name)
        return name

    return theirs


def in_blocks(name: str) -> str:
    """The toolbox's VGG counts layers from 0 in each block."""
    begins = {"vgg11": (0, 4, 8, 15, 22), "vgg16": (0, 7, 14, 24, 34)}
    found = re.match(r"(vgg\d+) stages\.(\d)\.(\d+)\.(.*)", name)
    if not found:
        return name.partition(" ")[2].replace("fc.", "classifier.")
    stage = int(found[2])
    return f"block{stage}.{int(found[3]) - begins[found[1]][stage]}.{found[4]}"


def mobilenets(name: str) -> str:
    name = name.replace("stem.", "features.0.").replace("fc.", "classifier.1.")
    return re.sub(r"^stages\.\d\.", "features.", name)


def shufflenets(name: str) -> str:
    name = name.replace("stem.", "conv1.")
    if found := re.match(r"stages\.2\.(\d+)\.(.*)", name):
        place = int(found[1])
        return f"stage4.{place}.{found[2]}" if place < 4 else f"conv5.{place - 4}.{found[2]}"
    return re.sub(r"^stages\.(\d)", lambda found: f"stage{int(found[1]) + 2}", name)


def kuangliu_shufflenets(name: str) -> str:
    name = shufflenets(name).replace("fc.", "linear.")
    for theirs, stem in (("conv1.", "1"), ("conv5.", "2")):
        name = name.replace(f"{theirs}0.", f"conv{stem}.").replace(f"{theirs}1.", f"bn{stem}.")
    found = re.match(r"stage(\d)\.(\d+)\.branch(\d)\.(\d)\.(.*)", name)
    if not found:
        return name
    first = {"0": "conv1", "1": "bn1", "2": "conv2", "3": "bn2"}
    plain = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2", "5": "conv3", "6": "bn3"}
    halving = {"0": "conv3", "1": "bn3", "3": "conv4", "4": "bn4", "5": "conv5", "6": "bn5"}
    layers = first if found[3] == "1" else halving if found[2] == "0" else plain
    return f"layer{int(found[1]) - 1}.{found[2]}.{layers[found[4]]}.{found[5]}"


same: Callable[[str], str] = respelt()
akamasters = respelt((r"^fc", "linear"))
shortcuts = respelt((r"\.downsample\.", ".shortcut."), (r"^fc", "linear"))
wrns = respelt((r"^layer(\d)", r"block\1.layer"), (r"\.shortcut\.", ".convShortcut."))
kuangliu_vggs = respelt((r"^stages\.\d", "features"), (r"^fc", "classifier"))
lenets = respelt((r"^stages\.0\.0", "conv1"), (r"^stages\.1\.0", "conv2"), (r"^stages\.2\.0", "conv3"), (r"^fc", "fc2"),
                 (r"^f6", "fc1"))  # fmt: skip

DEFINITIONS: list[tuple[str, Definition, Callable[[str], str], int]] = [
    *((f"resnet{depth}", public.akamaster_resnet, akamasters, 32) for depth in (8, 14, 20, 32, 44, 56, 110)),
    *((f"resnet{depth}_b", public.chenyaofo_resnet, same, 32) for depth in (8, 14, 20, 32, 44, 56, 110)),
    *((f"resnet{depth}", public.kuangliu_resnet, shortcuts, 32) for depth in (18, 34, 50)),
    *((f"resnet{depth}_maxpool", public.huyvnphan_resnet, same, 32) for depth in (18, 34, 50)),
    *((name, public.xternalz_wrn, wrns, 32) for name in ("wrn16_1", "wrn16_2", "wrn40_1", "wrn40_2")),
    *((name, public.toolbox_vgg, in_blocks, side) for name in ("vgg11", "vgg16") for side in (32, 64)),
    *((name, public.kuangliu_vgg, kuangliu_vggs, 32) for name in ("vgg11_5pool", "vgg16_5pool")),
    ("mobilenet_v2", public.chenyaofo_mobilenet, mobilenets, 32),
    ("shufflenet_v2", public.chenyaofo_shufflenet, shufflenets, 32),
    ("shufflenet_v2", public.kuangliu_shufflenet, kuangliu_shufflenets, 32),
    ("lenet5", public.dafl_lenet, lenets, 32),
    ("lenet5_half", public.dafl_lenet, lenets, 32),
]
"""A network of ours, the public definition, how that spells our names, and the side of the images."""


def trained(name: str, channels: int) -> nn.Module:
    """A network in eval mode whose batch norms remember something, in 64 bits."""
    torch.manual_seed(3)
    net = nets.classifier(name, channels, 10).double().eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, 0, 0.2)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)  # so that logits are far from equal
    return net


def in_their_names(name: str, net: nn.Module, spelt: Callable[[str], str]) -> Weights:
    about = f"{name} " if spelt is in_blocks else ""
    return {spelt(about + key): value for key, value in net.state_dict().items()}


DEEPER = ("resnet32", "resnet44", "resnet56", "resnet110", "resnet34", "vgg16", "wrn40_1")
"""Networks that are others of the table with more blocks; how many, the parameters say in test_nets.py."""


@pytest.mark.parametrize(
    ("name", "definition", "spelt", "side"),
    [pytest.param(*row, marks=[pytest.mark.long] if row[0].startswith(DEEPER) else []) for row in DEFINITIONS],
)
def test_logits_are_those_of_the_public_definition(
    name: str, definition: Definition, spelt: Callable[[str], str], side: int
) -> None:
    channels = 1 if name.startswith("lenet") else 3
    net, images = trained(name, channels), torch.randn(2, channels, side, side, dtype=torch.float64)
    with torch.no_grad():
        found, wanted = net(images), definition(images, in_their_names(name, net, spelt))
    assert float(wanted.std()) > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


def load(path: Path, net: str = "") -> teachers.Teacher:
    return teachers.load(f"{net}@{path}" if net else str(path), normalization="half")


def saved(weights: Weights, path: Path) -> Path:
    torch.save({key: value.float() if value.is_floating_point() else value for key, value in weights.items()}, path)
    return path


FEW = ("resnet20", "resnet20_b", "resnet18", "resnet18_maxpool", "wrn16_2", "vgg11", "vgg11_5pool", "mobilenet_v2",
       "shufflenet_v2", "lenet5", "lenet5_half")  # fmt: skip
BARE = [row for row in DEFINITIONS if row[3] == 32 and row[0] in FEW]
UNDECIDED = {
    "resnet18_maxpool": ("resnet18", "resnet18_maxpool"),
    "mobilenet_v2": ("mobilenet_v2", "torchvision:mobilenet_v2"),
}
"""Public names that are also those of another network, and the two."""


@pytest.mark.parametrize(("name", "definition", "spelt", "side"), BARE)
def test_a_published_file_computes_what_it_computed_for_its_authors(
    name: str, definition: Definition, spelt: Callable[[str], str], side: int, tmp_path: Path
) -> None:
    channels = 1 if name.startswith("lenet") else 3
    net = trained(name, channels)
    path = saved(in_their_names(name, net, spelt), tmp_path / "published.pth")
    undecided = UNDECIDED.get(name, ())
    if spelt is shufflenets:
        undecided = ("shufflenet_v2", "torchvision:shufflenet_v2_x1_0")
    if undecided:
        with pytest.raises(SpecError) as error:
            load(path)
        assert all(f"{each}@FILE" in str(error.value) for each in undecided)
        assert "\n" not in str(error.value)
    teacher = load(path, name if undecided else "")
    assert teacher.card.net == name
    images = torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        wanted = net.float()(teacher.model.network_units(images))
    torch.testing.assert_close(teacher.model(images), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_the_two_vggs_compute_something_else_with_the_same_tensors() -> None:
    three, images = trained("vgg11", 3), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    five: Any = trained("vgg11_5pool", 3)
    five.load_state_dict(three.state_dict())
    assert not torch.allclose(three(images), five(images), rtol=0.1)


UNKNOWN = {
    "ours without a card": ("vgg11", same, "fits 'vgg11' and 'vgg11_5pool'"),
    "unknown": ("vgg16", respelt((r"^stages\.\d", "body"), (r"^fc", "head")), "say vgg16@FILE or vgg16_5pool@FILE"),
    "other gaps": (
        "vgg11",
        respelt((r"^stages\.\d\.", "features.9"), (r"^fc", "classifier")),
        "say vgg11@FILE or vgg11_5pool@FILE",
    ),
    "torchvision's names": ("resnet18", same, "say resnet18@FILE or resnet18_maxpool@FILE"),
    "option A": (
        "resnet20",
        respelt((r"^layer(\d)", r"stage_\1"), (r"conv(\d)", r"conv_\1")),
        "if it is ours, say resnet20@FILE",
    ),
    "tutorial": (
        "lenet5",
        respelt((r"^stages\.(\d)\.0", r"extractor.\1"), (r"^f6", "classifier.0"), (r"^fc", "classifier.2")),
        "other code has tanh and mean pooling in it",
    ),
}
"""A network, names for its tensors that do not decide, and what is said of them."""


@pytest.mark.parametrize(("name", "change", "words"), UNKNOWN.values(), ids=UNKNOWN)
def test_names_that_do_not_decide_are_refused_until_a_person_does(
    name: str, change: Callable[[str], str], words: str, tmp_path: Path
) -> None:
    net = trained(name, 3)
    path = saved({change(key): value for key, value in net.state_dict().items()}, tmp_path / "unknown.pth")
    with pytest.raises(SpecError) as error:
        load(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert load(path, name).card.net == name


def test_a_network_that_is_not_the_one_of_the_names_is_refused(tmp_path: Path) -> None:
    net = trained("vgg11_5pool", 3)
    path = saved(in_their_names("vgg11_5pool", net, kuangliu_vggs), tmp_path / "kuangliu.pth")
    with pytest.raises(SpecError, match="has the names of 'vgg11_5pool', and 'vgg11' computes something else"):
        load(path, "vgg11")
    other = saved(in_their_names("vgg11", net, in_blocks), tmp_path / "toolbox.pth")
    with pytest.raises(SpecError, match="has the names of 'vgg11', and 'vgg11_5pool' computes something else"):
        load(other, "vgg11_5pool")
    assert load(path, "vgg11_5pool").card.net == "vgg11_5pool"


@pytest.mark.parametrize(("revision", "computes"), [(0, "vgg11_5pool"), (1, "vgg11")])
def test_a_card_from_before_vgg_was_redefined_means_the_network_it_was_written_for(
    revision: int, computes: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.safetensors"
    card = teachers.Card("vgg11", 10, (3, 32, 32), (0.5,), (0.25,))
    teachers.save(Classifier(trained("vgg11", 3).float(), card.mean, card.std), card, path)
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["dfkd_lab"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    assert facts.pop("revision") == 1
    if revision == 0:
        save_file(weights, path, metadata={"dfkd_lab": json.dumps(facts)})
    teacher = teachers.load(path)
    assert teacher.card.net == computes
    images, net = torch.rand(2, 3, 32, 32), nets.classifier(computes, 3, 10)
    net.load_state_dict(weights)
    with torch.no_grad():
        assert torch.equal(teacher.model(images), net.eval()(teacher.model.network_units(images)))
    assert teachers.load(f"vgg11@{path}", "half").card.net == "vgg11"


def test_a_run_from_before_vgg_was_redefined_goes_on_with_the_student_it_had(make_spec: Callable[..., RunSpec]) -> None:
    sizes = {"student": "vgg11", "rounds": 1}
    folder = RunFolder.of(make_spec(**sizes))
    folder.path.mkdir(parents=True)
    (folder.path / "spec.yaml").write_text(yaml.safe_dump(record(make_spec(**sizes))))
    assert folder.spec().student == "vgg11", "not begun"
    manifest = folder.path / "manifest.json"
    for student, means in (({"net": "vgg11"}, "vgg11_5pool"), ({"net": "vgg11", "revision": 1}, "vgg11")):
        manifest.write_text(json.dumps({"student": student}))
        assert folder.spec().student == means


ROWS = re.findall(r"^\| (`.*?) \| (.*?) \|(.*)\|$", (ROOT / "docs" / "networks.md").read_text(), re.M)
CODE: dict[Definition, str] = {
    public.akamaster_resnet: "akamaster",
    public.chenyaofo_resnet: "chenyaofo",
    public.kuangliu_resnet: "kuangliu",
    public.huyvnphan_resnet: "huyvnphan",
    public.xternalz_wrn: "xternalz",
    public.toolbox_vgg: "toolbox",
    public.kuangliu_vgg: "kuangliu",
    public.chenyaofo_mobilenet: "chenyaofo",
    public.chenyaofo_shufflenet: "chenyaofo",
    public.kuangliu_shufflenet: "kuangliu",
    public.dafl_lenet: "DAFL",
}


def test_the_documented_table_names_every_network_once_and_what_is_tested_here() -> None:
    named = {name: equals for names, equals, _ in ROWS for name in re.findall(r"`(\w+)`", names)}
    assert sorted(named) == sorted(nets.NETWORKS)
    assert len(named) == sum(len(re.findall(r"`(\w+)`", names)) for names, *_ in ROWS)
    tested = {name for name, *_ in DEFINITIONS}
    assert {name for name, equals in named.items() if equals != "ours"} == tested
    for name, definition, *_ in DEFINITIONS:
        assert CODE[definition] in named[name]


def test_definitions_do_not_call_the_library() -> None:
    assert not re.search(r"^(from|import) (dfkd_lab|torchvision)", inspect.getsource(public), re.M)
