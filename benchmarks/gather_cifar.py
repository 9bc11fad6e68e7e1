"""Lay CIFAR-10 together from pieces: ``python benchmarks/gather_cifar.py FOLDER ... --into DATA``, then DFKD_DATA=DATA.

Its six files, 31 MB each, are looked for anywhere below the given folders; each is checked against the published MD5,
so that a damaged or unfinished one is never taken for it, and copied once. What is still missing is said, and may come
with another call; ``test_batch`` alone is enough to evaluate, all six to train a teacher.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from rows import typed_folder

from dfkd_lab.data.published import files_of


def main(arguments: list[str] | None = None) -> int:
    """Gather what there is; 1 while something is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="where pieces are")
    parser.add_argument("--into", type=typed_folder, required=True, help="the folder that DFKD_DATA will name")
    given = parser.parse_args(arguments)
    if absent := [str(folder) for folder in given.folders if not folder.is_dir()]:
        parser.error(f"folders: {absent[0]} is no folder")
    missing = gather(given.folders, given.into)
    print(f"missing: {', '.join(missing)}" if missing else f"complete: {given.into}")
    return 1 if missing else 0


def gather(folders: list[Path], into: Path) -> list[str]:
    """Copy the published files that are below ``folders``; the names of those that are still missing in ``into``."""
    from torchvision.datasets.utils import check_md5  # here, because it takes a second

    missing = []
    for name, md5 in files_of("CIFAR10", train=True) + files_of("CIFAR10", train=False):
        place = into / name
        if place.is_file() and check_md5(str(place), md5):
            continue
        pieces = [piece for folder in folders for piece in sorted(folder.rglob(place.name)) if piece.is_file()]
        whole = next((piece for piece in pieces if check_md5(str(piece), md5)), None)
        if whole is None:
            missing.append(place.name)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(f"{place.name}.part")
        shutil.copyfile(whole, unfinished)
        unfinished.replace(place)
    return missing


if __name__ == "__main__":
    sys.exit(main())
