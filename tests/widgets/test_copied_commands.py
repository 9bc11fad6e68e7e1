"""The commands for what is chosen, and for what is watched."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

from dfkd_lab import RunFolder, plan
from dfkd_lab.runs.folder import is_same_run
from widgets.commands import Commands, of
from widgets.live import Live


def test_the_commands_are_those_of_the_run_that_is_watched(finished: RunFolder) -> None:
    live = Live()
    assert live.commands.commands == {}
    live.attach(finished)
    assert list(live.commands.commands) == ["a shell", "papermill", "Python"]
    (call,) = [each for each in ast.walk(ast.parse(live.commands.commands["Python"])) if isinstance(each, ast.Call)
               and getattr(each.func, "id", "") == "plan"]  # fmt: skip
    values = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    assert is_same_run(finished, plan(values).spec)
    live.attach(None)
    assert live.commands.commands == {}
    live.close()


def test_a_run_whose_teacher_is_gone_has_no_command(finished: RunFolder, tmp_path: Path) -> None:
    spec = dataclasses.replace(finished.spec(), teacher=str(tmp_path / "gone.pth"))
    assert of(spec) == {}
    shown: Any = Commands()
    shown.show(spec)
    assert shown.commands == {}
