"""Two commits side by side: ``python benchmarks/two_commits.py --before COMMIT`` writes results/two_commits.json.

Each commit runs in a process of its own, on the digits pair and one thread; a turn is a round of the one, then the same
round of the other, so that what else the machine does meets both. A round is shortened to one cycle and at most 20
student steps. What is compared is the processor's seconds of a round: its inverse is the student images a second.
A method that is recorded for both commits is not measured again.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results/two_commits.json"
FEWEST_TURNS = 2

WORKER = """
import dataclasses, sys, time
try:
    from dfkd_lab.system.processes import tune_process
    tune_process()  # as the command line does; earlier commits do it when they are imported
except ImportError:
    pass
import torch
torch.set_num_threads(1)
from dfkd_lab.bench.overhead import Pair
for line in sys.stdin:
    if line.startswith("load"):
        run = Pair.of("digits").run(line.split()[1], {})
        usual = run.recipe.schedule
        short = min(20, usual.s_steps)
        run.recipe.schedule = dataclasses.replace(usual, cycles=1, warm_up=0, s_steps=short)
        for _ in range(3):
            run.advance()
        print("loaded", flush=True)
    else:
        before = time.process_time()
        run.advance()
        print(time.process_time() - before, flush=True)
"""


class Worker:
    """A process that takes single rounds with the library in ``tree``."""

    def __init__(self, tree: Path):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WORKER],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: str) -> str:
        """Its answer to one line.

        Raises:
            RuntimeError: if it ended instead.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        if answer := self.process.stdout.readline():
            return answer.strip()
        raise RuntimeError(f"the process ended at '{request}', status {self.process.wait()}")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def compare(workers: Sequence[Worker], method: str, turns: int) -> dict[str, Any]:
    """``turns`` rounds of ``method`` by both, in turns: their processor seconds, and the second's over the first's."""
    before, after = workers
    for each in workers:
        each.ask(f"load {method}")
    seconds: dict[Worker, list[float]] = {before: [], after: []}
    for turn in range(turns):
        for each in (before, after) if turn % 2 == 0 else (after, before):
            seconds[each].append(float(each.ask("go")))
    ratios = [new / old for old, new in zip(seconds[before], seconds[after], strict=True)]
    return {
        "n": turns,
        "ratio": statistics.median(ratios),
        "quartiles": statistics.quantiles(ratios, n=4)[::2],
        "before_s": statistics.median(seconds[before]),
        "after_s": statistics.median(seconds[after]),
    }


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A tree of ``commit``, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        try:
            subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), commit], cwd=ROOT, check=True)
            yield tree
        finally:
            shutil.rmtree(tree, ignore_errors=True)
            subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)  # also of one that was half made


def full(commit: str) -> str:
    """The whole name of a commit.

    Raises:
        SpecError: if there is none of that name.
    """
    from dfkd_lab import SpecError

    done = subprocess.run(["git", "rev-parse", "--verify", f"{commit}^{{commit}}"], cwd=ROOT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    if done.returncode:
        raise SpecError(f"'{commit}' is not a commit of this repository")
    return done.stdout.strip()


def main(before: str, after: str = "HEAD", turns: int = 15, methods: str = "") -> None:
    """Compare ``after`` with ``before``: all methods that need no real images, or those named with commas between.

    A SIGTERM ends it with what is recorded, and without the trees.
    """
    from benchmark import refused

    from dfkd_lab.system.signals import CALL_AGAIN, terminating_at

    with refused(), terminating_at(lambda: sys.exit(CALL_AGAIN)):
        _main(before, after, turns, methods)


def _main(before: str, after: str, turns: int, methods: str) -> None:
    import torch
    from results_page import render

    from dfkd_lab import METHODS, SpecError
    from dfkd_lab.methods import find, remark
    from dfkd_lab.system.device import provenance

    if turns < FEWEST_TURNS:
        raise SpecError(f"turns = {turns}; allowed: {FEWEST_TURNS} or more, for there are quartiles of them")
    before, after = full(before), full(after)
    recorded = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found = recorded if (recorded.get("before"), recorded.get("after")) == (before, after) else {}
    found = {"before": before, "after": after, **provenance(torch.device("cpu")), "threads": 1, "rows": {}, **found}
    wanted = methods.split(",") if methods else [name for name in METHODS if not remark(find(name))]
    for method in wanted:
        find(method)
    with ExitStack() as stack:
        trees = [stack.enter_context(checked_out(commit)) for commit in (before, after)]
        for method in wanted:
            if method not in found["rows"]:
                workers = [Worker(tree) for tree in trees]
                try:
                    found["rows"][method] = row = compare(workers, method, turns)
                finally:
                    for each in workers:
                        each.close()
                print(f"{method}: {row['ratio']:.3f}", flush=True)
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    render()


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
