"""A tape plays what a step does, and only when that is sure to be the same."""

import contextlib
import copy
import dataclasses
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from dfkd_lab.primitives.tape import Tape, copied

CPU = torch.device("cpu")
Step = Callable[[], Any]


def played(step: Step, times: int = 5, tape: Tape[Any] | None = None) -> list[bool]:
    """Whether each of so many steps was played."""
    tape = tape or Tape(CPU)
    tape.begin(step)
    return [(tape(), tape.played)[1] for _ in range(times)]


class Trained:
    """A small network and its step, with a view at random, a batch norm, a branch and an average in place."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.images, self.average = torch.rand(10, 1, 8, 8), torch.zeros(3)
        self.parts = [self.first, self.second, self.norm, self.head]
        self.weights = [weight for part in self.parts for weight in part.parameters()]

    def __call__(self) -> dict[str, Any]:
        images = self.images.index_select(0, torch.randint(0, 10, (6,))) + torch.rand(6, 1, 1, 1)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            hidden = self.norm(self.first(images)).relu()
            logits = self.head((hidden + self.second(hidden)).mean((2, 3)))
        for weight in self.weights:
            weight.grad = None
        losses = logits.float().square().mean(1)
        losses.mean().backward()
        self.average.lerp_(logits.detach().float().mean(0), 0.5)
        return {"losses": losses.detach(), "slopes": [weight.grad for weight in self.weights], "name": "mine"}

    def state(self) -> list[Tensor]:
        """Everything a step changes."""
        return [self.average, *self.norm.buffers(), *self.weights]


def learn(trained: Trained, found: dict[str, Any]) -> None:
    """What an optimizer does outside of the tape."""
    with torch.no_grad():
        for weight, slope in zip(trained.weights, found["slopes"], strict=True):
            weight -= 0.1 * slope


def test_a_played_step_changes_and_returns_the_same_bits() -> None:
    plain, other, tape = Trained(), Trained(), Tape[dict[str, Any]](CPU)
    tape.begin(other)
    torch.manual_seed(1)
    wanted = [copied(plain()) for _ in range(3)]
    for _ in range(3):
        learn(plain, found := plain())
        wanted.append(found)
    torch.manual_seed(1)
    for number, want in enumerate(wanted):
        found = tape()
        if number > 2:
            learn(other, found)
        assert tape.played == (number > 1)
        assert found["name"] == "mine"
        assert torch.equal(found["losses"], want["losses"])
        assert all(torch.equal(*pair) for pair in zip(found["slopes"], want["slopes"], strict=True))
    assert all(torch.equal(*pair) for pair in zip(plain.state(), other.state(), strict=True))


class Live(TorchDispatchMode):
    """The bytes of what operators made and is still there, and the most there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.most = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operator(*args, **(kwargs or {}))
        for each in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(each, Tensor) and not operator._schema.is_mutable and each._base is None:
                size = each.untyped_storage().nbytes()
                self.bytes += size
                weakref.finalize(each.untyped_storage(), self._less, size)
        self.most = max(self.most, self.bytes)
        return made

    def _less(self, size: int) -> None:
        self.bytes -= size


def test_what_is_played_lets_go_of_memory_as_the_step_does() -> None:
    big = torch.rand(1000, 1000)

    def step() -> Tensor:
        made = big + 1
        for _ in range(20):
            made = made * 2
        return made.sum()

    tape = Tape[Tensor](CPU)
    played(step, tape=tape)
    with Live() as live:
        tape()
    assert tape.played
    assert live.most < 3 * big.nbytes


class Counted:
    """A step that multiplies by a number that Python counts up."""

    def __init__(self, count: Callable[[int], float]):
        self.steps, self.count, self.ones = 0, count, torch.ones(3)

    def __call__(self) -> Tensor:
        self.steps += 1
        return self.ones * self.count(self.steps)


def test_a_number_that_changes_is_seen() -> None:
    ones = torch.ones(2)
    assert played(lambda: ones * 0.5) == [False, False, True, True, True]
    assert not any(played(Counted(float)))
    assert not any(played(Counted(lambda step: step)))
    assert not any(played(Counted(lambda step: -0.0 if step % 2 else 0.0)))


def test_another_stage_is_recorded_anew() -> None:
    box, ones, tape = {"weight": 1.0}, torch.ones(()), Tape[Tensor](CPU)
    tape.begin(lambda: ones * box["weight"])
    found = []
    for stage in ("early",) * 4 + ("late",) * 4:
        box["weight"] = 1.0 if stage == "early" else 2.0
        found.append((float(tape(stage)), tape.played))
    numbers, sure = zip(*found, strict=True)
    assert numbers == (1, 1, 1, 1, 2, 2, 2, 2)
    assert sure == (False, False, True, True) * 2


def test_every_beginning_is_looked_at_once_more() -> None:
    box = {"tensor": torch.zeros(2), "weight": 1.0}
    step = lambda: box["tensor"] * box["weight"]  # noqa: E731
    tape = Tape[Tensor](CPU)
    assert played(step, 4, tape) == [False, False, True, True]
    assert played(step, 4, tape) == [False, True, True, True]
    box["tensor"] = torch.ones(2)  # another tensor in its place, as a memory may do that is written to
    assert played(step, 4, tape) == [False, False, True, True]
    assert torch.equal(tape(), torch.ones(2))
    box["weight"] = 3.0
    assert played(step, 4, tape) == [False, False, True, True]
    assert torch.equal(tape(), 3 * torch.ones(2))
    box["tensor"].fill_(2)  # the same tensor with other numbers
    assert played(step, 2, tape) == [False, True]
    assert torch.equal(tape(), 6 * torch.ones(2))


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x * float(x.sum()),
        lambda x: x[x > 0.5],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0.5),
        lambda x: x if x.equal(x) else x + 1,
        lambda x: x * torch.tensor(2.0),
        lambda x: x.masked_fill_(x > 0.5, x.max().item()),
    ],
)
def test_a_step_that_looks_at_its_tensors_is_never_played(look: Callable[[Tensor], Tensor]) -> None:
    x = torch.rand(5)
    assert not any(played(lambda: look(x)))
    assert any(played(lambda: x[torch.arange(3)] + x[None, ..., 2:]))


def test_a_step_that_leaves_a_new_tensor_behind_is_never_played() -> None:
    x, box = torch.rand(4), {}

    def step(leave: Callable[[Tensor], Any]) -> Tensor:
        box["left"] = leave(y := x * 2)
        return y + 1

    assert not any(played(lambda: step(lambda y: y)))
    assert not any(played(lambda: step(lambda y: y[1:])))
    assert not any(played(lambda: step(Tensor.detach)))
    assert any(played(lambda: step(lambda y: None)))
    assert any(played(lambda: step(lambda y: x[1:])))  # part of what was there before


@dataclasses.dataclass
class Found:
    """What a step may return."""

    many: list[Tensor | None]
    count: int


def test_results_of_operators_with_several_come_back_where_they_were() -> None:
    x, total = torch.arange(6.0).view(2, 3), torch.zeros(())

    def step() -> Found:
        values, places = (x + torch.rand(())).max(1)
        low, high = values.unbind()
        total.add_(low)
        return Found([low, None, high, places, x, total], 3)

    tape = Tape[Found](CPU)
    torch.manual_seed(0)
    wanted = [copied(step()) for _ in range(4)]
    total.zero_()
    torch.manual_seed(0)
    tape.begin(step)
    for want in wanted:
        found = tape()
        assert found.count == 3
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(found.many, want.many, strict=True))
    assert tape.played
    assert found.many[4] is x
    assert found.many[5] is total


def test_copies_are_not_what_they_were_copied_from() -> None:
    found = Found([torch.ones(2), None], 1)
    other = copied(found)
    found.many[0].zero_()  # type: ignore[union-attr]
    assert torch.equal(other.many[0], torch.ones(2))  # type: ignore[arg-type]


def test_a_tape_for_a_gpu_asks_for_none_before_there_is_something_to_record() -> None:
    """A run is copied before its first step, to estimate what it needs, and a GPU's stream cannot be."""
    copy.deepcopy(Tape[Tensor](torch.device("cuda"))).begin(lambda: torch.ones(1))


class Captured:
    """torch.cuda.CUDAGraph as far as a machine without a GPU can be one: it replays by asking the step again."""

    made: ClassVar[list["Captured"]] = []

    def __init__(self) -> None:
        self.replays, self.open = 0, False
        self.made.append(self)

    def replay(self) -> None:
        assert not self.open
        self.replays += 1

    @contextlib.contextmanager
    def capture(self, stream: "Stream", capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        assert stream in Stream.used
        self.open = True
        yield
        self.open = False


class Stream:
    """torch.cuda.Stream likewise: who waited for whom, and which one is current."""

    used: ClassVar[list["Stream"]] = []
    log: ClassVar[list[str]] = []
    current: "Stream"

    def __init__(self, name: str = "side"):
        self.name = name if isinstance(name, str) else "side"

    def wait_stream(self, other: "Stream") -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        before, Stream.current = Stream.current, self
        self.used.append(self)
        yield
        Stream.current = before


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of a GPU as a tape asks for."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Captured)
    monkeypatch.setattr(torch.cuda, "graph", Captured.capture)
    monkeypatch.setattr(Captured, "made", [])
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", Stream.inside)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream.current)
    monkeypatch.setattr(Stream, "current", Stream("main"), raising=False)
    monkeypatch.setattr(Stream, "used", [])
    monkeypatch.setattr(Stream, "log", [])


@pytest.mark.usefixtures("gpu")
def test_what_is_recorded_on_a_gpu_is_done_aside_and_in_order() -> None:
    seen, x = [], torch.ones(2)
    tape = Tape[Tensor](torch.device("cuda"))
    tape.begin(lambda: (seen.append(Stream.current.name), x * 2)[1])
    tape()
    assert seen == ["side"]
    assert Stream.log == ["side waits for main", "main waits for side"]
    assert Stream.current.name == "main"


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_a_sure_step_is_captured_once_and_replayed() -> None:
    x, tape = torch.ones(2), Tape[Tensor](torch.device("cuda"))
    box = {"weight": 2.0}
    recorded = []

    def step() -> Tensor:
        recorded.append(_get_current_dispatch_mode() is not None)
        return x * box["weight"]

    # the third step captures, which Python has a part in, and is then replayed like those that follow
    assert played(step, 5, tape) == [False, False, False, True, True]
    assert [graph.replays for graph in Captured.made] == [3]
    assert tape() is tape()
    assert played(step, 3, tape) == [False, True, True]
    assert [graph.replays for graph in Captured.made] == [7]
    box["weight"] = 3.0
    assert played(step, 4, tape) == [False, False, False, True]
    assert [graph.replays for graph in Captured.made] == [7, 2]
    assert all(recorded)  # also while captured, because that decides on last bits
