"""Which Python files the panel may execute: those typed into it, and those a run folder names once a person says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file
from dfkd_lab.runs import RunFolder, own_code
from dfkd_lab.spec import RunSpec, build, record
from widgets import status

PRESS = "Trust its code"


class Trust:
    """A button that shows while a file waits to be trusted; ``on_trust`` is called when it was pressed.

    A page that Voilà serves executes no file at all, for whoever reaches its address could name one.
    """

    def __init__(self, on_trust: Callable[[], None]):
        self.on_trust = on_trust
        self.asked: set[str] = set()
        """What run folders named, FILE.py:NAME by absolute path, and nobody in this kernel."""
        self.allowed: set[str] = set()
        self.waiting: set[str] = set()
        """What the button would allow."""
        self.button = ipywidgets.Button(
            description=PRESS,
            tooltip="Execute, as you, the Python files that are named in the message: read them first",
            button_style="warning",
            layout=ipywidgets.Layout(flex="0 0 auto", width="auto", display="none"),
        )
        self.button.on_click(lambda button: self._allow())

    def found(self, spec: RunSpec) -> None:
        """Remember the files that the spec of a run folder names, unless a person named or allowed them here."""
        names = {python_file.absolute(name) for name in own_code.files_of(spec).values()}
        self.asked |= {name for name in names - self.allowed if python_file.trusted(name) is None}

    def check(self, values: Mapping[str, Any]) -> None:
        """As :meth:`refuse`, and show the button if it is needed.

        Raises:
            SpecError: as :meth:`refuse`.
        """
        self._wait_for(_spec_of(values))
        self.refuse(values)

    def refuse(self, values: Mapping[str, Any]) -> None:
        """Refuse settings with a file that a run folder named, or with any on a served page.

        Raises:
            SpecError: naming the file, and the button.
        """
        for role, name in own_code.files_of(_spec_of(values)).items():
            if status.is_served():
                raise SpecError(f"{role} = {name!r} is a Python file; allowed on a served page: a network by name")
            if python_file.absolute(name) in self.asked:
                raise SpecError(
                    f"{role} = {name!r} was named by a run folder, not by you; read it, then press '{PRESS}'"
                )

    def check_folder(self, folder: RunFolder) -> None:
        """Refuse to continue a run whose files nobody here has trusted.

        Raises:
            SpecError: naming them, and the button.
        """
        spec = folder.spec()
        self.found(spec)
        self._wait_for(spec)
        if not self.waiting:
            self.refuse(record(spec))
            return
        question = own_code.question(folder, spec)
        if own_code.is_unchanged(folder, spec):
            question = f"{question.rpartition('; ')[0]}; read it, then press '{PRESS}' and Resume"
        raise SpecError(question)

    def _wait_for(self, spec: RunSpec) -> None:
        """Show the button if the files of ``spec`` have to be trusted, and can be."""
        names = {python_file.absolute(name) for name in own_code.files_of(spec).values()}
        self.waiting = set() if status.is_served() else names & self.asked
        self.button.layout.display = None if self.waiting else "none"

    def _allow(self) -> None:
        self.allowed |= self.waiting
        self.asked -= self.waiting
        self.waiting = set()
        self.button.layout.display = "none"
        self.on_trust()


def _spec_of(values: Mapping[str, Any]) -> RunSpec:
    return build(RunSpec, {name: values[name] for name in ("student", "teacher") if name in values})


def trust_code(folder: RunFolder) -> str:
    """What the process of a run needs to be told, once a person trusts the files that the folder names."""
    return "unchanged" if own_code.files_of(folder.spec()) else ""
