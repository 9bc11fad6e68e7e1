"""``run --compile`` works through the seal with a cold compiler's cache, and the record says what was compiled.

What is compiled computes the same student: compared after one step, for over many the last bits of two kernels grow
apart.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dfkd_lab import RunFolder, Session
from dfkd_lab.methods import METHODS
from dfkd_lab.spec import RunSpec

pytestmark = pytest.mark.slow

QUICK = ("noise",)
"""In every run of the tests: the fewest kernels, each of which takes a compiler of C++ seconds; what compiling does
below a seal is the same. The others are those of ``make compile-check``; that their graphs are whole is tested without
a compiler (test_compilation.py)."""


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in METHODS]
)
def test_a_compiled_run_ends_through_the_seal(
    method: str, make_spec: Callable[..., RunSpec], tiny: Callable[[str], dict[str, Any]], tmp_path: Path,
    digits_cache: Path,
) -> None:  # fmt: skip
    one_step = method in QUICK
    rounds, settings = (1, {**tiny(method), "s_steps": 1}) if one_step else (3, tiny(method))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    flags += ["--precision=fp32"] if one_step else []
    command = [sys.executable, "-m", "dfkd_lab", "run", method, "--preset", "digits", f"--rounds={rounds}", "--compile"]
    done = subprocess.run(
        [*command, "--device", "cpu", "--out", str(tmp_path / "run"), *flags],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiler"), "DFKD_CACHE": str(digits_cache)},
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "compiling the networks" in done.stderr
    folder = RunFolder(tmp_path / "run")
    assert folder.status()["state"] == "finished"
    assert folder.seal()["data_free"] == (not getattr(METHODS[method], "reads_real_images", False))
    (session,) = folder.manifest()["sessions"]
    compiled = session["compiled"]
    assert compiled["files"] == str(tmp_path / "compiler")
    assert compiled["backend"] == "inductor"
    assert compiled["compiler"]
    assert "compiled" in compiled["networks"].values()
    assert {how for how in compiled["networks"].values() if how != "compiled"} <= {
        "'grad_cam' differentiates by the feature maps inside, which a compiled network does not give"
    }
    assert json.dumps(session)
    if one_step:
        plain = Session(make_spec(method, out="plain", rounds=rounds, preset="digits", settings=settings,
                                  precision="fp32"))  # fmt: skip
        list(plain)
        students = (load_file(each.path / "student.safetensors") for each in (plain.folder, folder))
        torch.testing.assert_close(*students, rtol=1e-3, atol=1e-4)
