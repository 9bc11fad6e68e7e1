"""What a run will take in memory is estimated before it starts; one that does not fit is refused or ends in words."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dfkd_lab import data
from dfkd_lab.__main__ import main
from dfkd_lab.engine import metrics
from dfkd_lab.engine.loop import Run
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.methods import METHODS
from dfkd_lab.primitives.batch import Batch
from dfkd_lab.primitives.memories import ImageBuffer
from dfkd_lab.runs import Session, memory_estimate, resolve, session
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.memory_estimate import MemoryEstimate, amount, estimate, explained, out_of_memory
from dfkd_lab.spec import RunSpec
from dfkd_lab.system import device

pytestmark = pytest.mark.slow

MakeSpec = Callable[..., RunSpec]
CPU = torch.device("cpu")


def estimated(spec: RunSpec, images: torch.Tensor | None = None) -> MemoryEstimate:
    return estimate(resolve(spec).composed, images, 0, None)


def test_a_buffer_is_known_to_the_byte(make_spec: MakeSpec, held_out: data.Split) -> None:
    small, large = (
        estimated(make_spec("fast", settings={"capacity": capacity}), held_out.images) for capacity in (40, 1040)
    )
    assert large.parts["memory"] - small.parts["memory"] == 1000 * (16 * 16 + 8 + 8 + 4)  # pixels, classes, birth
    assert large.needed - small.needed == 1000 * (16 * 16 + 20)
    assert large.parts["evaluation"] == held_out.images.nbytes


def test_activations_grow_with_the_batch_and_networks_with_the_width(make_spec: MakeSpec) -> None:
    one, twice, wide = (
        estimated(make_spec("fast", settings=settings)).parts
        for settings in ({"batch": 16}, {"batch": 32}, {"batch": 16, "width": 16})
    )
    assert twice["activations"] == 2 * one["activations"]
    assert twice["networks"] == one["networks"] < wide["networks"]


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_was_estimated_is_the_same_run(make_spec: MakeSpec, name: str) -> None:
    spec = make_spec(name)
    plain, looked = resolve(spec).composed, resolve(spec).composed
    ambient, modes = torch.get_rng_state(), [each.training for each in looked.teacher.modules()]
    assert estimate(looked, None, 0, None).parts["activations"] > 0
    assert torch.equal(torch.get_rng_state(), ambient)
    assert [each.training for each in looked.teacher.modules()] == modes
    assert all(map(torch.equal, plain.rng.state_dict().values(), looked.rng.state_dict().values()))
    for mine, other in zip(plain.recipe.modules().values(), looked.recipe.modules().values(), strict=True):
        states = [dict(each.state_dict()) for each in (mine, other)]
        values = {key: value for key, value in states[0].items() if torch.is_tensor(value) and "maps_" not in key}
        assert all(torch.equal(value, states[1][key]) for key, value in values.items())


def test_a_process_takes_about_what_was_expected(tmp_path: Path) -> None:
    settings = {
        "batch": 256,
        "width": 64,
        "g-steps": 1,
        "s-steps": 2,
        "warm-up": 0,
        "rounds": 1,
        "precision": "fp32",
        "out": tmp_path / "run",
    }
    flags = [f"--{name}={value}" for name, value in settings.items()]
    subprocess.run([sys.executable, "-m", "dfkd_lab", "run", "fast", *flags], check=True, capture_output=True)
    folder = RunFolder(tmp_path / "run")
    memory, real = folder.manifest()["memory"], folder.reports()[0].cost.peak_memory_bytes
    assert memory["parts"]["activations"] > 100e6
    assert 0.5 < memory["expected_bytes"] / real < 1.3


# refusing


def test_what_does_not_fit_is_refused_before_anything_runs(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "free_memory", lambda device: 20_000_000)
    with pytest.raises(SpecError) as refused:
        Session(make_spec("ssd_kd", settings={"capacity": 200_000}))
    assert "are free; capacity = 200000 alone takes" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("parts", "settings", "said"),
    [
        ({"memory": 9, "activations": 1}, {"capacity": 7}, "capacity = 7 alone takes 9.0 GB"),
        ({"memory": 1, "activations": 9}, {"batch": 64}, "batch = 64 alone takes"),
        ({"memory": 9, "networks": 1}, {"batch": 64}, "its memory alone takes"),
        ({"evaluation": 9, "networks": 1}, {"width": 64}, "its evaluation alone takes"),
    ],
)
def test_the_largest_part_is_named(parts: dict[str, int], settings: dict[str, int], said: str) -> None:
    gigabytes = {name: size * 10**9 for name, size in parts.items()}
    with pytest.raises(SpecError, match=said):
        MemoryEstimate(gigabytes, 0, 5 * 10**9).check(settings)
    MemoryEstimate(gigabytes, 0, 10 * 10**9).check(settings)
    MemoryEstimate(gigabytes, 0, None).check(settings)


def test_what_cannot_even_be_composed_is_refused_in_one_sentence(make_spec: MakeSpec) -> None:
    with pytest.raises(
        SpecError, match=r"out of memory: this run needs [\d.]+ GB in one piece.*lower capacity = "
    ) as it:
        make_spec("spaceshipnet", settings={"capacity": 10_000_000, "width": 256})
    assert "\n" not in str(it.value)


OUT_OF_MEMORY = {
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ..."),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to "
                        "allocate 2500000000 bytes. Error code 12"),
    "python": MemoryError(),
}  # fmt: skip


@pytest.mark.parametrize("where", OUT_OF_MEMORY)
def test_memory_that_runs_out_in_a_round_ends_it_with_a_sentence_and_what_is_kept(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    advance = Run.advance

    def run_out(run: Run) -> Any:
        if run.round == 2:
            raise OUT_OF_MEMORY[where]
        return advance(run)

    monkeypatch.setattr(Run, "advance", run_out)
    spec = make_spec("fast", rounds=3)
    with pytest.raises(RunError, match=r"out of memory: .*lower capacity = 40 or batch = 16 or width = 8; round") as it:
        list(begun := Session(spec))
    assert "\n" not in str(it.value)
    assert begun.folder.status()["state"] == "failed"
    monkeypatch.undo()
    assert [report.round for report in Session(spec)][-1] == 3


def test_other_errors_stay_what_they_are() -> None:
    error = RuntimeError("something else")
    assert out_of_memory(error, {"capacity": 3}) == ""
    with pytest.raises(RuntimeError, match="something else"), explained({}):
        raise error


def test_amounts_are_in_the_unit_that_fits() -> None:
    assert [amount(size) for size in (61_200_000_000, 350_000_000, 3_400_000)] == ["61.2 GB", "0.3 GB", "3.4 MB"]


# showing


def test_manifest_and_command_line_show_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["run", "dafl", "--rounds", "1", "--cycles", "2", "--batch", "16", "--out", str(folder)]) == 0
    memory = RunFolder(folder).manifest()["memory"]
    assert (
        0 < sum(memory["parts"].values()) < memory["expected_bytes"] < memory["free_bytes"] + memory["expected_bytes"]
    )
    assert f"needs about {amount(sum(memory['parts'].values()))}, " in capsys.readouterr().err


def test_free_and_used_memory_are_those_of_this_machine() -> None:
    held = torch.ones(50_000_000, dtype=torch.uint8)
    assert len(held) < device.used_memory(CPU) <= 1.1 * device.peak_memory(CPU)
    free = device.free_memory(CPU)
    assert free is None or free > 0


def test_without_psutil_memory_is_unknown_and_a_run_goes_on(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert device.free_memory(CPU) is None
    begun = Session(make_spec("dafl"))
    assert "free" not in str(begun.memory)
    assert len(list(begun)) == 2
    assert memory_estimate.MemoryEstimate({}, 0, None).record()["free_bytes"] is None


def test_the_peak_is_of_this_process_and_not_of_the_one_that_started_it() -> None:
    held = torch.ones(1_000_000_000, dtype=torch.uint8)
    code = "import torch; from dfkd_lab.system.device import peak_memory; print(peak_memory(torch.device('cpu')))"
    peak = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert 0 < peak < len(held)


GPU = torch.device("cuda")
"""Only its name is looked at here."""


@pytest.mark.parametrize(
    ("buffer_on", "free", "at_hand", "wanted"),
    [
        ("auto", 10**12, 10**12, "device"),
        ("auto", None, 10**12, "device"),
        ("auto", 1000, 10**12, "host"),
        ("auto", 1000, None, "host"),
        ("auto", 1000, 2000, "device"),
        ("host", 10**12, 10**12, "host"),
        ("device", 1000, 10**12, "device"),
    ],
)
def test_a_buffer_goes_to_the_host_where_it_does_not_fit_on_the_device(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, buffer_on: str, free: int | None, at_hand: int | None,
    wanted: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(memory_estimate, "free_memory", lambda where: at_hand)
    composed = resolve(make_spec("ssd_kd")).composed
    composed.autocast.device = GPU
    found = memory_estimate.place(composed, buffer_on, None, 0, free)
    assert found.buffer_on == found.record()["buffer_on"] == wanted
    assert getattr(composed.recipe.memory, "on_host") == (wanted == "host")  # noqa: B009
    whole = estimated(make_spec("ssd_kd")).parts["memory"]
    assert found.parts["memory"] == whole - (40 * 16 * 16 if wanted == "host" else 0)


def test_a_host_without_room_and_a_memory_without_images_are_refused(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_estimate, "free_memory", lambda where: 2000)
    for name, sentence in (("fast", r"buffer_on = 'host' needs .* lower capacity = 40"), ("dafl", r"no buffer of im")):
        composed = resolve(make_spec(name)).composed
        composed.autocast.device = GPU
        with pytest.raises(SpecError, match=sentence):
            memory_estimate.place(composed, "host", None, 0, 10**12)


def test_a_buffer_that_is_none_is_refused_by_the_plan(
    make_spec: MakeSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--buffer-on", "host", "--data", "none", "--out", str(tmp_path / "run")]
    assert main(["run", "dafl", *words]) == 2
    sentence = "buffer_on = 'host', and Live is no buffer of images; allowed: 'auto' or 'device'"
    assert capsys.readouterr().err == f"{sentence}\n"
    assert not (tmp_path / "run").exists()
    with pytest.raises(SpecError, match="CachedViews is no buffer of images"):
        resolve(make_spec("fast", buffer_on="host", cache_views=2))
    assert resolve(make_spec("fast", buffer_on="host")).buffer_on == "host"


def test_a_buffer_on_the_host_is_read_and_written_as_one_on_the_device() -> None:
    there, here = (ImageBuffer(6, (1, 4, 4)) for _ in range(2))
    there.on_host = True
    for number in range(3):
        batch = Batch(torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(number)), torch.arange(4))
        for buffer in (there, here):
            buffer.to(CPU).write(batch)
    torch.manual_seed(0)
    one = there.read(8, lambda n: pytest.fail("nothing is drawn"))
    torch.manual_seed(0)
    other = here.read(8, lambda n: pytest.fail("nothing is drawn"))
    assert torch.equal(one.images, other.images)
    assert one.labels is not None
    assert other.labels is not None
    assert torch.equal(one.labels, other.labels)
    moved = ImageBuffer(6, (1, 4, 4))
    moved.on_host = True
    moved._apply(lambda tensor: tensor + 1)  # as a move to a device does
    assert (int(moved.images.max()), int(moved.labels.max())) == (0, 0), "the images alone stay where they are"


def test_a_large_evaluation_set_stays_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    monkeypatch.setattr(metrics, "KEPT_BYTES", 15)
    assert metrics.kept_bytes(images, GPU) == 0
    assert metrics.kept_bytes(images, CPU) == 16
    monkeypatch.setattr(metrics, "KEPT_BYTES", 16)
    assert metrics.kept_bytes(images, GPU) == 16
