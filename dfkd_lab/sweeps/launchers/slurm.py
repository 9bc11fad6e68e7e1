"""Runs of a sweep as an array of Slurm, which has a queue of its own: nothing here waits for it."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dfkd_lab.errors import RunError, SpecError
from dfkd_lab.runs.folder import RunFolder
from dfkd_lab.runs.launching import command
from dfkd_lab.system.files import write_atomically

UNKNOWN_JOB = "invalid job id"
"""What squeue says, with an error, of a job that is long over."""
WARNED_S = 60
"""How long before its end a task is told to save."""
SCRIPT = r"""
set -u
line=$(sed -n "${SLURM_ARRAY_TASK_ID}p" %(commands)s)
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
signalled=
trap 'signalled=yes; kill -TERM "$unit" 2>/dev/null' TERM
eval "exec srun --ntasks=1 --cpus-per-task=$OMP_NUM_THREADS $line" &
unit=$!
while :; do
    wait "$unit"
    code=$?
    if [ -z "$signalled" ] || [ "$code" -le 128 ]; then break; fi
    signalled=
done
# 75 is "call again"; 2 is refused, and 130 stopped by somebody. What else fails is tried three times in all.
case $code in
    0 | 2 | 130) again= ;;
    75) again=yes ;;
    *) if [ "${SLURM_RESTART_COUNT:-0}" -lt 2 ]; then again=yes; else again=; fi ;;
esac
if [ -n "$again" ]; then scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"; fi
exit "$code"
"""


class Array:
    """The runs of a sweep as one array: a script, and the list of its commands, a line a run.

    Args:
        path: Of the sweep; what Slurm is given is in ``slurm/`` there, which all nodes have to see.
        jobs: How many tasks at a time; 0 leaves that to Slurm.
        minutes: The time limit of a task, which then saves and is queued again; 0 takes the partition's.
        options: Of sbatch, as in "partition=gpu gres=gpu:1".

    Raises:
        SpecError: if ``options`` are none of sbatch.
    """

    def __init__(self, path: Path, jobs: int = 0, minutes: float = 0.0, options: str = ""):
        self.path, self.name = path.absolute() / "slurm", path.name
        self.jobs, self.minutes = jobs, minutes
        self.options = _options(options)

    def start(self, folders: Sequence[RunFolder]) -> str:
        """Write the array for the runs of ``folders``, and hand it to ``sbatch`` where there is one.

        Gives the job's number, or "" where there is no Slurm.

        Raises:
            RunError: if sbatch refuses.
        """
        script = self.write(folders)
        if not shutil.which("sbatch"):
            return ""
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunError(f"sbatch refuses {script}: {(done.stderr.strip() or 'without a word').splitlines()[-1]}")
        job = done.stdout.strip().partition(";")[0]
        write_atomically(self.path / "job", job.encode(), shared=True)
        return job

    def write(self, folders: Sequence[RunFolder]) -> Path:
        """The script; its commands are beside it."""
        self.path.mkdir(parents=True, exist_ok=True)
        text = "".join(shlex.join(command(each, each.trusted_code)) + "\n" for each in folders).encode()
        # a name of its own: an array that waits still reads the one that it was given
        commands = self.path / f"commands-{hashlib.sha256(text).hexdigest()[:12]}.txt"
        write_atomically(commands, text, shared=True)
        log = str(self.path).replace("%", "%%") + "/%a.log"
        given = [
            f"--job-name={self.name}",
            f"--array=1-{len(folders)}" + (f"%{self.jobs}" if self.jobs else ""),
            "--requeue",
            "--open-mode=append",
            f'--output="{log}"',
            f"--signal=B:TERM@{WARNED_S}",
            *([f"--time={max(1, round(self.minutes))}"] if self.minutes else []),
            *self.options,
        ]
        head = "#!/bin/bash\n" + "".join(f"#SBATCH {each}\n" for each in given)
        script = self.path / "array.sh"
        write_atomically(script, (head + SCRIPT % {"commands": shlex.quote(str(commands))}).encode(), shared=True)
        return script

    def poll(self) -> str:
        """The job that was handed over last, while tasks of it are waiting or at work; else "".

        Raises:
            RunError: if Slurm does not say.
        """
        try:
            job = (self.path / "job").read_text().strip()
        except OSError:
            return ""
        if not job or not shutil.which("squeue"):
            return ""
        words = ["squeue", "--noheader", "--array", "--jobs", job]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode and UNKNOWN_JOB not in done.stderr.lower():
            reason = (done.stderr.strip() or "without a word").splitlines()[-1]
            raise RunError(f"squeue does not say whether job {job} is still there ({reason}); call the same again")
        return job if done.returncode == 0 and done.stdout.strip() else ""


def _options(text: str) -> list[str]:
    try:
        found = shlex.split(text)
    except ValueError as error:
        raise SpecError(f"sbatch = {text!r} cannot be read ({error}); as in 'partition=gpu gres=gpu:1'") from None
    for each in found:
        if not each.isprintable() or " " in each:
            raise SpecError(f"sbatch: {each!r} is no option; allowed: words like partition=gpu or --partition=gpu")
    return [each if each.startswith("-") else f"--{each}" for each in found]
