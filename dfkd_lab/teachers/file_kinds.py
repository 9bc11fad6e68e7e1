"""What a file is by its first bytes, whatever its suffix says, and what to do with one that is no checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dfkd_lab.errors import SpecError

FROM_ELSEWHERE = "load it with the library that wrote it, and save its weights with torch.save or as safetensors"
BEGINNINGS = (
    (b"\x1f\x8b", "is packed by gzip; unpack it first"),
    (b"BZh", "is packed by bzip2; unpack it first"),
    (b"\xfd7zXZ\x00", "is packed by xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, as Keras writes them, not one of torch; {FROM_ELSEWHERE}"),
    (b"\x93NUMPY", f"is an array of NumPy, not a checkpoint; {FROM_ELSEWHERE}"),
    (b"GGUF", f"is a GGUF file, not a checkpoint of torch; {FROM_ELSEWHERE}"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file; fetch it with: git lfs pull"),
    (b"\x89PNG", "is a picture, not a checkpoint"),
    (b"\xff\xd8\xff", "is a picture, not a checkpoint"),
    (b"%PDF", "is a PDF, not a checkpoint"),
    (b"\x7fELF", "is a program, not a checkpoint"),
)
"""First bytes, and the rest of a sentence about such a file."""
BEGINNING_BYTES = 512


def refuse_other(start: bytes, path: Path) -> None:
    """Refuse a file that begins as something that is no checkpoint.

    Args:
        start: The first ``BEGINNING_BYTES`` bytes.
        path: For the message.

    Raises:
        SpecError: saying what the file is, and the cure.
    """
    if not start:
        raise SpecError(f"{path} is empty, so it is truncated; copy or download it again")
    for beginning, remark in BEGINNINGS:
        if start.startswith(beginning):
            raise SpecError(f"{path} {remark}")
    if start[257:262] == b"ustar":
        raise SpecError(f"{path} is a tar archive of files; unpack it first")
    if start.lstrip()[:1] == b"<":
        raise SpecError(f"{path} is a page of HTML or XML, as a failed download leaves it; download the file again")
    # the fields of an ONNX model: its version, a small number, then the producer's name or the next field
    if (
        start[:1] == b"\x08"
        and start[1:2] < b"\x20"
        and (b"pytorch" in start or b"onnx" in start or start[2:3] in b"\x12:")
    ):
        raise SpecError(f"{path} is an ONNX model, which says no more what its layers are; {FROM_ELSEWHERE}")


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins with the size of a header and the brace that opens it."""
    return start[8:9] == b"{"


def refuse_other_archive(names: Iterable[str], path: Path) -> None:
    """Refuse a zip archive that ``torch.save`` did not write.

    Raises:
        SpecError: saying what it is, and the cure.
    """
    files = [name.rpartition("/")[2] for name in names]
    if "constants.pkl" in files:
        raise SpecError(
            f"{path} is a TorchScript file, whose code is not run; save its weights alone: "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    if "archive_format" in files or any(name.endswith(".pt2") for name in files):
        raise SpecError(
            f"{path} is a program of torch.export; save its weights alone: "
            "torch.save(torch.export.load(FILE).state_dict, NEW)"
        )
    if "data.pkl" not in files:
        what = "arrays of NumPy" if files and all(name.endswith(".npy") for name in files) else "other files"
        cure = FROM_ELSEWHERE if what != "other files" else "unpack it, and name the checkpoint in it"
        raise SpecError(f"{path} is a zip archive of {what}, not one of torch.save; {cure}")
