"""A small campaign of 200 cases; ``make abuse`` is a large one, with another seed each time."""

import subprocess
import sys

import pytest

from tests.abuse import campaign
from tests.support import ROOT

pytestmark = pytest.mark.slow
CASES = ("--mutations", "180", "--limits", "10", "--kills", "10", "--seed", "18")


def test_nothing_breaks_and_nothing_fools_it() -> None:
    command = [sys.executable, "-m", "tests.abuse", *CASES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[1:])}\n{done.stdout}\n{done.stderr[-2000:]}"
    assert '"faults": 0' in done.stdout


def test_a_fault_is_seen() -> None:
    """The instrument itself: what it must call a fault, it does."""

    def slow() -> None:
        while True:
            pass

    assert campaign.attempt(lambda: None) == ("read", "")
    assert campaign.attempt(lambda: [][0])[0] == "traceback"
    assert campaign.attempt(slow, 0.05)[0] == "hang"
    words = ("traceback", "hang", "executed", "another student", "no sentence", "untrue status", "lost")
    assert all(campaign.Outcome("", 0, "", each).is_fault for each in words)
    assert not campaign.Outcome("", 0, "", "refused").is_fault
