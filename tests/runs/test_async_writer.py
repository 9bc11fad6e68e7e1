"""The loop goes on while files are written, and nothing that was handed over is lost, changed or left unsaid."""

import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dfkd_lab.errors import RunError
from dfkd_lab.runs import samples, seal
from dfkd_lab.runs.async_writer import AsyncWriter, snapshot
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.session import Session
from dfkd_lab.spec import RunSpec
from tests.support import fill_the_disk

MakeSpec = Callable[..., RunSpec]
CPU = torch.device("cpu")


class Gate:
    """A job that waits until it is let through."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.done: list[Any] = []

    def __call__(self, value: Any) -> None:
        assert self.open.wait(20), "nobody opened"
        self.done.append(value)


def full(value: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_snapshot_has_every_tensor_anew_and_the_rest_as_it_was() -> None:
    linear = nn.Linear(2, 2)
    net = nn.Sequential(linear, nn.BatchNorm1d(2))
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(3, 2)).sum().backward()
    adam.step()
    state: dict[str, Any] = {
        "net": net.state_dict(),
        "adam": adam.state_dict(),
        "round": 3,
        "pair": (torch.zeros(2), "a"),
        "none": None,
    }
    twin = snapshot(state)
    assert type(twin["net"]) is OrderedDict
    assert twin["net"]._metadata == state["net"]._metadata  # type: ignore[attr-defined]
    before = {name: value.clone() for name, value in state["net"].items()}
    with torch.no_grad():
        for tensor in (*net.state_dict().values(), *adam.state[linear.weight].values(), state["pair"][0]):
            tensor.add_(1)
    assert all(torch.equal(twin["net"][name], value) for name, value in before.items())
    assert twin["adam"]["state"][0]["step"] == 1
    assert twin["adam"]["param_groups"] == adam.state_dict()["param_groups"]
    assert (twin["round"], twin["none"], twin["pair"][1]) == (3, None, "a")
    assert twin["pair"][0].tolist() == [0, 0]


def test_the_loop_goes_on_and_what_it_changes_is_not_written() -> None:
    gate, state = Gate(), {"weights": torch.zeros(2)}
    with AsyncWriter(CPU) as writer:
        writer.put("checkpoint", gate, state)
        writer.put("samples", gate, state)  # of another kind: does not wait either
        state["weights"] += 1
        assert gate.done == []
        gate.open.set()
    assert [value["weights"].tolist() for value in gate.done] == [[0, 0], [0, 0]]


def test_of_each_kind_one_is_under_way_and_none_is_skipped() -> None:
    gate, handed = Gate(), []
    with AsyncWriter(CPU) as writer:

        def hand_over() -> None:
            for number in range(3):
                writer.put("checkpoint", gate, number)
                handed.append(number)

        thread = threading.Thread(target=hand_over)
        thread.start()
        time.sleep(0.1)
        assert handed == [0]
        gate.open.set()
        thread.join(20)
        writer.wait()
        assert gate.done == handed == [0, 1, 2]


def test_an_error_is_raised_by_the_next_call_of_any_kind() -> None:
    with pytest.raises(OSError, match="No space left"), AsyncWriter(CPU) as writer:  # noqa: PT012
        writer.put("samples", full, None)
        for _ in range(200):
            time.sleep(0.01)
            writer.put("checkpoint", lambda value: None, None)
        pytest.fail("it was never raised")


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, GeneratorExit])
def test_an_error_nobody_asked_for_is_raised_at_the_end(end: type[BaseException] | None) -> None:
    with pytest.raises(OSError, match="No space left"), AsyncWriter(CPU) as writer:  # noqa: PT012
        writer.put("samples", full, None)
        if end:
            raise end


def test_an_error_of_the_loop_is_not_replaced_and_what_was_handed_over_is_written() -> None:
    gate = Gate()
    threading.Timer(0.1, gate.open.set).start()
    with pytest.raises(ValueError, match="of the loop"), AsyncWriter(CPU) as writer:  # noqa: PT012
        writer.put("checkpoint", gate, 1)
        writer.put("samples", full, None)
        raise ValueError("of the loop")
    assert gate.done == [1]  # type: ignore[unreachable]  # without strict_optional no context manager catches


# in a session


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Checkpoints wait for this event before they are written."""
    save, may = torch.save, threading.Event()

    def wait_and_save(state: Any, file: Any) -> None:
        assert may.wait(60), "nobody let it"
        save(state, file)

    monkeypatch.setattr(torch, "save", wait_and_save)
    yield may
    may.set()


def test_rounds_go_on_while_a_checkpoint_is_written_and_it_holds_its_own_round(
    make_spec: MakeSpec, slow: threading.Event
) -> None:
    spec = make_spec(method="ssd_kd", rounds=4, checkpoint_s=1000.0)
    session, checkpoint = Session(spec), Path(spec.out) / "checkpoint.pt"
    for report in session:
        if report.round == 1:
            then = {name: value.clone() for name, value in session.run.student.state_dict().items()}
        if report.round == 2:
            assert not checkpoint.exists()
            slow.set()
            session.writer.wait()
            saved = torch.load(checkpoint, weights_only=True)
            assert saved["round"] == 1
            assert all(torch.equal(saved["student"][name], value) for name, value in then.items())
            now = session.run.student.state_dict()
            assert any(not torch.equal(value, then[name]) for name, value in now.items())
    assert torch.load(checkpoint, weights_only=True)["round"] == 4


@pytest.mark.parametrize("end", ["close", "interrupt", "nan"])
def test_an_end_waits_for_the_checkpoint_and_says_which_round_it_holds(
    make_spec: MakeSpec, slow: threading.Event, end: str
) -> None:
    spec = make_spec(rounds=4, checkpoint_s=1000.0)
    session = Session(spec)
    view = iter(session)
    next(view)
    threading.Timer(0.3, slow.set).start()
    if end == "close":
        view.close()
    elif end == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            view.throw(KeyboardInterrupt)
    else:
        next(session.run.student.parameters()).data.fill_(float("nan"))
        with pytest.raises(RunError, match=r"round 2: the loss .*; the state of round 1 is kept"):
            next(view)
    assert torch.load(session.folder.path / "checkpoint.pt", weights_only=True)["round"] == 1
    status = session.folder.status()
    assert status["state"] == ("failed" if end == "nan" else "stopped")
    assert "round 1 is " in status["message"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("end", ["next round", "close", "last round"])
@pytest.mark.parametrize("name", ["checkpoint.pt", "samples/round_0000002.png", "samples/round_0000002.json"])
def test_a_full_disk_is_said_whenever_the_run_ends(
    make_spec: MakeSpec, name: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(rounds=2 if end == "last round" else 3, checkpoint_s=0.0)
    session, temporary = Session(spec), Path(spec.out) / f"{name}.tmp"
    view = iter(session)
    next(view)
    session.writer.wait()
    with monkeypatch.context() as patch:
        fill_the_disk(patch, temporary)
        with pytest.raises(RunError, match=r"cannot write .*No space left on device; round \d is saved") as error:  # noqa: PT012
            next(view)
            view.close() if end == "close" else next(view)
    saved = torch.load(session.folder.path / "checkpoint.pt", weights_only=True)["round"]
    assert f"round {saved} is saved" in str(error.value)
    assert session.folder.status()["state"] == "failed"
    assert not temporary.exists()
    assert [report.round for report in Session(spec)][-1:] == [spec.rounds][: spec.rounds - saved]


def test_what_is_written_while_a_round_is_sealed_is_not_taken_for_data(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, save = samples.write, torch.save
    seen: list[bool] = []

    def sealed(do: Callable[..., None]) -> Callable[..., None]:
        def wait(*arguments: Any) -> None:
            end = time.monotonic() + (20 if len(seen) < 2 else 0)
            while seal._closed is None and time.monotonic() < end:
                pass
            seen.append(seal._closed is not None)
            do(*arguments)

        return wait

    monkeypatch.setattr(samples, "write", sealed(write))
    monkeypatch.setattr(torch, "save", sealed(save))
    spec = make_spec(rounds=3, data="none", preset="digits")
    list(Session(spec))
    assert seen[:2] == [True, True]
    record = RunFolder(spec.out).seal()
    assert record["data_free"] is True
    assert record["sessions"][0]["opened_during_distillation"] == []
