"""Is this installation usable? ``python -m dfkd_lab check`` says so in one line, or names the cure."""

import functools
import importlib
import os
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from dfkd_lab.errors import EnvironmentProblem

NOTEBOOK_PACKAGES = ("jupyterlab", "ipykernel", "ipywidgets", "plotly", "anywidget", "matplotlib", "papermill")
REPORTED_PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "safetensors", *NOTEBOOK_PACKAGES)


def check_torchvision() -> None:
    """Import torchvision beside torch.

    Raises:
        EnvironmentProblem: if the two are not a matching pair, as when a CPU-only torch meets a CUDA torchvision
            ("operator torchvision::nms does not exist").
    """
    try:
        importlib.import_module("torchvision")
    except (RuntimeError, ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise EnvironmentProblem(
            f"torch {installed('torch')} and torchvision {installed('torchvision')} are no matching pair ({reason}); "
            "uninstall both and let one command choose them together: pip install -c constraints.txt torch torchvision"
        ) from error


def cache() -> Path:
    """Where trained teachers and downloaded data are kept: ``$DFKD_CACHE``, or the user's cache folder."""
    home = os.environ.get("DFKD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "dfkd_lab"
    return Path(home).expanduser()


@functools.cache  # a session asks for a dozen, and each is looked for in every folder of the path
def installed(package: str) -> str:
    """The installed version of ``package``, or "missing"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def version_of(module: str) -> str:
    """The version of a module whose distribution may be called otherwise, as onnxruntime-gpu; or "missing"."""
    if (found := installed(module)) != "missing":
        return found
    others = packages_distributions().get(module)  # which looks at all that is installed
    return installed(others[0]) if others else "missing"


def versions() -> dict[str, str]:
    """Versions of Python and of every package that can change a result or a view."""
    return {"python": sys.version.split()[0], **{name: installed(name) for name in REPORTED_PACKAGES}}


def check() -> None:
    """Check torch, torchvision and the notebook packages.

    Raises:
        EnvironmentProblem: naming the cure.
    """
    check_torchvision()
    missing = [name for name in NOTEBOOK_PACKAGES if installed(name) == "missing"]
    if missing:
        raise EnvironmentProblem(f"missing: {', '.join(missing)}; run: pip install -c constraints.txt -e .")
