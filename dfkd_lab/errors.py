"""What the library raises on purpose; every message is one sentence for the person who asked."""


class SpecError(ValueError):
    """A setting that cannot be: the message names it, its value, and what is allowed."""


class Refusals(SpecError):
    """Many of them, a line each; what a name has of line ends is not taken for one."""

    def __init__(self, lines: list[str]):
        super().__init__("\n".join(lines))
        self.lines = lines


class RecipeError(SpecError):
    """Slots that do not fit together, or not with this teacher or student; the message says why and names the cure."""


class RunError(RuntimeError):
    """A run that cannot go on; the message says why and what is kept."""


class DamagedFile(RunError):
    """A file of ours that is not as it was written; the message names it, says what is wrong with it, and the cure."""


class EnvironmentProblem(RuntimeError):
    """An installation that cannot work; the message names the cure."""


def said(error: Exception) -> list[str]:
    """The lines in which an error is said; each may hold what moves a cursor."""
    return error.lines if isinstance(error, Refusals) else [str(error)]
