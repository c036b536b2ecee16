"""Any picture a caller may send becomes the pixels that the model was trained on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from striate.images import write_image
from striate.tensors import tensor_from_array
from striate.v1 import common_pb2 as pb
from striate_service.errors import InvalidArgument
from striate_service.explain.images import DecodedImage, Target, decode, open_image
from striate_service.models.description import Preprocessing
from striate_service.models.torchvision_compat import import_torchvision
from striate_service.servicers.reading import read_fit, read_image

PREPROCESSING = Preprocessing(64, 48, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def encoded(picture: Image.Image, file_format: str, **options: object) -> pb.Image:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return pb.Image(encoded=buffer.getvalue())


def opened_and_decoded(image: pb.Image, fit: pb.Fit = pb.FIT_STRETCH) -> DecodedImage:
    target = Target(PREPROCESSING, read_fit(fit, "fit"), exact=True)
    return decode(open_image(read_image(image, "image", PREPROCESSING), 10**8, target), "image", target)


def pixels(image: pb.Image, fit: pb.Fit = pb.FIT_STRETCH) -> np.ndarray:
    return opened_and_decoded(image, fit).pixels


@pytest.fixture
def picture() -> Image.Image:
    """Red at the left, blue at the right."""
    array = np.zeros((60, 90, 3), np.uint8)
    array[:, :45, 0] = 250
    array[:, 45:, 2] = 250
    return Image.fromarray(array)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_every_format_is_read(picture: Image.Image, file_format: str) -> None:
    found = pixels(encoded(picture, file_format)).astype(int)
    assert abs(found[24, 5] - (250, 0, 0)).max() < 12
    assert abs(found[24, 43] - (0, 0, 250)).max() < 12


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "CMYK", "1", "I;16", "I", "YCbCr"])
def test_every_mode_becomes_rgb(picture: Image.Image, mode: str) -> None:
    if mode in ("I;16", "I"):
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
        converted = Image.fromarray(grey if mode == "I;16" else grey.astype(np.int32))
        expected = picture.convert("L").convert("RGB")
    else:
        converted = picture.convert(mode)
        expected = converted.convert("RGBA").convert("RGB")
    found = pixels(encoded(converted, "TIFF" if mode in ("CMYK", "YCbCr", "I") else "PNG"))
    resized = np.asarray(expected.resize((48, 48), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(found.astype(int), resized.astype(int), atol=2)


@pytest.mark.parametrize("mode", ["I;16", "I", "LA", "RGBA", "P", "CMYK", "1"])
def test_a_picture_is_the_same_from_a_path_from_bytes_and_from_pil(mode: str, tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 48 * 48).reshape(48, 48)
    if mode.startswith("I"):
        given = Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.int32))
    else:
        given = Image.merge("LA", [Image.fromarray((grey // 257).astype(np.uint8))] * 2).convert(mode)
    path = tmp_path / ("picture.tif" if mode in ("CMYK", "I") else "picture.png")
    given.save(path)
    seen = []
    for image in (path, path.read_bytes(), given):
        message = pb.Image()
        write_image(message, image)
        seen.append(pixels(message))
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])
    assert mode != "I;16" or 120 < seen[0].mean() < 135


def test_grey_values_that_no_png_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 65,535"):
        write_image(pb.Image(), Image.fromarray(np.full((4, 4), 70_000, np.int32)))


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert (pixels(encoded(clear, "PNG")) == 255).all()


def test_the_first_frame_of_an_animation_counts(picture: Image.Image) -> None:
    other = Image.new("RGB", picture.size, "green")
    found = pixels(encoded(picture, "GIF", save_all=True, append_images=[other], duration=100))
    assert found[24, 5, 0] > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(picture: Image.Image, orientation: int) -> None:
    """A viewer shows every one of these with red at the left."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = picture.transpose(undo[orientation]) if orientation in undo else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    message = encoded(stored, "JPEG", exif=exif.tobytes(), quality=95)
    found = opened_and_decoded(message)
    assert found.pixels[24, 5, 0] > 200
    assert found.pixels[24, 43, 2] > 200
    assert (found.view.width, found.view.height) == (90, 60)


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (333, 201), (50, 70)])
def test_cropping_gives_torchvisions_own_pixels(size: tuple[int, int]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    transforms = import_torchvision().transforms
    expected = transforms.CenterCrop(48)(transforms.Resize(64)(Image.fromarray(array)))
    image = pb.Image(pixels=tensor_from_array(array))
    np.testing.assert_array_equal(pixels(image, fit=pb.FIT_CROP), np.asarray(expected))


def test_the_view_says_which_part_the_network_saw() -> None:
    image = pb.Image(pixels=tensor_from_array(np.zeros((100, 200, 3), np.uint8)))

    def box(fit: pb.Fit) -> tuple[float, ...]:
        crop = opened_and_decoded(image, fit).view.crop
        return crop.left, crop.top, crop.right, crop.bottom

    assert box(pb.FIT_CROP) == (62.5, 12.5, 137.5, 87.5)  # 48/64 of the short side, in the middle
    assert box(pb.FIT_STRETCH) == (0, 0, 200, 100)
    assert box(pb.FIT_PAD) == (0, -50, 200, 150)  # all of it, with room above and below


def test_padding_keeps_the_whole_picture_and_its_proportions(picture: Image.Image) -> None:
    found = pixels(encoded(picture, "PNG"), fit=pb.FIT_PAD)
    assert (found[:7] == 128).all(), "the mean's grey above"
    assert (found[-7:] == 128).all()
    assert (found[8:40, :20, 0] > 200).all()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (pb.Image(), "is empty"),
        (pb.Image(encoded=b""), "no image that can be read"),
        (pb.Image(encoded=b"<svg></svg>"), "no image that can be read"),
        (pb.Image(pixels=tensor_from_array(np.zeros((4, 4, 4), np.uint8))), "uint8 .height, width, 3."),
        (pb.Image(pixels=tensor_from_array(np.zeros((4, 4, 3), np.float32))), "uint8 .height, width, 3."),
        (pb.Image(preprocessed=tensor_from_array(np.zeros((3, 4, 4), np.float32))), r"\[3, 48, 48\]"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_would_be(image: pb.Image, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        opened_and_decoded(image)


def test_a_floating_point_tiff_is_refused() -> None:
    message = encoded(Image.fromarray(np.random.rand(20, 20).astype(np.float32)), "TIFF")
    with pytest.raises(InvalidArgument, match="floating-point"):
        pixels(message)
