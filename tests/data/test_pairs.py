"""Images and masks of class numbers: how both are read, what is said, and every misuse refused in a sentence."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dfkd_lab import data
from dfkd_lab.data import files, registry
from dfkd_lab.errors import SpecError
from dfkd_lab.runs import seal
from dfkd_lab.runs.seal import SealBroken

WIDTH, HEIGHT = 12, 8
SHAPE = (3, HEIGHT, WIDTH)
NUMBERS = np.zeros((HEIGHT, WIDTH), np.uint8)
NUMBERS[:, 4:] = 1
NUMBERS[:2, 8:] = 2
NUMBERS[7, 0] = 255
"""A mask with three classes, and a pixel that is ignored."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """ROOT with train/ and val/, of three and two pairs."""
    for split, n in (("train", 3), ("val", 2)):
        for number in range(n):
            write(tmp_path / "root" / split, f"{number}", number)
    return tmp_path / "root"


def write(place: Path, name: str, level: int = 0, mask: np.ndarray = NUMBERS) -> None:
    for folder, pixels in (("images", np.full((*mask.shape, 3), level, np.uint8)), ("masks", mask)):
        (place / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / folder / f"{name}.png")


def read(root: Path | str, shape: tuple[int, int, int] | None = SHAPE, classes: int | None = None) -> data.Split:
    return data.evaluation_set(f"folder-pairs:{root}", shape, classes)


def refusal(root: Path | str, shape: tuple[int, int, int] | None = SHAPE, classes: int | None = None) -> str:
    with pytest.raises(SpecError) as error:
        read(root, shape, classes)
    said = str(error.value)
    assert said.isprintable()
    return said


def png(depth: int, values: np.ndarray) -> bytes:
    """A gray PNG of ``depth`` bits, which Pillow does not write."""
    bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", values.shape[1], len(values), depth, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def palette(numbers: np.ndarray) -> Image.Image:
    """``numbers`` with other colors than theirs."""
    image = Image.fromarray(numbers).convert("P")
    image.putdata(numbers.flatten().tolist())
    image.putpalette([255 - number // 3 for number in range(768)])
    return image


# what is read


def test_a_split_is_the_pairs_as_they_were_written(root: Path) -> None:
    split = read(root)
    assert split.images[:, :, 0, 0].tolist() == [[0] * 3, [1] * 3]
    assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.uint8)
    assert np.array_equal(split.labels.numpy(), np.stack([NUMBERS] * 2))
    assert (split.task, split.ignore, split.classes, split.class_names) == ("segmentation", 255, 3, ("0", "1", "2"))
    assert split.reading == (
        f"2 pairs read from {root}/val/images and {root}/val/masks; none left out; 3 classes, of which 3 occur; "
        "1.0% of the pixels ignored (255)"
    )
    assert len(data.training_set(f"folder-pairs:{root}", SHAPE).labels) == 3
    assert data.task(f"folder-pairs:{root}") == "segmentation"
    assert split.hashes() == read(root).hashes() != data.training_set(f"folder-pairs:{root}", SHAPE).hashes()


def test_without_names_the_largest_label_that_counts_says_how_many_classes_there_are() -> None:
    labels = torch.tensor([[[0, 3], [255, 1]]])
    images = torch.zeros(1, 1, 2, 2)
    assert data.Split(images, labels, ignore=255).classes == 4
    assert data.Split(images, labels).classes == 256
    assert data.Split(images, torch.tensor([2])).classes == 3
    assert data.Split(images, torch.tensor([2])).task == "classification"


def test_a_test_folder_serves_and_so_do_two_folders_of_any_name(root: Path) -> None:
    wanted = read(root).hashes()
    (root / "val").rename(root / "test")
    assert read(root).hashes() == wanted
    (root / "test").rename(root.parent / "one, set")
    assert read(root.parent / "one, set").hashes() == wanted
    assert read(f"{root.parent}/one, set/images,{root.parent}/one, set/masks").hashes() == wanted


@pytest.mark.parametrize(
    ("name", "numbers", "content"),
    [
        ("0.png", NUMBERS, lambda path, numbers: Image.fromarray(numbers.astype(np.uint16)).save(path)),
        ("0.png", NUMBERS, lambda path, numbers: palette(numbers).save(path)),
        ("0.png", NUMBERS, lambda path, numbers: palette(numbers).save(path, transparency=1)),
        ("0.png", NUMBERS % 255, lambda path, numbers: path.write_bytes(png(2, numbers))),
        ("0.png", NUMBERS % 255, lambda path, numbers: path.write_bytes(png(4, numbers))),
        ("0.png", NUMBERS % 2, lambda path, numbers: path.write_bytes(png(1, numbers))),
        ("0.tif", NUMBERS, lambda path, numbers: Image.fromarray(numbers).save(path)),
        ("0.tif", NUMBERS, lambda path, numbers: Image.fromarray(numbers).save(path, compression="tiff_lzw")),
        ("0.tif", NUMBERS, lambda path, numbers: Image.fromarray(numbers.astype(np.uint16)).save(path)),
        ("0.tif", NUMBERS, lambda path, numbers: Image.fromarray(numbers.astype(np.int32)).save(path)),
        ("0.tif", NUMBERS % 2, lambda path, numbers: Image.fromarray(numbers > 0).save(path)),
        ("0", NUMBERS, lambda path, numbers: Image.fromarray(numbers).save(path, format="PNG")),
    ],
)
def test_class_numbers_are_taken_as_they_are_stored(
    root: Path, name: str, numbers: np.ndarray, content: Callable[[Path, np.ndarray], Any]
) -> None:
    (root / "val/masks/0.png").unlink()
    content(root / "val/masks" / name, numbers)
    assert np.array_equal(read(root).labels[0].numpy(), numbers)


def test_a_mask_is_turned_as_its_image_is(root: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    pixels = np.where(NUMBERS == 1, 200, 0).astype(np.uint8)
    Image.fromarray(pixels).save(root / "val/images/0.png", exif=exif)
    Image.fromarray(NUMBERS).save(root / "val/masks/0.png", exif=exif)
    split = read(root, (3, WIDTH, HEIGHT))
    assert np.array_equal(split.labels[0].numpy(), np.rot90(NUMBERS, -1))
    assert torch.equal(split.images[0, 0] == 200, split.labels[0] == 1)
    assert "1 turned as EXIF says" in split.reading


def test_masks_are_fitted_as_images_are_and_stay_class_numbers(root: Path) -> None:
    large = NUMBERS.repeat(6, 0).repeat(8, 1)  # 48 x 96: wider than what it is fitted to
    write(root / "val", "0", mask=large)
    Image.fromarray(np.where(large == 1, 250, 0).astype(np.uint8)).save(root / "val/images/0.png")
    split = read(root, (1, 24, 24))
    assert (split.images.shape, split.labels.shape) == ((2, 1, 24, 24), (2, 24, 24))
    assert {*split.labels.unique().tolist()} <= {0, 1, 2, 255}
    assert float(((split.images[0, 0] > 125) == (split.labels[0] == 1)).double().mean()) > 0.98
    assert "2 fitted to [24, 24] pixels, masks by the nearest" in split.reading
    assert "1 stored in color, made gray" in split.reading


def test_images_of_one_size_need_no_shape_and_others_do(root: Path) -> None:
    assert read(root, None).images.shape == (2, *SHAPE)
    write(root / "val", "1", mask=NUMBERS[:, :10])
    said = refusal(root, None)
    assert f"{root}/val/images/1.png is [8, 10] pixels high and wide, and {root}/val/images/0.png [8, 12]; give" in said
    assert "; 1 fitted to [8, 12] pixels" in read(root).reading
    assert "[1 or 3, H, W], not to (4, 8, 8)" in refusal(root, (4, 8, 8))


def test_what_has_no_partner_is_said(root: Path) -> None:
    (root / "val/images/1.png").rename(root / "val/images/other.png")
    (root / "val/images/notes.txt").write_text("")
    (root / "val/masks/.hidden.png").write_bytes(b"")
    assert "1 pairs read from" in (said := read(root).reading)
    assert (
        "4 left out (1 not an image: notes.txt; 1 hidden: .hidden.png; 1 without a mask: other.png; "
        "1 without an image: 1.png)"
    ) in said
    (root / "val/images/0.png").rename(root / "val/images/zero.png")
    assert f"no mask in {root}/val/masks has the name of an image in {root}/val/images; 6 left out" in refusal(root)


def test_pairs_lie_at_any_depth(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / "val" / folder / "town").mkdir()
        (root / "val" / folder / "1.png").rename(root / "val" / folder / "town/0.png")
    assert read(root).images[:, 0, 0, 0].tolist() == [0, 1]
    (root / "val/images/town/0.png").rename(root / "val/images/town/0.PNG")
    assert len(read(root).labels) == 2
    Image.new("L", (WIDTH, HEIGHT)).save(root / "val/images/town/0.bmp")
    assert "town/0.bmp have one name but for the suffix, by which masks go; remove or rename" in refusal(root)


# what is refused

EXIF = Image.Exif()
EXIF[0x112] = 3


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("masks/0.png", lambda path: Image.fromarray(NUMBERS[:, 1:]).save(path),
         "is 11 x 8 pixels, and its image 12 x 8 pixels; allowed: a mask that lies in its file as the image does"),
        ("masks/0.png", lambda path: Image.fromarray(NUMBERS).save(path, exif=EXIF),
         "is 12 x 8 pixels, turned by EXIF, and its image 12 x 8 pixels; allowed"),
        ("images/0.png", lambda path: Image.fromarray(NUMBERS).save(path, exif=EXIF),
         "masks/0.png is 12 x 8 pixels, and its image 12 x 8 pixels, turned by EXIF; allowed"),
        ("masks/0.png", lambda path: Image.fromarray(NUMBERS).convert("RGB").save(path),
         "is a mask of mode RGB, allowed: one channel of class numbers, or a palette"),
        ("masks/0.png", lambda path: Image.fromarray(NUMBERS).convert("LA").save(path), "is a mask of mode LA"),
        ("masks/0.png", lambda path: Image.fromarray(NUMBERS).convert("RGBA").save(path), "is a mask of mode RGBA"),
        ("masks/0.tif", lambda path: Image.fromarray(NUMBERS.astype(np.float32)).save(path), "is a mask of mode F"),
        ("masks/0.jpg", lambda path: Image.fromarray(NUMBERS).save(path),
         "is a mask in JPEG, allowed: PNG and TIFF, which keep class numbers"),
        ("masks/0.pgm", lambda path: Image.fromarray(NUMBERS).save(path), "is a mask in PPM, allowed: PNG"),
        ("masks/0.png", lambda path: Image.fromarray(NUMBERS + np.uint16(300)).save(path),
         "holds class 300, allowed: 0 to 254, and 255 for what is ignored"),
        ("masks/0.tif", lambda path: Image.fromarray(NUMBERS.astype(np.int32) - 1).save(path),
         "holds class -1, allowed: 0 to 254"),
        ("masks/0.tif", lambda path: Image.fromarray(NUMBERS).save(path, tiffinfo={262: 0}),
         "is a TIFF in which 0 is white, so that nobody knows which class is meant; save it as PNG"),
        ("masks/0.tif", lambda path: Image.fromarray(NUMBERS).save(
            path, save_all=True, append_images=[Image.fromarray(NUMBERS)]), "holds several images, allowed: a mask of"),
        ("masks/0.png", lambda path: path.write_bytes(b"no image"), "is not a readable image (its content is of none"),
        ("masks/0.png", lambda path: path.write_bytes(path.read_bytes()[:45]), "is not a readable image"),
        ("masks/0.png", lambda path: (path.unlink(), path.symlink_to("nowhere")),
         "cannot be opened (No such file or directory)"),
        ("images/0.png", lambda path: path.write_bytes(path.read_bytes()[:45]), "is not a readable image"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_such_image_or_mask_is_refused_by_name(
    root: Path, file: str, content: Callable[[Path], Any], said: str
) -> None:
    path = root / "val" / file
    if path.suffix != ".png":
        (root / "val/masks/0.png").unlink()
    content(path)
    assert f"{root}/val/{said if said.startswith('masks/') else f'{file} {said}'}" in refusal(root)


@pytest.mark.parametrize(
    ("numbers", "classes", "said"),
    [
        (NUMBERS, 2, "0.png holds class 2, allowed: 0 to 1, and 255 for what is ignored"),
        (np.where(NUMBERS == 2, 11, NUMBERS), 11, "0.png holds class 11, allowed: 0 to 10, and 255 for what"),
        (NUMBERS, 300, "masks number at most 255 classes, and 300 are known; 255 is ignored"),
        (
            np.where(NUMBERS > 0, 255, NUMBERS),
            None,
            "the masks hold class 0 and nothing but ignored pixels (255); number",
        ),
        (
            np.full_like(NUMBERS, 255),
            3,
            "the masks hold no class and nothing but ignored pixels (255); number classes 0",
        ),
        (np.zeros_like(NUMBERS), 3, "the masks hold class 0 and nothing but ignored pixels"),
    ],
)
def test_classes_that_are_not_there_are_refused(
    root: Path, numbers: np.ndarray, classes: int | None, said: str
) -> None:
    for number in range(2):
        Image.fromarray(numbers).save(root / f"val/masks/{number}.png")
    assert said in refusal(root, classes=classes)


def test_a_class_that_does_not_occur_keeps_its_number(root: Path) -> None:
    split = read(root, classes=5)
    assert (split.classes, split.class_names) == (5, ("0", "1", "2", "3", "4"))
    assert "5 classes, of which 3 occur" in split.reading


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "there is no folder absent; give folder-pairs:IMAGES,MASKS or folder-pairs:ROOT"),
        ("{root}/val/images,{root}/val/mask", "there is no folder {root}/val/mask; give"),
        ("{root}/val/images,{root}/val/images", "images and masks are in one folder; give each a folder of its own"),
        ("{root}/val/images", "there is no images/ in {root}/val/images; it must hold images/ and masks/, or val/"),
        ("{root}/..", "there is no images/ in {root}/..; it must hold"),
        ("~nobody-of-this-name", "cannot be listed"),
        (os.fsdecode(b"images\xff"), "is not UTF-8; rename the folder"),
    ],
)  # fmt: skip
def test_folders_that_are_not_there_are_refused(root: Path, name: str, said: str) -> None:
    name = name.format(root=root)
    assert said.format(root=root) in refusal(name)
    with pytest.raises(SpecError):
        data.check(f"folder-pairs:{name}")


def test_what_is_learned_from_measures_nothing(root: Path) -> None:
    with pytest.raises(
        SpecError, match=r"has no train/, which a teacher learns from; give ROOT with train/ and val/ in"
    ):
        data.training_set(f"folder-pairs:{root}/val/images,{root}/val/masks", SHAPE)
    (root / "val").rename(root / "kept")
    (root / "val").symlink_to(root / "train")
    assert "are one folder; images learned from measure nothing" in refusal(root)
    with pytest.raises(SpecError, match="are one folder"):
        data.training_set(f"folder-pairs:{root}", SHAPE)
    (root / "val").unlink()
    assert "there is no images/ in" in refusal(root)
    (root / "kept").rename(root / "val")
    (root / "val/masks").rename(root / "val/labels")
    assert f"there is no masks/ in {root}/val; it must hold images/ and masks/" in refusal(root)


def test_pairs_that_memory_has_no_room_for_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2 * 4 * WIDTH * HEIGHT
    monkeypatch.setattr(files, "free_memory", lambda device: size - 1)
    assert "2 images of [3, 8, 12] and their masks take 0.0 GiB" in refusal(root)
    monkeypatch.setattr(files, "free_memory", lambda device: size)
    assert len(read(root).labels) == 2


def test_a_sealed_process_cannot_read_pairs(root: Path) -> None:
    with pytest.raises(SealBroken, match="belongs to a data set"), seal.Seal():
        read(root)


# sets of pairs that have a row


@pytest.fixture
def own(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A row "mine" and its folder, with train/ and test/, below $DFKD_DATA."""
    monkeypatch.setenv("DFKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DFKD_DATA", str(tmp_path / "data"))
    (root / "val").rename(root / "test")
    (tmp_path / "data").mkdir()
    root.rename(tmp_path / "data/mine")
    facts: dict[str, Any] = {"normalization": ((0.5,) * 3, (0.5,) * 3), "presets": ("segmentation",), "mirrors": True}
    shape, names = (3, 4, 6), ("sky", "road", "car")
    registry.ROWS["mine"] = registry.from_pairs("mine", shape, names, crop_padding=0, crop=(4, 4), **facts)
    return tmp_path / "data/mine"


def test_a_row_of_pairs_reads_train_and_test_in_its_own_shape(own: Path) -> None:
    data.check("mine")
    split, row = data.evaluation_set("mine", (3, 100, 100)), data.find("mine")
    assert (split.images.shape, split.labels.shape) == ((2, 3, 4, 6), (2, 4, 6))
    assert (split.class_names, split.ignore) == (("sky", "road", "car"), 255) == (row.class_names, row.ignore)
    assert f"2 pairs read from {own}/test/images" in split.reading
    assert len(data.training_set("mine").labels) == 3
    assert (row.task, row.classes, row.is_here, row.shape, row.synthesis_shape) == (
        "segmentation", 3, True, (3, 4, 6), (3, 4, 4),
    )  # fmt: skip
    write(own / "test", "0", mask=np.where(NUMBERS == 2, 3, NUMBERS).astype(np.uint8))
    with pytest.raises(SpecError, match="holds class 3, allowed: 0 to 2"):
        data.evaluation_set("mine")


def test_a_set_of_pairs_that_is_nowhere_says_where_it_was_looked_for(own: Path, tmp_path: Path) -> None:
    (own / "test").rename(own / "val")
    assert not registry.ROWS["mine"].is_here
    places = (
        f"there is no {tmp_path}/data/mine/test or {tmp_path}/cache/datasets/mine/test, and it cannot be downloaded"
    )
    for look in (data.check, data.evaluation_set, lambda name: data.identity(name, SHAPE)):
        with pytest.raises(SpecError) as error:
            look("mine")
        assert places in str(error.value)
        assert "set DFKD_DATA to the folder that holds mine/" in str(error.value)
    (own / "val").rename(tmp_path / "val")
    (tmp_path / "cache/datasets/mine").mkdir(parents=True)
    (tmp_path / "val").rename(tmp_path / "cache/datasets/mine/test")
    assert len(data.evaluation_set("mine").labels) == 2


def test_a_measurement_is_kept_by_images_and_masks(own: Path) -> None:
    for name in ("mine", f"folder-pairs:{own}", f"folder-pairs:{own}/test/images,{own}/test/masks"):
        known = [data.identity(name, SHAPE)]
        (own / "test/masks/.hidden.png").write_bytes(b"")
        assert data.identity(name, SHAPE) == known[0]
        for folder in ("images", "masks"):
            os.utime(own / "test" / folder / "0.png", ns=(len(known), len(known)))
            known.append(data.identity(name, SHAPE))
        os.utime(own / "train/masks/0.png", ns=(9, 9))
        assert data.identity(name, SHAPE) == known[-1]
        assert len({*known}) == 3
        for folder in ("images", "masks"):
            os.utime(own / "test" / folder / "0.png")
    assert data.identity(f"folder-pairs:{own}", SHAPE) != data.identity(f"folder-pairs:{own}", (1, 8, 8))


def test_the_row_of_camvid_says_what_is_measured_and_what_is_synthesized() -> None:
    row = registry.ROWS["camvid"]
    assert (row.shape, row.synthesis_shape, row.classes, row.ignore) == ((3, 180, 240), (3, 128, 128), 11, 255)
    assert (row.task, row.mirrors, row.normalization) == ("segmentation", True, ((0.5,) * 3, (0.5,) * 3))
    assert (row.class_names[0], row.class_names[-1]) == ("Sky", "Bicyclist")


@pytest.mark.data
def test_the_real_camvid_is_what_was_published() -> None:
    if not os.environ.get("DFKD_DATA") or not registry.ROWS["camvid"].is_here:
        pytest.skip("needs camvid/ in $DFKD_DATA")
    training, held_out = data.training_set("camvid"), data.evaluation_set("camvid")
    assert (len(training.labels), len(held_out.labels)) == (367, 233)
    assert held_out.images.shape == (233, 3, 180, 240)
    assert held_out.labels.unique().tolist() == [*range(11), 255]
    assert "none left out; 11 classes, of which 11 occur" in held_out.reading
    assert not {*map(bytes, training.images.numpy())} & {*map(bytes, held_out.images.numpy())}
