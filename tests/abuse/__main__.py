"""``python -m tests.abuse --mutations 10000 --exports 1000 --limits 500 --kills 200``: a campaign, and its figures."""

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also so that a child can be forked

import torch

from dfkd_lab.system.device import provenance
from tests.abuse.campaign import Campaign, Outcome, as_json, figures

EVERY = 250
"""Cases of a process after which it says how far it is."""
KINDS = ("mutation", "export", "limit", "kill")
MOST_MEMORY = 6 * 2**30
"""Of the process: a file that asks for more than it is worth ends it."""


def main() -> int:
    """Run a campaign; 1 if any case of it is at fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.abuse", description=__doc__)
    for kind in KINDS:
        parser.add_argument(f"--{kind}s", type=int, default=0, help="cases of that kind")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="another one each time if not given")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind, from 0")
    parser.add_argument("--step", type=int, default=1, help="do every so manieth case")
    parser.add_argument("--processes", type=int, default=1, help="that share the cases")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    asked = parser.parse_args()
    if asked.processes > 1:
        return share(asked)
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, resource.RLIM_INFINITY))
    start = time.monotonic()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a run would take it for its own
        outcomes: list[Outcome] = []
        with contextlib.suppress(KeyboardInterrupt):  # what was tried until then counts
            for outcome in run(Campaign(Path(place), asked.seed), asked):
                outcomes.append(outcome)
    faults = [each for each in outcomes if each.is_fault]
    write(asked, figures(outcomes), len(faults), start)
    return 1 if faults else 0


def write(asked: argparse.Namespace, found: dict[str, dict[str, int]], faults: int, start: float) -> None:
    """Print the figures, and keep them."""
    facts = {"seed": asked.seed, "processes": asked.processes, **found, "faults": faults}
    facts |= {"seconds": round(time.monotonic() - start, 1), **provenance(torch.device("cpu"))}
    print(json.dumps(facts, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(facts, indent=1) + "\n")


def share(asked: argparse.Namespace) -> int:
    """Have processes of their own do the cases in turns, and add their figures up."""
    start, total, faults = time.monotonic(), {kind: Counter[str]() for kind in KINDS}, 0
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, str(number)) for number in range(asked.processes)]
        counts = [word for kind in KINDS for word in (f"--{kind}s", str(getattr(asked, f"{kind}s")))]
        same = [sys.executable, "-m", "tests.abuse", *counts, "--seed", str(asked.seed), "--step", str(len(files))]
        started = [Popen([*same, "--first", str(n), "--out", str(file)]) for n, file in enumerate(files)]
        with contextlib.suppress(KeyboardInterrupt):
            for process in started:
                process.wait()
        for process in started:  # which were interrupted too, and write what they have
            process.wait()
        for part in (json.loads(file.read_text()) for file in files):
            faults += part["faults"]
            for kind, found in total.items():
                found.update(part.get(kind, {}))
    write(asked, {kind: dict(found) for kind, found in total.items() if found}, faults, start)
    return 1 if faults else 0


def run(campaign: Campaign, asked: argparse.Namespace) -> Iterator[Outcome]:
    """All cases that are asked for; a fault is printed as it comes, and how far it is."""
    for kind in KINDS:
        case, cases = getattr(campaign, kind), getattr(asked, f"{kind}s")
        for number in range(asked.first, cases, asked.step):
            outcome = case(number)
            if outcome.is_fault:
                print(as_json(outcome), flush=True)
            if (number - asked.first) % (EVERY * asked.step) == 0:
                print(f"{outcome.kind} {number:,} of {cases:,}", flush=True)
            yield outcome


if __name__ == "__main__":
    raise SystemExit(main())
