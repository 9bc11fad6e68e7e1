"""A campaign of 54 cases, in the long tests of 240; ``make abuse`` is a large one, with another seed each time."""

import subprocess
import sys

import pytest

from tests.abuse import campaign
from tests.support import ROOT

pytestmark = pytest.mark.slow
FEW = {"mutations": 40, "exports": 8, "limits": 3, "kills": 3}
MANY = {"mutations": 180, "exports": 40, "limits": 10, "kills": 10}
"""Cases of each kind; the few are the first of these."""


@pytest.mark.parametrize("cases", [FEW, pytest.param(MANY, marks=pytest.mark.long)], ids=("few", "many"))
def test_nothing_breaks_and_nothing_fools_it(cases: dict[str, int]) -> None:
    words = [word for kind, number in cases.items() for word in (f"--{kind}", str(number))]
    command = [sys.executable, "-m", "tests.abuse", *words, "--seed", "18"]
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
