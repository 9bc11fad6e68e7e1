"""``python -m widgets.compare FOLDER``: write the page about the runs in a folder."""

import sys
from pathlib import Path

from dfkd_lab.errors import RunError
from widgets.compare.page import write

if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(
            "widgets.compare takes one folder that holds run folders, as in: python -m widgets.compare runs/ladder"
        )
    try:
        print(write(sys.argv[1]))
    except RunError as error:
        sys.exit(str(error))
