"""A small campaign: 200 cases, another seed each day, which is printed where one of them fails."""

import datetime
import subprocess
import sys

import pytest

from tests.abuse import campaign
from tests.support import ROOT

pytestmark = pytest.mark.slow
CASES = ("--mutations", "160", "--limits", "20", "--kills", "20")


def test_nothing_breaks_and_nothing_fools_it() -> None:
    seed = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d")
    command = [sys.executable, "-m", "tests.abuse", *CASES, "--seed", seed]
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
