"""``python -m widgets PATH``: the report of a run folder, or the page about all runs in a folder; writes one HTML file.

The command line calls it as a process of its own: the library does without plotly.
"""

import sys
from pathlib import Path

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder
from widgets import report
from widgets.compare import page


def main(arguments: list[str]) -> int:
    """0 if it was written, and 2 with a sentence if not."""
    try:
        if len(arguments) != 1 or not Path(arguments[0]).is_dir():
            raise SpecError(f"a run folder, or a folder that holds some, is wanted, not {' '.join(arguments)!r}")
        folder = RunFolder(arguments[0])
        print(report.write(folder) if folder.exists() else page.write(arguments[0]))
    except (SpecError, RunError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
