"""What a run will take in memory is known before it starts, and a run that does not fit is refused."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dfkd_lab import data, footprint, machine
from dfkd_lab.__main__ import main
from dfkd_lab.footprint import Footprint, amount, footprint_of
from dfkd_lab.loop import Run
from dfkd_lab.methods import METHODS
from dfkd_lab.primitives.memory import Batch, ImageRing
from dfkd_lab.recipe import Weighted
from dfkd_lab.rehearsal import Live, rehearse
from dfkd_lab.runs import RunFolder
from dfkd_lab.session import Session
from dfkd_lab.spec import RunSpec, SpecError

MakeRun = Callable[..., Run]
MakeSpec = Callable[..., RunSpec]
CPU = torch.device("cpu")


def test_live_bytes_are_those_of_what_is_still_held() -> None:
    old = torch.zeros(1000)
    with Live() as live:
        held = old + 1
        assert live.bytes == 4000
        view, again = held[:10], held * 2
        assert live.bytes == 8000
        del held
        assert live.bytes == 8000  # the view holds all of it
        del view
        assert live.bytes == 4000
        old.add_(1)
        again.mul_(2)
        assert live.bytes == 4000
    assert max(live.history) == 8000


def test_a_buffer_is_known_to_the_byte(make_run: MakeRun, held_out: data.Split) -> None:
    small, large = (footprint_of(make_run("fast", capacity=capacity), 0, None) for capacity in (40, 1040))
    assert large.parts["memory"] - small.parts["memory"] == 1000 * (16 * 16 + 8 + 8 + 4)  # pixels, classes, birth
    assert large.needed - small.needed == 1000 * (16 * 16 + 20)
    assert large.parts["evaluation"] == held_out.images.nbytes


@pytest.mark.parametrize("name", METHODS)
def test_the_line_through_two_small_rehearsals_meets_a_larger_one(make_run: MakeRun, name: str) -> None:
    sizes = {each: 32 for each in ("batch", "s_batch", "replayed") if hasattr(METHODS[name](), each)}
    run = make_run(name, **sizes)
    run.evaluate = None
    real = max(max(history, default=0) for _, history in rehearse(run, 32))
    assert 0.8 * real < sum(footprint._peak(run)) < 1.25 * real


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
    memory, real = folder.manifest()["memory"], folder.events()[0]["cost"]["peak_memory_bytes"]
    assert memory["parts"]["activations"] > 100e6
    assert 0.6 < memory["expected_bytes"] / real < 1.2


def state(run: Run) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in run.student.state_dict().items()}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_was_looked_at_is_the_same_run(make_run: MakeRun, name: str) -> None:
    plain, looked = make_run(name), make_run(name)
    ambient, teacher = torch.get_rng_state(), looked.teacher.training
    footprint_of(looked, 0, None)
    assert torch.equal(torch.get_rng_state(), ambient)
    assert looked.observer.queries == 0
    assert looked.teacher.training is teacher
    assert all(each.grad is None for each in looked.student.parameters())
    reports = [[report.terms, report.student] for run in (plain, looked) for report in run]
    assert reports[:2] == reports[2:]
    assert all(torch.equal(one, state(looked)[key]) for key, one in state(plain).items())


def test_looking_takes_no_memory_for_a_large_buffer(make_run: MakeRun) -> None:
    run = make_run("ssd_kd", capacity=100_000)  # 26 MB
    ring = run.recipe.memory
    assert isinstance(ring, ImageRing)
    ring.write(Batch(torch.ones(5, 1, 16, 16)))
    kept = ring.images.clone()
    with Live() as live:
        rehearse(run, 2)
    assert torch.equal(ring.images, kept)
    assert len(ring) == 5
    assert max(live.history) < 100_000_000


# refusing


def test_what_does_not_fit_is_refused_before_anything_runs(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda device: 20_000_000)
    with pytest.raises(SpecError) as refused:
        Session(make_spec("ssd_kd", settings={"capacity": 200_000}))
    assert "this run needs about " in str(refused.value)
    assert "and 20.0 MB are free; capacity = 200000 alone takes 5" in str(refused.value)
    assert not (tmp_path / "run").exists()
    assert len(list(Session(make_spec("ssd_kd", settings={"capacity": 2000})))) == 2


@pytest.mark.parametrize(
    ("parts", "settings", "said"),
    [
        ({"memory": 9, "activations": 1}, {"capacity": 7}, "capacity = 7 alone takes 9000.0 MB"),
        ({"memory": 1, "activations": 9}, {"batch": 64}, "batch = 64 alone takes"),
        ({"memory": 9, "networks": 1}, {"batch": 64}, "its memory alone takes"),
        ({"evaluation": 9, "networks": 1}, {"width": 64}, "its evaluation alone takes"),
    ],
)
def test_the_largest_part_is_named(parts: dict[str, int], settings: dict[str, int], said: str) -> None:
    gigabytes = {name: size * 10**9 for name, size in parts.items()}
    with pytest.raises(SpecError, match=said.replace("9000.0 MB", "9.0 GB")):
        Footprint(gigabytes, 0, 5 * 10**9).check(settings)
    Footprint(gigabytes, 0, 10 * 10**9).check(settings)
    Footprint(gigabytes, 0, None).check(settings)


def test_what_cannot_even_be_composed_is_refused_in_one_sentence(make_spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match="capacity = 10000000"):
        Session(make_spec("spaceshipnet", settings={"capacity": 10_000_000, "width": 1024}))


def test_a_rehearsal_that_fails_leaves_the_first_step_to_say_why(make_run: MakeRun) -> None:
    run = make_run("dafl")
    run.recipe.student["broken"] = Weighted(1.0, lambda seen: seen.features + 1)
    found = footprint_of(run, 0, 10**9)
    found.check({})
    assert found.parts["activations"] == 0
    with pytest.raises(TypeError):
        run.advance()


def test_other_errors_of_composing_stay_what_they_are() -> None:
    error = RuntimeError("something else")
    assert footprint.refusal(error, {"capacity": 3}) is error


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
    assert len(held) < machine.used_memory(CPU) <= 1.1 * machine.peak_memory(CPU)
    free = machine.free_memory(CPU)
    assert free is None or free > 0


def test_the_peak_is_of_this_process_and_not_of_the_one_that_started_it() -> None:
    held = torch.ones(1_000_000_000, dtype=torch.uint8)
    code = "import torch; from dfkd_lab.machine import peak_memory; print(peak_memory(torch.device('cpu')))"
    peak = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert 0 < peak < len(held)
