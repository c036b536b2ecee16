"""Large pictures: worked on in strips to the same pixels, stopped between them, and scaled while they are decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from striate_service.explain.decoding_process import decode_apart
from striate_service.explain.images import DecodedImage, Fit, GivenImage, Target, decode, open_image
from striate_service.explain.stoppable import Stop, Stopped, resize, turn
from striate_service.models.description import Preprocessing

USUAL = Preprocessing(256, 224, "bilinear", (0.5,) * 3, (0.25,) * 3)
MAX_PIXELS = 10**8


class StopAtCheck(Stop):
    """Stops at a later check, and counts them."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.set()
        super().check()


def jpeg(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def decoded(data: bytes, *, exact: bool, fit: Fit = Fit.CROP) -> DecodedImage:
    target = Target(USUAL, fit, exact)
    return decode(open_image(GivenImage(data, "image"), MAX_PIXELS, target), "image", target)


def difference(data: bytes, fit: Fit = Fit.CROP) -> tuple[int, float]:
    """Return the largest and the mean difference that scaling makes, of 255."""
    exact, scaled = decoded(data, exact=True, fit=fit), decoded(data, exact=False, fit=fit)
    assert scaled.view == exact.view
    found = abs(exact.pixels.astype(int) - scaled.pixels)
    return found.max(), found.mean()


@pytest.mark.parametrize("resampling", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("box", [None, (0.25, 3.5, 1499.75, 998.0)])
def test_resizing_in_strips_is_pillows_to_the_byte(resampling: Image.Resampling, box: tuple | None) -> None:
    picture = noise(1500, 1000)
    found = resize(picture, (70, 41), resampling, box or (0, 0, 1500, 1000), Stop())
    np.testing.assert_array_equal(np.asarray(found), np.asarray(picture.resize((70, 41), resampling, box)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_picture_is_turned_as_a_small_one(orientation: int) -> None:
    small = noise(15, 10)
    large = small.resize((1500, 1000), Image.Resampling.NEAREST)
    found = turn(large, orientation, Stop()).reduce(100)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(turn(small, orientation, Stop())))


def test_photographs_of_12_megapixels_change_by_a_fifth_of_a_level(shared: Path) -> None:
    for name in ("cat_720p.jpg", "parrot.jpg", "hot_dog.jpg"):
        photo = Image.open(shared / "photos" / name)
        scale = (12e6 / (photo.width * photo.height)) ** 0.5
        size = (round(photo.width * scale), round(photo.height * scale))
        largest, mean = difference(jpeg(photo.resize(size, Image.Resampling.LANCZOS)))
        assert 0 < largest <= 3, name
        assert mean <= 0.2, name


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_picture_lies_where_the_whole_one_does(fit: Fit, orientation: int) -> None:
    """Of odd sides libjpeg's last pixel stands for a part of one, which a turn brings to another side."""
    rows, columns = np.mgrid[:2051, :2053] / 2053
    smooth = np.stack([columns, rows, (columns + rows) / 2], axis=2) * 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    largest, mean = difference(jpeg(Image.fromarray(smooth.astype(np.uint8)), exif=exif.tobytes()), fit)
    assert largest <= 1
    assert 0 < mean < 0.1


def test_noise_changes_by_half_a_level() -> None:
    """No photograph has as much detail."""
    largest, mean = difference(jpeg(noise(4032, 3024)))
    assert largest <= 3
    assert 0.2 < mean < 0.5


def test_pictures_of_two_megapixels_are_exact() -> None:
    assert difference(jpeg(noise(1600, 1280))) == (0, 0)


def test_scaling_takes_a_quarter_of_the_memory() -> None:
    data = jpeg(Image.new("RGB", (4032, 3024)))
    exact, scaled = (
        open_image(GivenImage(data, "image"), MAX_PIXELS, Target(USUAL, Fit.CROP, exact)).bytes
        for exact in (True, False)
    )
    assert scaled * 4 == exact == 4 * 4032 * 3024


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "TIFF"])
def test_decoding_ends_wherever_it_is_stopped(file_format: str) -> None:
    buffer = io.BytesIO()
    noise(1500, 1000).save(buffer, file_format)
    target = Target(USUAL, Fit.CROP, exact=True)
    for number in (1, 3, 5):
        opened = open_image(GivenImage(buffer.getvalue(), "image"), MAX_PIXELS, target)
        with pytest.raises(Stopped):
            decode(opened, "image", target, StopAtCheck(number))


def test_a_process_decodes_the_same_pixels() -> None:
    buffer = io.BytesIO()
    noise(300, 200).save(buffer, "WEBP")
    target = Target(USUAL, Fit.CROP, exact=True)
    found = decode_apart(GivenImage(buffer.getvalue(), "image"), MAX_PIXELS, target, Stop())
    np.testing.assert_array_equal(found.pixels, decoded(buffer.getvalue(), exact=True).pixels)
