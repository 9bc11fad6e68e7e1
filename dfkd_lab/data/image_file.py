"""One image file as uint8 pixels: what it holds decides, not its suffix, and nothing is changed without a word."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from dfkd_lab.errors import SpecError
from dfkd_lab.system.text import printable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".apng", ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm",
            ".png", ".pnm", ".ppm", ".qoi", ".tif", ".tiff", ".webp"}  # fmt: skip
"""Files of these names have to be images; one of another name may be."""
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TIFF", "WEBP")
"""That begin with a mark of their own, and are decoded without another program, as EPS is not."""
MODES = {1: "L", 3: "RGB"}
MOST_PIXELS = 2**30 // 12
"""Of an image, 89 million: where Pillow begins to suspect a decompression bomb."""
LARGE = 2**24
"""Pixels from which on images are decoded one at a time, so that threads do not hold several of them at once."""
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262
"""Tags of a TIFF."""
UPRIGHT = {"FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "ROTATE_180"}
"""The turns after which an image is as wide as before."""

_one_large_image = threading.Lock()
T = TypeVar("T")


class Unfit(Exception):
    """What is wrong with an image, as the end of a sentence that begins with its path."""


class Frame(NamedTuple):
    """How an image lies in its file: its size in pixels, and what shows it as the camera was held."""

    width: int
    height: int
    turn: Image.Transpose | None

    @property
    def seen(self) -> tuple[int, int]:
        """Height and width of what is shown."""
        is_upright = self.turn is None or self.turn.name in UPRIGHT
        return (self.height, self.width) if is_upright else (self.width, self.height)

    def __str__(self) -> str:
        return f"{self.width} x {self.height} pixels" + (", turned by EXIF" if self.turn is not None else "")


def is_image(path: Path) -> bool:
    """Whether the content begins like an image of ``FORMATS``.

    Raises:
        SpecError: if the file cannot be opened.
    """
    with _opened(path) as file:
        try:
            open_image(file).close()
        except Unfit:
            return True  # of too many pixels
        except Exception:  # what is no image leads a decoder to any of them
            return False
    return True


def read(path: Path, shape: tuple[int, int, int]) -> tuple[Tensor, list[str], Frame]:
    """The pixels as uint8 ``shape`` [1 or 3, H, W], what was done to them, a few words each, and how the image lies.

    The image is resized (bilinear) until its shorter side fits, and cropped at its center. Transparency is put on
    white; pixels of more than 8 bits are scaled by their depth, floats must be in [0, 1].

    Raises:
        SpecError: if the file cannot be opened or decoded, has too many pixels, or values of unknown scale.
    """
    return decode(path, lambda image: _fitted(image, shape))


def decode(path: Path, content: Callable[[Image.Image], T]) -> T:
    """What ``content`` makes of an image, of which nothing but the header is read before.

    Raises:
        SpecError: naming the file, if it cannot be opened, has too many pixels, or ``content`` raises anything.
    """
    with _opened(path) as file:
        try:
            with open_image(file) as image, _alone(image):
                return content(image)
        except Unfit as error:
            raise SpecError(f"{printable(path)} {error}") from None
        except Exception as error:  # a damaged file leads a decoder to any of them
            raise SpecError(
                f"{printable(path)} is not a readable image ({_why(error)}); replace or remove it"
            ) from None


def shape_of(image: Image.Image) -> tuple[int, int, int]:
    """[1 or 3, H, W] of what is shown."""
    from PIL import Image

    return 1 if Image.getmodebase(image.mode) == "L" else 3, *frame_of(image).seen


def frame_of(image: Image.Image) -> Frame:
    """How ``image`` lies in its file; a PNG may say so only behind its pixels, which are decoded then."""
    return Frame(*image.size, _turn(image))


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise SpecError(f"{printable(path)} cannot be opened ({error.strerror}); replace or remove it") from None


def _why(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "its content is of none of the formats " + ", ".join(FORMATS)
    return printable((str(error) or type(error).__name__).splitlines()[0][:120])


def open_image(file: IO[bytes]) -> Image.Image:
    """The image with its header read, and no pixel.

    Raises:
        Unfit: if it has more pixels than are decoded.
    """
    from PIL import Image

    Image.init()
    try:
        image = Image.open(file, formats=[each for each in FORMATS if each in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unfit(f"is too large ({str(error).split(',')[0]}); make it smaller") from None
    if image.width * image.height > MOST_PIXELS:
        size = f"{image.width:,} x {image.height:,} pixels"
        raise Unfit(f"has {size}, and at most {MOST_PIXELS:,} are decoded; make it smaller")
    return image


def _alone(image: Image.Image) -> AbstractContextManager[object]:
    """Around decoding ``image``."""
    return _one_large_image if image.width * image.height > LARGE else nullcontext()


def _fitted(image: Image.Image, shape: tuple[int, int, int]) -> tuple[Tensor, list[str], Frame]:
    from PIL import Image, ImageOps

    channels, height, width = shape
    done: list[str] = []
    if getattr(image, "is_animated", False) and image.format != "MPO":  # that has previews of the same
        done.append("of several images, the first read")
    image.load()
    frame = frame_of(image)
    pixels = _on_white(_eight_bits(image, done), done)
    if frame.turn is not None:
        pixels = pixels.transpose(frame.turn)
        done.append("turned as EXIF says")
    if pixels.mode == "LAB":  # which Pillow makes nothing but colors of
        pixels = pixels.convert("RGB")
    if channels == 1 and Image.getmodebase(image.mode) != "L":
        done.append("stored in color, made gray")
    fitted = ImageOps.fit(pixels.convert(MODES[channels]), (width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(fitted)).view(height, width, channels).permute(2, 0, 1), done, frame


def _eight_bits(image: Image.Image, done: list[str]) -> Image.Image:
    """``image`` if its values are bytes, else its values scaled to bytes by their depth; Pillow would cut them off.

    Raises:
        Unfit: if nothing says what value is white, or a value is none that the depth allows.
    """
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "I" and image.format != "PPM":  # whose values Pillow brings to 16 bits
        raise Unfit("has integers of 32 bits or with a sign, whose white nobody knows; save it with 8 or 16 bits")
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
    white, unit = (1.0, "floats") if image.mode == "F" else (2.0**bits - 1, f"{bits} bits")
    values = np.asarray(image, np.float32)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= white):  # also of NaN
        raise Unfit(f"has {unit} from {low:g} to {high:g}, allowed: 0 to {white:g}; scale them, or save it with 8 bits")
    if tags.get(PHOTOMETRIC) == 0:  # 0 is white, which Pillow turns round for bytes only
        values = white - values
    if (clear := image.info.get("transparency")) is not None:
        values = np.where(values == clear, white, values)
        done.append("with transparency, put on white")
    done.append(f"of {unit}, scaled to 8 bits")
    return Image.fromarray((values * (255 / white) + 0.5).astype(np.uint8))


def _on_white(image: Image.Image, done: list[str]) -> Image.Image:
    """``image`` as it looks on white paper; a decoder leaves any color, mostly black, where it is transparent."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema()[0] == 255:
        return layered
    done.append("with transparency, put on white")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What shows the image as the camera was held; None if it lies so already, or its EXIF cannot be read."""
    from PIL import ExifTags, Image

    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # viewers show it as it lies, too
        return None
    return Image.Transpose[turns[orientation]] if orientation in turns else None
