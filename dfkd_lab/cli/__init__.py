"""The command line, one file a group of commands; :mod:`dfkd_lab.__main__` imports the one that is called."""
