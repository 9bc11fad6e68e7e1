"""Every method on a simulated GPU: no tensors of two devices in one operator, no waiting inside a step, few kernels."""

import json
import subprocess
import sys
from typing import Any

import pytest

from dfkd_lab.methods import METHODS
from tests.support import ROOT

pytestmark = pytest.mark.slow

KEEPS_VIEWS = ["cmi", "deepinversion", "fast", "nayer", "ssd_kd"]
LOOKS = {
    "seen.sum()": "",
    "seen.argmax(1).to(torch.float32)": "",
    "float(seen.sum())": "_local_scalar_dense",
    "bool(seen.sum() > 0)": "_local_scalar_dense",
    "seen.argmax(1).bincount()": "bincount",
    "seen.argmax(1).tolist()": "tolist",
    "seen[seen > 0]": "boolean index",
    "seen[torch.tensor([0, 1])]": "index on the host",
    "seen.nonzero()": "nonzero",
    "seen.cpu()": "copy between host and device",
    "torch.tensor([1.0, 2.0]).to(DEVICE)": "copy between host and device",
}


def simulated(*requests: list[str]) -> Any:
    """What ``python -m tests.simulated_gpu`` prints: for each request by method and step the kernels and the waits."""
    words = [word for each in requests for word in ("--and", *each)]
    command = [sys.executable, "-W", "ignore", "-m", "tests.simulated_gpu", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def waits(steps: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {place: times for step in steps.values() for place, times in step.get("waits", {}).items()}


def test_no_step_of_any_method_mixes_devices_or_waits() -> None:
    (found,) = simulated([*METHODS])
    assert list(found) == list(METHODS)
    assert all(steps["student"]["kernels"] > 20 for steps in found.values())
    assert not {name: waits(steps) for name, steps in found.items() if waits(steps)}


@pytest.mark.parametrize("methods", [["cmi", "ssd_kd"], pytest.param(KEEPS_VIEWS, marks=pytest.mark.long)], ids=len)
def test_kept_views_neither_mix_devices_nor_wait_and_a_step_with_them_is_few_kernels(methods: list[str]) -> None:
    views = ["--cache-views", "2"]
    found, large = simulated([*methods, *views], ["fast", *views, "--teacher", "wrn40_2", "--student", "wrn16_1"])
    assert not {name: waits(steps) for name, steps in (*found.items(), *large.items()) if waits(steps)}
    kept = large["fast"]["student"]["kernels"]
    assert kept <= 130, "a step is bound by launches: each kernel takes the host some 5 microseconds"


def test_the_simulation_sees_what_waits_and_refuses_two_devices() -> None:
    lines = [
        "import json, torch",
        "from tests.simulated_gpu import COUNTS, DEVICE, Device",
        "found = {}",
        "with Device():",
        "    seen = torch.rand(4, 5, device=DEVICE)",
        f"    for look in {list(LOOKS)}:",
        "        COUNTS.clear()",
        "        eval(look)",
        "        found[look] = [each.partition(' at ')[0] for each in COUNTS.waits]",
        "print(json.dumps(found), flush=True)",
        "with Device():",
        "    torch.rand(3, device=DEVICE) + torch.rand(3)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout) == {look: [wait] if wait else [] for look, wait in LOOKS.items()}
    assert done.returncode == 1
    assert "Expected all tensors to be on the same device" in done.stderr
