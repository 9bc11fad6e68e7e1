"""Folders of images as disks have them: every kind of file, and what is done to it or left out is said."""

import itertools
import json
import os
import re
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dfkd_lab import data, nets, teachers
from dfkd_lab.__main__ import main
from dfkd_lab.data import files, image_file, registry
from dfkd_lab.errors import SpecError
from dfkd_lab.nets.wrap import Classifier
from dfkd_lab.system.text import printable
from widgets import cards

SIDE = 8
UNIQUE = itertools.count()
RAMP = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)
COLOR = np.full((SIDE, SIDE, 3), (200, 30, 90), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A val/ folder with a black image in each of the classes "a" and "b"."""
    return make(tmp_path / "images/val", ("a", "b"))


def make(split: Path, names: tuple[str, ...]) -> Path:
    for number, name in enumerate(names):
        (split / name).mkdir(parents=True)
        gray(20 * number).save(split / name / "base.png")
    return split


def gray(level: int) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), (level,) * 3)


def read(split: Path, channels: int = 3) -> data.Split:
    found = data.evaluation_set(f"folder:{split.parent}", (channels, SIDE, SIDE))
    assert found is not None
    return found


def first(split: Path, channels: int = 3) -> Tensor:
    """The first image of class "a" [C, H, W]; what is to be looked at is named to come first."""
    return read(split, channels).images[0]


def refusal(split: Path, channels: int = 3) -> str:
    with pytest.raises(SpecError) as error:
        read(split, channels)
    said = str(error.value)
    assert said.isprintable()
    return said


def tiff(values: bytes, **tags: int) -> bytes:
    """A little-endian TIFF of one strip of ``values``; ``tags`` beside those of a gray image of 16 bits."""
    given = {256: SIDE, 257: SIDE, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: len(values)}
    given |= {int(name[1:]): value for name, value in tags.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(given.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(values)) + values + struct.pack("<H", len(given)) + entries + bytes(4)


# values


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("0.png", lambda path: Image.fromarray((RAMP * 65535).astype(np.uint16)).save(path)),
        ("0.tif", lambda path: Image.fromarray((RAMP * 65535).astype(np.uint16)).save(path)),
        ("0.tiff", lambda path: Image.fromarray(RAMP.astype(np.float32)).save(path)),
        ("0.jp2", lambda path: Image.fromarray((RAMP * 65535).astype(np.uint16)).save(path)),
        ("0.pgm", lambda path: path.write_bytes(b"P5 8 8 65535\n" + (RAMP * 65535).astype(">u2").tobytes())),
        ("0.pnm", lambda path: path.write_bytes(b"P5 8 8 1023\n" + (RAMP * 1023).astype(">u2").tobytes())),
        ("0.pfm", lambda path: path.write_bytes(b"Pf\n8 8\n-1.0\n" + RAMP[::-1].astype("<f4").tobytes())),
        ("0.tif", lambda path: path.write_bytes(tiff((RAMP * 65535).astype("<u2").tobytes()))),
        ("0.tif", lambda path: path.write_bytes(tiff((65535 - RAMP * 65535).astype("<u2").tobytes(), t262=0))),
        ("0.tif", lambda path: path.write_bytes(tiff(twelve_bits((RAMP * 4095).astype(int)), t258=12))),
    ],
)
def test_values_of_more_than_a_byte_are_scaled_by_their_depth(
    folder: Path, name: str, content: Callable[[Path], Any]
) -> None:
    content(folder / "a" / name)
    assert (first(folder, 1)[0].double() / 255 - torch.from_numpy(RAMP)).abs().max() < 1 / 150
    assert "; 1 of " in (said := read(folder).reading)
    assert said.endswith(", scaled to 8 bits")


def twelve_bits(values: np.ndarray) -> bytes:
    pairs = values.reshape(-1, 2)
    packed = [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255]
    return np.stack(packed, 1).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (RAMP.astype(np.float32) * 255, "has floats from 0 to 255, allowed: 0 to 1"),
        (RAMP.astype(np.float32) - 0.5, "has floats from -0.5 to 0.5, allowed: 0 to 1"),
        (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), "has floats from nan to nan"),
        ((RAMP * 255).astype(np.int32), "has integers of 32 bits or with a sign"),
    ],
)
def test_values_of_unknown_scale_are_refused(folder: Path, values: np.ndarray, said: str) -> None:
    Image.fromarray(values).save(folder / "a/x.tif")
    assert f"{folder}/a/x.tif {said}" in refusal(folder)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "RGB", "L"])
def test_what_is_transparent_is_as_on_white_paper(folder: Path, mode: str, channels: int) -> None:
    if mode in ("RGBA", "LA", "PA"):
        image = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (0, 0, 4, SIDE))
        if mode == "LA":
            image = image.convert("LA")
        image.save(folder / f"a/0.{'tif' if mode == 'PA' else 'png'}")
    else:  # one color is declared to be transparent
        image = gray(204)
        image.paste("black", (0, 0, 4, SIDE))
        image = image.convert(mode, dither=Image.Dither.NONE)
        clear = image.getpixel((7, 7))
        image.save(folder / "a/0.png", transparency=clear)
    seen = first(folder, channels)
    assert (seen[:, :, :4].unique().tolist(), seen[:, :, 4:].unique().tolist()) == ([0], [255])
    assert "1 with transparency, put on white" in read(folder).reading


def test_alpha_that_hides_nothing_is_not_spoken_of(folder: Path) -> None:
    Image.fromarray(COLOR).convert("RGBA").save(folder / "a/0.png")
    assert first(folder)[:, 0, 0].tolist() == [200, 30, 90]
    assert "transparency" not in read(folder).reading


def test_transparency_of_16_bits_is_put_on_white_too(folder: Path) -> None:
    values = np.full((SIDE, SIDE), 257, np.uint16)
    values[0] = 513
    Image.fromarray(values).save(folder / "a/0.png", transparency=513)
    assert first(folder, 1)[0, :2, 0].tolist() == [255, 1]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB"])
def test_every_way_to_store_colors_gives_the_colors(folder: Path, mode: str) -> None:
    level = 255 if mode == "1" else 100
    suffix = {"CMYK": "jpg", "YCbCr": "jpg", "LAB": "tif"}.get(mode, "png")
    gray(level).convert(mode).save(folder / f"a/0.{suffix}")
    assert (first(folder).int() - level).abs().max() <= 3
    colored = 2 if mode in ("1", "L") else 3  # those of the fixture are
    assert f"{colored} stored in color, made gray" in read(folder, 1).reading
    assert (first(folder, 1).int() - level).abs().max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_seen_as_the_camera_was_held(folder: Path, orientation: int) -> None:
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[0, :3] = pixels[1, 0] = 255  # no turn leaves it as it was
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(folder / "a/0.png", exif=exif)
    bright = {1: ((0, 1), (1, 0)), 2: ((0, 6), (1, 7)), 3: ((7, 6), (6, 7)), 4: ((7, 1), (6, 0)),
             5: ((1, 0), (0, 1)), 6: ((1, 7), (0, 6)), 7: ((6, 7), (7, 6)), 8: ((6, 0), (7, 1))}  # fmt: skip
    seen = first(folder, 1)[0]
    assert [int(seen[place]) for place in bright[orientation]] == [255, 255]
    longer = seen[0].sum() + seen[7].sum() > seen[:, 0].sum() + seen[:, 7].sum()
    assert longer == (orientation < 5)
    assert ("turned as EXIF says" in read(folder).reading) == (orientation != 1)


def test_of_a_film_the_first_image_is_read_and_that_is_said(folder: Path) -> None:
    gray(255).save(folder / "a/0.gif", save_all=True, append_images=[gray(0)])
    assert first(folder).unique().tolist() == [255]
    assert "1 of several images, the first read" in read(folder).reading


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_png_of_16_bits_a_channel_is_scaled_too(folder: Path, kind: int, channels: int) -> None:
    samples = np.repeat((RAMP * 65535).astype(">u2")[:, :, None], channels, 2)
    if kind != 2:
        samples[:, :, -1] = 65535  # opaque
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    written = [
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in chunks
    ]
    (folder / "a/0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
    assert (first(folder, 1)[0].double() / 255 - torch.from_numpy(RAMP)).abs().max() < 1 / 150


# files


@pytest.mark.parametrize("name", ["0.PNG", "0.Jfif", "0.gif", "0.webp", "0.bmp", "0.JPEG", "0.jpe", "0.TIF", "0.ppm"])
def test_every_suffix_of_an_image_counts(folder: Path, name: str) -> None:
    gray(255).save(folder / "a" / name)
    assert first(folder).min() >= 250
    assert read(folder).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ["0.jpg", "0", "0.bin", "0.txt", "0.png.bak"])
def test_the_content_decides_not_the_suffix(folder: Path, name: str) -> None:
    gray(255).save(folder / "a" / name, format="PNG")
    assert first(folder).unique().tolist() == [255]
    assert read(folder).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", b""),
        ("x.JPG", b"<html>not found</html>"),
        ("x.webp", b"version https://git-lfs.github.com/spec/v1\n"),
        ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"),
        ("x.pgm", b"P5 8 8 255\n"),
        ("x.pgm", b"P5 eight"),
        ("x.bmp", b"BM" + bytes(60)),
        ("x.tif", b"II*\0" + b"\xff" * 60),
        ("x.gif", b"GIF89a" + bytes(10)),
    ],
)
def test_what_is_called_an_image_and_is_none_is_refused_by_name(folder: Path, name: str, content: bytes) -> None:
    (folder / "a" / name).write_bytes(content)
    assert (said := refusal(folder)).startswith(f"{folder}/a/{name} is not a readable image (")
    assert said.endswith("; replace or remove it")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_half_an_image_is_refused_by_name(folder: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path := folder / "a/half", format=kind)
    whole = path.read_bytes()
    path.unlink()
    (folder / f"a/half.{kind.lower()}").write_bytes(whole[: len(whole) // 2])
    assert f"half.{kind.lower()} is not a readable image" in refusal(folder)


def test_what_systems_and_programs_leave_behind_is_no_class_and_no_image(folder: Path) -> None:
    for place in (folder, folder / "a"):
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
            (place / name).mkdir()
            gray(255).save(place / name / "copy.png")
        for name in (".DS_Store", "._base.png", "Thumbs.db", "desktop.ini"):
            (place / name).write_bytes(b"other")
    make(folder.with_name("train"), ("a", "b"))
    (folder.with_name("train") / ".ipynb_checkpoints").mkdir()
    assert read(folder).labels.tolist() == [0, 1]
    assert "2 images read from" in read(folder).reading
    assert "14 left out (14 hidden: .DS_Store, ._base.png" in read(folder).reading


def test_the_sentence_says_what_is_left_out_and_why(folder: Path) -> None:
    (folder / "a/labels.txt").write_text("P2 is no image, and BM begins one")
    (folder / "a/weights.npy").write_bytes(b"\x93NUMPY")
    gray(255).save(folder / "stray.png")
    (folder / "b/deep/er").mkdir(parents=True)
    gray(9).save(folder / "b/deep/er/x.png")
    os.mkfifo(folder / "a/pipe.png")
    assert read(folder).reading == (
        f"3 images read from {folder}; 4 left out (1 in no class: stray.png; 2 not an image: labels.txt, weights.npy; "
        "1 not a file: pipe.png); 2 classes in the order of their names: a, b"
    )
    assert read(folder).class_names == ("a", "b")
    (folder / "a/base.png").unlink()
    assert f"class 'a' has no images in {folder}/a (labels.txt, pipe.png, weights.npy is none)" in refusal(folder)


def test_a_file_counts_once_however_many_names_it_has(folder: Path) -> None:
    (folder / "a/second.png").symlink_to(folder / "a/base.png")
    (folder / "a/third.png").hardlink_to(folder / "a/base.png")
    (folder / "a/round").symlink_to(folder / "a")
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    gray(99).save(elsewhere / "x.png")
    (folder / "b/linked").symlink_to(elsewhere)
    assert read(folder).labels.tolist() == [0, 1, 1]
    assert "2 left out (2 a second name of a file: second.png, third.png)" in read(folder).reading
    (folder / "b/of_a.png").symlink_to(folder / "a/base.png")
    assert "b/of_a.png and" in (said := refusal(folder))
    assert "are one file in two classes" in said


def test_a_link_to_nothing_is_named(folder: Path) -> None:
    (folder / "a/x.png").symlink_to(folder / "absent.png")
    assert f"{folder}/a/x.png cannot be opened (No such file" in refusal(folder)
    (folder / "a/x.png").unlink()
    (folder / "a/x.png").symlink_to("x.png")
    assert f"{folder}/a/x.png cannot be opened (Too many levels of symbolic links)" in refusal(folder)


def test_names_of_any_bytes_are_read_and_said(folder: Path) -> None:
    for number, name in enumerate((b"\xff\xfe", "\u00fc \u202e".encode(), b"two\nlines\x1b[31m")):
        (folder / "a" / os.fsdecode(name)).mkdir()
        gray(50 + number).save(folder / "a" / os.fsdecode(name) / "x.png")
    (split := read(folder)).reading.encode()
    assert split.reading.isprintable()
    assert len(split.labels) == 5
    next(folder.glob("a/two*/x.png")).write_bytes(b"")
    assert r"two\nlines\x1b[31m/x.png is not a readable image" in refusal(folder)


def test_too_many_pixels_are_refused_before_they_are_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a/base.png").unlink()
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    for header, said in (
        (b"P4 20000 10000\n", "is too large (Image size (200000000 pixels) exceeds limit"),
        (b"P4 10000 10000\n", "has 10,000 x 10,000 pixels, and at most 89,478,485 are decoded"),
    ):
        for name in ("x.pbm", "x"):  # the first that is read
            (folder / "a" / name).write_bytes(header)
            assert f"{folder}/a/{name} {said}" in refusal(folder)
            (folder / "a" / name).unlink()


def test_large_images_are_decoded_one_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "LARGE", SIDE * SIDE)
    monkeypatch.setattr(files, "AT_ONCE", 1)
    at_work, most = [], []
    convert = image_file._on_white

    def counted(*arguments: Any) -> Any:
        at_work.append(threading.get_ident())
        most.append(len(at_work))
        threading.Event().wait(0.02)
        at_work.pop()
        return convert(*arguments)

    monkeypatch.setattr(image_file, "_on_white", counted)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for number in range(6):
        Image.new("L", (SIDE, SIDE + 1)).save(folder / f"a/{number}.png")
    read(folder)
    assert max(most) <= 3  # one large image, and the two small ones of the fixture


def test_images_that_memory_has_no_room_for_are_refused_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_memory", lambda device: 383)
    assert "2 images of [3, 8, 8] take 0.0 GiB of memory" in refusal(folder)
    monkeypatch.setattr(files, "free_memory", lambda device: 384)
    assert len(read(folder).labels) == 2


# classes


def test_classes_that_are_numbers_come_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    split = make(tmp_path / "val", tuple(str(number) for number in range(12)))
    found = read(split)
    assert found.images[:, 0, 0, 0].tolist() == [20 * number for number in range(12)]
    assert found.class_names == tuple(str(number) for number in range(12))
    assert "12 classes in the order of their numbers: 0, 1, 2, ..., 11" in found.reading
    (split / "11").rename(split / "eleven")
    assert read(split).class_names[1:3] == ("1", "10")
    assert "12 classes in the order of their names: 0, 1, 10, ..., eleven" in read(split).reading


def test_folders_that_hold_no_classes_are_refused_with_the_cure(folder: Path) -> None:
    make(folder.parent / "outer/val", ("train", "val"))
    assert "outer/val holds splits (train, val), not classes" in refusal(folder.parent / "outer/val")
    with pytest.raises(SpecError, match=f"there is no val/ or test/ in .*; say folder:{folder.parent}$"):
        data.check(f"folder:{folder}")
    (folder / "b/base.png").unlink()
    (folder / "b").rmdir()
    assert "holds one class, 'a'; a classifier has at least two" in refusal(folder)
    with pytest.raises(SpecError, match="cannot be listed"):
        data.check("folder:~nobody-of-this-name/images")
    with pytest.raises(SpecError, match=r"folder:images.udcff' is not UTF-8; rename the folder"):
        data.check("folder:" + os.fsdecode(b"images\xff"))


@pytest.mark.parametrize(
    "name", ["a\nb", "\u202eabc", "\x1b[31m", "a\u2028b", "\u2067abc", os.fsdecode(b"\xff")], ids=ascii
)
def test_a_name_that_no_card_may_have_is_refused_before_anything_is_read(folder: Path, name: str) -> None:
    (folder / "b").rename(folder / name)
    named = rf"the class '{re.escape(printable(name))}' in .* has a \\.* in its name; rename the folder"
    with pytest.raises(SpecError, match=named):
        data.check(f"folder:{folder.parent}")
    folder = folder.rename(folder.with_name("train"))
    with pytest.raises(SpecError, match=named):
        data.training_set(f"folder:{folder.parent}", (3, SIDE, SIDE))
    inside = folder.parent.rename(folder.parents[1] / name)
    with pytest.raises(SpecError, match=r"has a \\.* in its name|is not UTF-8"):
        data.training_set(f"folder:{inside}", (3, SIDE, SIDE))


def test_what_is_learned_from_measures_nothing(folder: Path) -> None:
    folder.with_name("train").symlink_to(folder)
    assert f"{folder} and {folder.parent}/train are one folder; images learned from measure" in refusal(folder)
    folder.with_name("train").unlink()
    folder.with_name("test").symlink_to(folder)
    assert len(read(folder).labels) == 2


class Grays(nn.Module):
    """Knows each gray of ``make`` as the output of ``order``."""

    grays: Tensor

    def __init__(self, order: list[int]):
        super().__init__()
        self.register_buffer("grays", torch.tensor([20.0 * place for place in order]))

    def forward(self, images: Tensor) -> Tensor:
        return 9 - (images.mean((1, 2, 3))[:, None] * 255 - self.grays).abs()


def knows(order: list[int], tmp_path: Path, **facts: Any) -> teachers.Teacher:
    """A teacher of these outputs; ``facts`` are more of its card."""
    nets.register(f"grays_{next(UNIQUE)}", lambda channels, classes: Grays(order))
    card = teachers.Card([*nets.CLASSIFIERS][-1], len(order), (3, SIDE, SIDE), (0.0,), (1.0,), **facts)
    teachers.save(Classifier(Grays(order), card.mean, card.std), card, path := tmp_path / f"{card.net}.safetensors")
    return teachers.load(path)


def test_another_order_of_the_classes_than_the_teachers_is_noticed(tmp_path: Path) -> None:
    split = make(tmp_path / "val", tuple(str(number) for number in range(12)))
    by_name = sorted(range(12), key=str)
    with pytest.raises(SpecError, match=r"order of the classes looks wrong: accuracy 0.167, and 1.000 if '2' is out"):
        teachers.examine(knows(by_name, tmp_path), read(split))
    guessing = knows([0] * 12, tmp_path)
    calibration = teachers.examine(guessing, read(split))
    assert calibration is not None
    assert calibration.accuracy == pytest.approx(1 / 12)


def test_the_names_of_the_classes_are_those_of_the_teacher(tmp_path: Path) -> None:
    split = make(tmp_path / "val", ("ant", "bee", "cow"))
    teacher = knows([0, 1, 2], tmp_path, class_names=("ant", "bee", "cow"))
    assert teacher.card.class_names == ("ant", "bee", "cow")
    calibration = teachers.examine(teacher, read(split))
    assert calibration is not None
    assert calibration.accuracy == 1
    make(split, ("dog",))
    with pytest.raises(
        SpecError, match="knows 3 classes, the evaluation data has 4: it also has 'dog'; it needs a folder"
    ):
        teachers.examine(teacher, read(split))
    (split / "ant").rename(split / "eel")
    with pytest.raises(
        SpecError, match="knows 3 classes, the evaluation data has 4: it lacks 'ant'; it needs a folder"
    ):
        teachers.examine(teacher, read(split))
    other = knows([2, 0, 1], tmp_path, class_names=("cow", "ant", "bee"))
    split = make(tmp_path / "sorted/val", ("ant", "bee", "cow"))
    with pytest.raises(SpecError, match="the class 'ant' is output 1 of the teacher, and number 0 of the evaluation"):
        teachers.examine(other, read(split))
    for number, name in enumerate(other.card.class_names):
        (split / name).rename(split / str(number))
    assert (found := teachers.examine(other, read(split))) is not None
    assert found.accuracy == 1


def test_a_data_set_that_names_its_classes_is_held_to_them(tmp_path: Path) -> None:
    split = make(tmp_path / "val", tuple(sorted(registry.FASHION)))
    with pytest.raises(SpecError, match="the class 'ankle boot' is output 9 of the teacher, and number 1 of"):
        teachers.examine(knows([*range(10)], tmp_path, data="fashion_mnist"), read(split))


# who is told


def test_how_a_folder_was_read_is_said_at_every_door_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("val", "train"):
        split = make(tmp_path / name, ("ant", "bee", "cow"))
    (tmp_path / "val/ant/notes.txt").write_text("none")
    where = ["--data", f"folder:{tmp_path}", "--device", "cpu"]
    classes = "3 classes in the order of their names: ant, bee, cow"
    trained = f"3 images read from {split}; none left out; {classes}"
    measured = f"3 images read from {tmp_path}/val; 1 left out (1 not an image: notes.txt); {classes}"
    teacher = str(tmp_path / "teacher.safetensors")
    training = ["train-teacher", "convnet_8", *where, "--side", "8", "--epochs", "1", "--out", teacher]
    assert main(training) == 0
    assert capsys.readouterr().out.startswith(f"{trained}\n{measured}\nepoch 1/1")
    card = teachers.load(teacher).card
    assert card.class_names == ("ant", "bee", "cow")
    assert card.recipe.endswith(f"; {trained}; {measured}")
    assert main(["teachers", teacher, *where[:2]]) == 0
    assert f"images             {measured}\n" in capsys.readouterr().out
    run = ["run", "kd", *where, "--teacher", teacher, "--student", "convnet_8", "--rounds", "1", "--s-steps", "1"]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert f"{trained}\n{measured}\n" in said
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["notes"][-2:] == [trained, measured]
    assert (manifest["evaluation"]["reading"], manifest["evaluation"]["classes"]) == (measured, ["ant", "bee", "cow"])
    assert measured in cards.accuracy(teachers.load(teacher), where[1])[0]


def test_hidden_files_change_no_measurement_and_others_do(folder: Path) -> None:
    name, shape = f"folder:{folder.parent}", (3, SIDE, SIDE)
    before = data.identity(name, shape)
    (folder / "a/.ipynb_checkpoints").mkdir()
    gray(9).save(folder / "a/.ipynb_checkpoints/x.png")
    (folder / ".DS_Store").write_bytes(b"")
    assert data.identity(name, shape) == before
    gray(9).save(folder / "a/x.png")
    assert data.identity(name, shape) != before
