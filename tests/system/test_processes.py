"""What the process asks of the machine it runs on."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

FAULTS = """
import resource, torch
from dfkd_lab.system.processes import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        maps = [torch.ones(10_000_000) for _ in range(3)]
        del maps
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(sum([faults() for _ in range(4)][2:]))
keep_freed_memory()
print(sum([faults() for _ in range(6)][4:]))
"""
"""Prints how many pages a process asks the system for, making and dropping tensors of 40 MB, once it has settled: as it
is, and told to keep them."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is told")
def test_in_steady_state_no_memory_is_asked_of_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    as_it_is, kept = map(int, done.stdout.split())
    assert as_it_is > 10_000, "the allocator keeps it by itself: keep_freed_memory is not needed"
    assert kept < 100
