"""The section of RESULTS.md on the abuse campaign, from results/abuse.json."""

from typing import Any

from rows import recorded, table

HEAD = """## Abuse

`make abuse`: files of a run folder, teachers and images changed at random and given to whatever reads them; byte
limits while a run, a teacher or a report is written; processes killed (SIGKILL, SIGTERM) at random in runs of all
methods, and resumed. A fault is a traceback, more than five seconds of computing to read or refuse a file, anything
executed, a status that is not true, or another student than that of the undisturbed run.

"""
KINDS = {
    "mutation": "files changed",
    "export": "files of a finished run or its export changed",
    "limit": "byte limits",
    "kill": "processes killed",
}


def section() -> str:
    """How many cases came to what."""
    found: dict[str, Any] = recorded("abuse")
    lines = [
        [text, f"{sum(found[kind].values()):,}", ", ".join(f"{count:,} {what}" for what, count in found[kind].items())]
        for kind, text in KINDS.items()
        if kind in found
    ]
    if not lines:
        return f"{HEAD}Not measured.\n"
    facts = (
        f"Faults: {found['faults']}. Seed {found['seed']}, {found['seconds']:,.0f} s, commit {found['commit'][:8]}, "
    )
    return f"{HEAD}{table(['', 'cases', 'came to'], lines)}\n\n{facts}torch {found['versions']['torch']}.\n"
