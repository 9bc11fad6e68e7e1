"""Many runs: a grid of settings, planned as a whole; its run folders are all that is known of it."""

from dfkd_lab.sweeps.following import work_off
from dfkd_lab.sweeps.grid import Cell, Sweep, from_file, from_text
from dfkd_lab.sweeps.order import Order
from dfkd_lab.sweeps.running import Queue, run, submit

__all__ = ["Cell", "Order", "Queue", "Sweep", "from_file", "from_text", "run", "submit", "work_off"]
