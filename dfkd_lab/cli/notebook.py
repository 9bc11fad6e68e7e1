"""Run a notebook headlessly through papermill, its parameters checked before a kernel starts."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dfkd_lab.cli.flags import refuse_twice
from dfkd_lab.cli.outcome import conclude
from dfkd_lab.cli.progress import Progress
from dfkd_lab.cli.tables import plain_table
from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder, runs_root
from dfkd_lab.runs.parameters import check_parameter
from dfkd_lab.runs.planning import plan
from dfkd_lab.spec import RunSpec, record, settings_of, unknown
from dfkd_lab.system.signals import CALL_AGAIN, terminating_at

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
QUIETLY: dict[str, Any] = {
    "kernel_name": "python3",
    "store_widget_state": False,
    "progress_bar": False,
    "extra_arguments": ["--log-level=ERROR"],  # the kernel warns of a loopback socket at each start
}


def run(arguments: list[str]) -> None:
    """A notebook through papermill."""
    if not {"-h", "--help"}.isdisjoint(arguments):
        describe(*(word for word in arguments[:1] if not word.startswith("-")))
        return
    if not arguments:
        raise SpecError("notebook takes a name, as in: notebook 10_run -p method dafl")
    name, *rest = arguments
    if len(rest) % 3 or any(word != "-p" for word in rest[::3]):
        raise SpecError("parameters are given as: -p key value")
    refuse_twice(rest[1::3])
    folder = execute(name, dict(zip(rest[1::3], rest[2::3], strict=True)))
    if folder is not None:
        conclude(folder)


def describe(name: str = "") -> None:
    """Print the notebooks, or the parameters of one with their defaults.

    Raises:
        SpecError: if there is none of that name.
    """
    import papermill

    if not name:
        print("notebook NAME -p key value, as in: notebook 10_run -p method dafl; notebook NAME --help: its parameters")
        print("\nnotebooks: " + ", ".join(names()))
        return
    known = papermill.inspect_notebook(str(find(name)))
    print(plain_table([{"parameter": each, "default": row["default"], "": row["help"]} for each, row in known.items()]))
    if set(known) == set(settings_of(RunSpec)):
        print("\nand the settings of the method, as in: run METHOD --help")


def names() -> list[str]:
    """The notebooks of the project."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def find(name: str) -> Path:
    """The notebook called ``name``, among the project's or as a path.

    Raises:
        SpecError: if there is none.
    """
    for path in (NOTEBOOKS / name, NOTEBOOKS / f"{name}.ipynb", Path(name)):
        if path.is_file():
            _check_notebook(path)
            return path
    raise SpecError(unknown(name, names(), "notebook"))


def _check_notebook(path: Path) -> None:
    import nbformat

    try:
        nbformat.validate(nbformat.read(path, as_version=4))
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0][:80]
        raise SpecError(f"{path} is not a notebook ({type(error).__name__}: {reason})") from None


def execute(name: str, values: Mapping[str, str]) -> RunFolder | None:
    """Execute notebook ``name`` with ``values``; its run folder, or None for a notebook that is no run.

    The first interrupt requests the run to stop after its round, so that everything is saved; a second one kills it.

    Raises:
        SpecError: for a parameter that the notebook, or the method, does not have, or a value that cannot be.
        RunError: if a cell fails.
    """
    import papermill

    path = find(name)
    known = papermill.inspect_notebook(str(path))
    parameters: dict[str, Any] = dict(values)
    folder, rounds = None, 0
    if set(known) == set(settings_of(RunSpec)):
        spec = plan(values).spec
        folder, rounds = RunFolder.of(spec), spec.rounds
        parameters = {**record(spec), "out": str(folder.path)}
        folder.path.mkdir(parents=True, exist_ok=True)
        output = folder.path / path.name
    else:
        kinds = {key: facts["inferred_type_name"] for key, facts in known.items()}
        parameters = {key: check_parameter(key, value, kinds) for key, value in values.items()}
        output = runs_root() / path.name
        output.parent.mkdir(exist_ok=True)
    try:
        with _ended_by_signals(folder), progress(folder, rounds):
            _execute(path, output, parameters)
    except SystemExit:
        if folder is None or folder.status()["state"] != "finished":
            if folder:
                conclude(folder, CALL_AGAIN)
            raise
    if folder is None:
        print(output)
    return folder


def _execute(path: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError

    try:
        with _this_interpreter():
            papermill.execute_notebook(str(path), str(output), parameters, cwd=str(Path.cwd()), **QUIETLY)
    except papermill.PapermillExecutionError as error:
        raise RunError(
            f"{error.ename}: {error.evalue} (in {output})" if error.ename != "RunError" else error.evalue
        ) from None
    except DeadKernelError:
        raise RunError(f"the notebook's process ended, killed or out of memory (in {output})") from None


@contextlib.contextmanager
def progress(folder: RunFolder | None, rounds: int) -> Iterator[None]:
    """Show the rounds that another process writes into ``folder``, with the time left."""
    if folder is None:
        yield
        return
    done = threading.Event()

    def follow() -> None:
        seen = len(folder.reports())
        with Progress(folder, rounds) as shown:
            while not done.wait(0.3):
                for report in folder.reports(seen):
                    seen = report.round
                    shown.show(report)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()


@contextlib.contextmanager
def _this_interpreter() -> Iterator[None]:
    """Have the kernel "python3" be this Python, where another environment may have installed one of that name."""
    from ipykernel.kernelspec import write_kernel_spec

    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        write_kernel_spec(Path(folder, "kernels", "python3"))
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (folder, before)))
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before


@contextlib.contextmanager
def _ended_by_signals(folder: RunFolder | None) -> Iterator[None]:
    with terminating_at(partial(_request, "terminate", folder)), _interrupt_requests(folder):
        yield


@contextlib.contextmanager
def _interrupt_requests(folder: RunFolder | None) -> Iterator[None]:
    """Turn the first SIGINT into a request to stop after this round."""
    before = signal.getsignal(signal.SIGINT)

    def handler(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        _request("stop", folder)
        print("stopping after this round; interrupt again to stop at once", flush=True)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _request(request: str, folder: RunFolder | None) -> None:
    """Ask it of the run of ``folder``; what is no run is interrupted."""
    if folder is None:
        raise KeyboardInterrupt
    folder.request(request)
