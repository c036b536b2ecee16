"""A decoder sees only what makes pixels; what would cost it much is refused by the file's structure."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from striate_service.errors import InvalidArgument
from striate_service.explain import images
from striate_service.explain.image_files import FORMATS, BadFile, read_file
from striate_service.explain.images import Fit, GivenImage, Target, decode, open_image
from striate_service.explain.stoppable import PictureFile, Stop
from striate_service.models.description import Preprocessing

PREPROCESSING = Preprocessing(32, 32, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
TARGET = Target(PREPROCESSING, Fit.STRETCH, exact=True)
MAX_PIXELS = 10**8

TWELVE_BITS = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGBYUGBIU"
    "FRT/wQALDAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
"""8 x 8 of middle grey, written by libjpeg-turbo's 12-bit encoder."""
ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4z"
    "NDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/yQARCAAgACADASIAAhEB"
    "AxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AKWn1Xvd3JPcW8EnXVVjhSVCY0D/2Q=="
)
"""32 x 32, red at the left and blue at the right, with arithmetic coding."""


def saved(picture: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    """Return what a network would see, uint8 [32, 32, 3]."""
    return decode(open_image(GivenImage(data, "image"), MAX_PIXELS, TARGET), "image", TARGET).pixels


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(chunks: bytes) -> bytes:
    """A red PNG with further chunks after its header."""
    data = saved(Image.new("RGB", (8, 8), "red"), "PNG")
    return data[:33] + chunks + data[33:]


def deep_png(color: int, pixel: bytes, chunks: bytes = b"") -> bytes:
    """A PNG of 8 x 8 equal pixels with 16 bits."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress((b"\0" + pixel * 8) * 8))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + body + chunk(b"IEND", b"")


def tiff(width: int, height: int, bits: int, body: bytes, *more: tuple[int, int, int, int]) -> bytes:
    """A grey TIFF without compression in one strip; `more`: entries as (tag, kind, count, value)."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(body)), *more]
    after = 8 + 2 + 12 * (len(entries) + 1) + 4
    directory = sorted([*entries, (273, 4, 1, after)], key=lambda entry: entry[0])
    packed = b"".join(struct.pack("<HHII", *entry) for entry in directory)
    return b"II*\0" + struct.pack("<IH", 8, len(directory)) + packed + bytes(4) + body


def progressive(side: int, extra_scans: int) -> bytes:
    data = saved(Image.new("RGB", (side, side), "red"), "JPEG", progressive=True)
    scan, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    return data[:end] + data[scan:end] * extra_scans + data[end:]


@pytest.mark.parametrize(
    "side_note",
    [
        chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2_000_000))),
        chunk(b"iCCP", b"p\0\x07no method"),
        chunk(b"tEXt", b"k\0v")[:-1] + b"!",
        chunk(b"pHYs", bytes(9))[:-1] + b"!",
        chunk(b"eXIf", b"MM\0*" + b"\xff" * 40),
        chunk(b"tIME", b""),
    ],
    ids=["long text", "long profile", "unknown method", "text's checksum", "size's checksum", "EXIF", "empty date"],
)
def test_a_png_with_a_bad_side_note_is_read(side_note: bytes) -> None:
    assert (pixels(png_with(side_note)) == (255, 0, 0)).all()


def test_a_png_of_very_many_chunks_is_refused() -> None:
    with pytest.raises(BadFile, match="50,000 chunks"):
        read_file(png_with(chunk(b"IDAT", b"") * 50_000), MAX_PIXELS)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("exif_prefix", [b"", b"Exif\0\0Exif\0\0"])
def test_a_picture_is_turned_once(file_format: str, exif_prefix: bytes) -> None:
    array = np.zeros((8, 16, 3), np.uint8)
    array[:, :8] = (250, 0, 0)  # red at the left: upright (6) at the top
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"quality": 95} if file_format == "JPEG" else {"lossless": True} if file_format == "WEBP" else {}
    written = exif.tobytes() if file_format != "TIFF" else exif
    if exif_prefix and isinstance(written, bytes):
        written = exif_prefix + written.removeprefix(b"Exif\0\0")
    seen = pixels(saved(Image.fromarray(array), file_format, exif=written, **options))
    assert seen[2, 16, 0] > 200
    assert seen[29, 16, 0] < 50


def test_a_jpegs_notes_are_left_out_and_its_pixels_are_the_same() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    plain, noted = saved(picture, "JPEG"), saved(picture, "JPEG", comment=b"x" * 9000, icc_profile=b"p" * 200_000)
    assert len(read_file(noted, MAX_PIXELS).data) <= len(plain)
    np.testing.assert_array_equal(pixels(noted), pixels(plain))


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_a_jpegs_colors_are_kept(mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode)
    expected = np.asarray(picture.convert("RGB"))[0, 0].astype(int)
    assert abs(pixels(saved(picture, "JPEG", quality=95))[4, 4] - expected).max() < 6


def test_scans_are_counted() -> None:
    assert (pixels(progressive(16, 300))[:, :, 0] > 240).all(), "small pictures may have many"
    with pytest.raises(BadFile, match="more than 500 scans"):
        read_file(progressive(16, 600), MAX_PIXELS)
    with pytest.raises(BadFile, match="more than 125 scans"):
        read_file(progressive(2000, 120), MAX_PIXELS)


def test_what_looks_like_scans_behind_a_picture_is_not_counted() -> None:
    assert (pixels(progressive(16, 0) + b"\xff\xda\0\0" * 1000)[:, :, 0] > 240).all()


def test_each_scan_is_read_by_itself() -> None:
    """Twenty scans of a few bytes each may take seconds: between them a decoder can be stopped."""
    file = read_file(progressive(64, 5), MAX_PIXELS)
    assert len(file.block_ends) > 10
    assert all(file.data.startswith(b"\xff\xda", place) for place in file.block_ends)
    reader = PictureFile(file.data, file.block_ends)
    reader.stop = Stop()
    blocks = list(iter(lambda: reader.read(10_000), b""))
    assert b"".join(blocks) == file.data
    assert max(block.count(b"\xff\xda") for block in blocks) == 1


def test_a_12_bit_jpeg_is_refused_in_words() -> None:
    with pytest.raises(InvalidArgument, match="JPEG of 12 bits a color; save it with 8, or as PNG with 16"):
        pixels(base64.b64decode(TWELVE_BITS))


def test_arithmetic_coding_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg cannot wait for more of such a file."""
    monkeypatch.setattr(images, "BLOCK_BYTES", 64)
    found = pixels(base64.b64decode(ARITHMETIC))
    assert (found[:, :10, 0] > 200).all()
    assert (found[:, 22:, 2] > 200).all()


def test_a_jpeg_of_very_many_segments_is_refused() -> None:
    data = saved(Image.new("RGB", (8, 8)), "JPEG")
    with pytest.raises(BadFile, match="4,096 segments"):
        read_file(data[:2] + b"\xff\xfe\0\2" * 5000 + data[2:], MAX_PIXELS)


def test_a_tiffs_tiles_count_as_pixels() -> None:
    data = tiff(8, 8, 8, bytes(64), (322, 4, 1, 24_576), (323, 4, 1, 24_576))
    with pytest.raises(BadFile, match=r"tiles of 603,979,776 pixels; this server takes at most 100,000,000"):
        read_file(data, MAX_PIXELS)


def test_a_tiffs_values_are_counted() -> None:
    with pytest.raises(BadFile, match="2,000,000 values of tag 324; at most 100,000"):
        read_file(tiff(8, 8, 8, bytes(8_000_000), (324, 4, 2_000_000, 200)), MAX_PIXELS)


def test_notes_of_a_tiff_are_left_out() -> None:
    """Each would be copied: 900 times the file."""
    notes = [(40_000 + number, 7, 1_000_000, 0) for number in range(900)]
    data = tiff(8, 8, 8, bytes([255]) * 64 + bytes(1_000_000), *notes)
    kept = read_file(data, MAX_PIXELS)
    assert len(Image.open(io.BytesIO(kept.data)).tag_v2) == 9
    assert (pixels(data) == 255).all()


def test_comments_of_a_gif_are_left_out() -> None:
    data = saved(Image.new("RGB", (8, 8), "red"), "GIF")
    comments = b"!\xfe" + (b"\xff" + b"c" * 255) * 50 + b"\0"
    start = 13 + (3 << (data[10] & 7) + 1)
    assert (pixels(data[:start] + comments + data[start:]) == (255, 0, 0)).all()
    assert len(read_file(data[:start] + comments + data[start:], MAX_PIXELS).data) <= len(data)
    with pytest.raises(BadFile, match="100,000 blocks"):
        read_file(data[:start] + b"!\xfe" + b"\1c" * 100_001 + b"\0" + data[start:], MAX_PIXELS)


def test_large_bitmaps_in_run_lengths_are_refused() -> None:
    header = b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 5000, -5000, 1, 8, 1, 0, 0, 0, 0, 0)
    with pytest.raises(BadFile, match="run lengths"):
        read_file(header, MAX_PIXELS)


def test_the_canvas_of_a_webp_is_checked_before_it_is_allocated() -> None:
    canvas = struct.pack("<I", 0) + (2**23).to_bytes(3, "little") * 2
    with pytest.raises(BadFile, match="8388609 x 8388609 pixels"):
        read_file(b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 10) + canvas, MAX_PIXELS)


@pytest.mark.parametrize("size", [(70_000, 1), (1, 70_000)])
def test_no_side_is_longer_than_a_jpegs(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgument, match="a side may have 65,535"):
        pixels(saved(Image.new("L", size), "PNG"))
    with pytest.raises(InvalidArgument, match="a side may have 65,535"):
        open_image(GivenImage(np.zeros((*size, 3), np.uint8), "image"), MAX_PIXELS, TARGET)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (deep_png(2, struct.pack(">HHH", 1000, 0, 65535)), (3, 0, 255)),
        (deep_png(0, struct.pack(">H", 30_000)), (116, 116, 116)),
        (deep_png(0, struct.pack(">H", 30_000), chunk(b"tRNS", struct.pack(">H", 30_000))), (255, 255, 255)),
        (
            deep_png(2, struct.pack(">HHH", 1000, 0, 9), chunk(b"tRNS", struct.pack(">HHH", 1000, 0, 9))),
            (255, 255, 255),
        ),
        (deep_png(4, struct.pack(">HH", 40_000, 0)), (255, 255, 255)),
        (tiff(8, 8, 12, b"\xff" * 96), (255, 255, 255)),
        (tiff(8, 8, 12, b"\x80\x08\x00" * 32), (127, 127, 127)),
        (tiff(8, 8, 16, struct.pack("<H", 30_000) * 64), (116, 116, 116)),
        (tiff(8, 8, 32, struct.pack("<I", 30_000) * 64), (116, 116, 116)),
    ],
    ids=["rgb", "grey", "clear grey", "clear rgb", "grey with alpha", "12, white", "12, grey", "16", "32"],
)
def test_more_than_8_bits_become_8(data: bytes, seen: tuple[int, int, int]) -> None:
    assert (pixels(data) == seen).all()


def test_32_bits_of_an_unknown_range_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="above 65,535, of no known range"):
        pixels(tiff(8, 8, 32, struct.pack("<I", 70_000) * 64))


def test_large_pictures_are_converted_in_strips_to_the_same_pixels() -> None:
    values = np.random.default_rng(0).integers(0, 256, (1100, 1000, 4), np.uint8)
    picture = Image.fromarray(values)
    over_white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    expected = over_white.resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels(saved(picture, "PNG", compress_level=1)), np.asarray(expected))


def test_a_thin_picture_is_resized_where_it_is_kept() -> None:
    """The middle of a column whose rows grow lighter, as if the whole had been resized."""
    column = np.linspace(0, 255, 20_000).astype(np.uint8)[:, None, None].repeat(3, axis=2)
    target = Target(Preprocessing(40, 32, "bilinear", (0.5,) * 3, (0.25,) * 3), Fit.CROP, exact=True)
    decoded = decode(open_image(GivenImage(column, "image"), MAX_PIXELS, target), "image", target)
    assert decoded.pixels.shape == (32, 32, 3)
    assert abs(decoded.pixels.astype(int) - 127).max() <= 1
    crop = decoded.view.crop
    assert (crop.top, crop.bottom) == pytest.approx((9999.6, 10000.4))


def _original(file_format: str) -> bytes:
    array = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, object] = {"exif": exif.tobytes()} if file_format in ("JPEG", "PNG", "WEBP") else {}
    if file_format == "JPEG":
        options["progressive"] = True
    if file_format == "TIFF":
        options["compression"] = "tiff_lzw"
    return saved(Image.fromarray(array), file_format, **options)


MUTATIONS = int(os.environ.get("CASES", "1080")) // 18
"""Of each format and each kind: `make fuzz` tries more."""


def _flip(data: bytearray, choose: random.Random) -> bytes:
    for _ in range(choose.randint(1, 4)):
        data[choose.randrange(min(len(data), 200))] = choose.choice((0, 1, 127, 128, 255, choose.randrange(256)))
    return bytes(data)


def _cut(data: bytearray, choose: random.Random) -> bytes:
    return bytes(data[: choose.randrange(len(data))])


def _double(data: bytearray, choose: random.Random) -> bytes:
    start, end = sorted(choose.randrange(len(data)) for _ in range(2))
    return bytes(data[:end] + data[start:end] * choose.randint(1, 3) + data[end:])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("mutate", [_flip, _cut, _double])
def test_a_mutated_file_is_read_or_refused(
    file_format: str, mutate: Callable[[bytearray, random.Random], bytes]
) -> None:
    original = _original(file_format)
    choose = random.Random(f"{file_format} {mutate.__name__}")
    for _ in range(MUTATIONS):
        with contextlib.suppress(InvalidArgument):
            assert pixels(mutate(bytearray(original), choose)).shape == (32, 32, 3)
