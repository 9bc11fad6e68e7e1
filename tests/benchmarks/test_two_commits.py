"""Two trees take rounds in turns, and a process that ends is said to have."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import two_commits

from tests.support import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_tree_beside_itself() -> None:
    workers = [two_commits.Worker(ROOT) for _ in range(2)]
    try:
        row = two_commits.compare(workers, "noise", turns=2)
        assert row["n"] == 2
        assert row["ratio"] > 0
        with pytest.raises(RuntimeError, match="the process ended at 'load nois', status 1"):
            workers[0].ask("load nois")
    finally:
        for each in workers:
            each.close()


def test_a_signal_leaves_no_tree_behind() -> None:
    trees: list[Path] = []

    def stopped(before: str, *_: object) -> None:
        with two_commits.checked_out(before) as tree:
            trees.append(tree)
            assert (tree / "pyproject.toml").is_file()
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("it went on")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_commits, "_main", stopped)
        with pytest.raises(SystemExit) as ended:
            two_commits.main("HEAD")
    assert ended.value.code == 75
    listed = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert str(trees[0]) not in listed
    assert not trees[0].exists()
