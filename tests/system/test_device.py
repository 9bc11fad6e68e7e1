"""The same bits each time: asked for before a GPU is used, kept inside, refused in a sentence where there are none."""

import os

import pytest
import torch

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.system.device import WORKSPACE, check_reproducible, commit, has_same_bits, reproducible

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(("device", "requested", "wanted"), [
    (CPU, False, True), (CPU, True, True), (GPU, False, False), (GPU, True, True), (torch.device("mps"), True, False),
])  # fmt: skip
def test_a_cpu_has_the_same_bits_always_and_a_gpu_if_asked(device: torch.device, requested: bool, wanted: bool) -> None:
    assert has_same_bits(device, requested) == wanted


def test_the_environment_is_set_before_a_gpu_is_used_and_then_it_is_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    check_reproducible(GPU, False)
    check_reproducible(CPU, True)
    with pytest.raises(SpecError, match=f"deterministic = True needs {WORKSPACE}=:4096:8 in the environment"):
        check_reproducible(GPU, True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    check_reproducible(GPU, True)
    assert os.environ[WORKSPACE] == ":4096:8"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    check_reproducible(GPU, True)


def test_inside_torch_is_told_and_afterwards_it_is_as_before() -> None:
    with reproducible(CPU, True):
        assert not torch.are_deterministic_algorithms_enabled()
    with reproducible(GPU, True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operator_without_such_a_kernel_is_named() -> None:
    sentence = "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set ..."
    wanted = "adaptive_avg_pool2d_backward_cuda has no such kernel here; allowed: False"
    for said, error, match in ((sentence, RunError, wanted), ("another", RuntimeError, "another")):
        with pytest.raises(error, match=match), reproducible(GPU, True):
            raise RuntimeError(said)


def test_a_copy_without_history_names_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFKD_COMMIT", "0123456789")
    assert commit() == "0123456789"
