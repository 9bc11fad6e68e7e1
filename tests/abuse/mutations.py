"""Files changed at random: bytes, values, names, depth; and texts that want something executed."""

import io
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "x" * 10_000,
    "\x1b[31mred\x1b[0m\r\n=1+1",
    "<img src=x onerror=alert(1)>",
    "../../../etc/passwd",
    [],
    {},
    [[]],
    {"": {"": None}},
)
DEPTH = 100_000


class Bomb:
    """Unpickled, it creates a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def of_bytes(content: bytes, chance: random.Random) -> bytes:
    """A bit flipped, or a piece cut off, taken out, doubled, zeroed or put in."""
    if not content:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40)))
    at, length = chance.randrange(len(content)), chance.choice((1, 2, 7, 64, 4096))
    piece = content[at : at + length]
    kind = chance.randrange(6)
    if kind == 0:
        return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
    if kind == 1:
        return content[:at]
    middle = {2: b"", 3: 2 * piece, 4: bytes(len(piece)), 5: chance.randbytes(length) + piece}[kind]
    return content[:at] + middle + content[at + len(piece) :]


def of_values(values: Any, chance: random.Random) -> Any:
    """One value, at whatever depth, replaced, left out, renamed or wrapped."""
    if isinstance(values, dict) and values:
        name = chance.choice(list(values))
        kind = chance.randrange(6)
        if kind == 0:
            return {key: each for key, each in values.items() if key != name}
        if kind == 1:
            return {
                chance.choice(("", "x", f"{name} ", 7, None)) if key == name else key: v for key, v in values.items()
            }
        return {**values, name: of_values(values[name], chance)}
    if isinstance(values, list) and values and chance.randrange(4):
        at = chance.randrange(len(values))
        return [*values[:at], of_values(values[at], chance), *values[at + 1 :]]
    return chance.choice((*ODD, [values], {"x": values}, str(values)))


def of_json(content: bytes, chance: random.Random, mark: Path) -> bytes:
    """A JSON file with a value changed, or nested without end."""
    if not chance.randrange(12):
        return chance.choice((b"[" * DEPTH, b'{"a":' * DEPTH, b"[1]", b"null", b"7", b""))
    return json.dumps(of_values(json.loads(content), chance)).encode()


def of_lines(content: bytes, chance: random.Random, mark: Path) -> bytes:
    """A log with one of its lines changed, doubled or moved."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return b"garbage\n"
    at = chance.randrange(len(lines))
    line = chance.choice((of_json(lines[at], chance, mark) + b"\n", 2 * lines[at], b"", lines[at][:-1], b"\n"))
    return b"".join([*lines[:at], line, *lines[at + 1 :]])


def of_yaml(content: bytes, chance: random.Random, mark: Path) -> bytes:
    """A YAML file with a value changed, an alias bomb, or a tag that wants something executed."""
    if chance.randrange(4):
        return yaml.safe_dump(of_values(yaml.safe_load(content), chance)).encode()
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(b + 1)}: &{chr(b + 1)} [{', '.join([f'*{chr(b)}'] * 9)}]\n" for b in range(97, 109)
    )
    loop = "a: &a [*a]\n"
    tags = ("object/apply:os.mkdir", "object/apply:pathlib.Path.touch", "object/new:os.mkdir", "name:os.system")
    tagged = f"method: !!python/{chance.choice(tags)} ['{mark}']\n"
    return chance.choice((bomb, loop, tagged, "[" * 3000, "? " * 3000, "method: [", "- a", "\0")).encode()


def of_weights(content: bytes, chance: random.Random, mark: Path) -> bytes:
    """A file of torch.save with a tensor that is odd, a value that is none, or a pickle that wants to be executed."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    name = chance.choice(list(state))
    weights = state[name] if isinstance(state[name], torch.Tensor) else torch.ones(2, 3)
    odd: tuple[Callable[[], Any], ...] = (
        lambda: torch.full_like(weights.float(), chance.choice((float("nan"), float("inf"), -1e30))),
        lambda: weights.float().to_sparse(),
        lambda: weights.to(torch.complex64),
        lambda: weights.bool(),
        lambda: torch.empty(0),
        lambda: torch.zeros(1).expand(2**20, 2**15),
        lambda: weights[None],
        lambda: torch.zeros(1, device="meta"),
        lambda: torch.quantize_per_tensor(weights.float(), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: Bomb(mark),
        lambda: chance.choice(ODD),
    )
    kind = chance.randrange(5)
    if kind < 3:
        state = {**state, name: chance.choice(odd)()}
    elif kind == 3:
        state = {chance.choice((f"module.{key}", f"_orig_mod.{key}", key[:-1])): each for key, each in state.items()}
    else:
        state = chance.choice(({"state_dict": state}, {"model": state, "x": Bomb(mark)}, [state], {}, Bomb(mark)))
        if isinstance(state, dict) and not chance.randrange(3):
            state["itself"] = state
    written = io.BytesIO()
    if chance.randrange(8):
        torch.save(state, written)
    else:
        pickle.dump(Bomb(mark), written)
    return written.getvalue()
