"""Two trees take rounds in turns, and a process that ends is said to have."""

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


def test_an_unknown_commit_is_refused() -> None:
    with pytest.raises(SystemExit, match="'nowhere' is not a commit"):
        two_commits.main("nowhere")
