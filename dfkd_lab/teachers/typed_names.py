"""Teachers as a person types them: a Python file among the words is executed, as nothing that is read is."""

from __future__ import annotations

from dfkd_lab import nets
from dfkd_lab.errors import SpecError
from dfkd_lab.nets import python_file


def typed(name: str) -> str:
    """The teacher ``name`` as a person typed it: a Python file in it is executed, and gets its absolute path.

    Raises:
        SpecError: if that file cannot be used.
    """
    net, _, file = name.rpartition("@")
    if not python_file.names_file(net):
        return name
    try:
        nets.trust(net)
    except SpecError as error:
        raise SpecError(f"teacher = {name!r}: {error}") from None
    return f"{python_file.absolute(net)}@{file}"
