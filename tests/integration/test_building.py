"""Building a basis from more images than one request takes: sent by the caller, or read where the server may read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import striate
from conftest import settings
from PIL import Image
from striate_service.errors import InvalidArgument
from striate_service.explain.server_folders import images_in
from striate_service.local import LocalServer
from striate_service.models.embedded.pictures import draw

COUNT, LAYER, GROUPS = 40, "mixed4a", 4


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, with a subfolder, a file that is none, and links that lead out and in."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for number in range(COUNT):
        place = folder / "more" if number % 2 else folder
        Image.fromarray(draw(number, ("cat", "house")[number % 2]).image).save(place / f"{number:03}.png")
    (folder / "more" / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def builder(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[striate.Client]:
    own = settings(tmp_path_factory.mktemp("home"), devices=("cpu",), image_folders=(pictures,))
    with LocalServer(own) as server, striate.Client(server.target, timeout=300) as client:
        yield client


def test_a_basis_of_many_is_as_good_as_one_of_all_at_once(builder: striate.Client, pictures: Path) -> None:
    files = sorted(path for path in pictures.rglob("*.*"))
    steps = list(builder.build_basis("sent", files, LAYER, components=GROUPS))
    counts = [step.image_count for step in steps]
    assert counts == sorted(counts)
    assert [step.phase for step in steps if step.phase == "reading"] == ["reading"] * 3, "a message of 16 at a time"
    shares = [step.progress for step in steps if step.phase == "factorizing"]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    ((number, reason),) = [skipped for step in steps for skipped in step.skipped]
    assert files[int(number)].name == "broken.jpg"
    assert "no image" in reason
    basis = steps[-1].basis
    assert basis is not None
    assert (steps[-1].phase, basis.image_count, basis.components) == ("saved", COUNT, GROUPS)
    readable = [file for file in files if file.name != "broken.jpg"]
    at_once = builder.factorize(readable, LAYER, components=GROUPS, icons=False)
    again = builder.factorize(readable, basis="sent", icons=False)
    assert basis.relative_error <= 1.01 * at_once.relative_error
    assert again.relative_error == pytest.approx(basis.relative_error, rel=2e-3)


def test_a_basis_of_a_signed_layer_is_built_by_semi_nmf(builder: striate.Client, pictures: Path) -> None:
    files = sorted(path for path in pictures.rglob("*.png"))[:12]
    *_, last = builder.build_basis("signed", files, "mixed4a.one.bn", components=3)
    basis = last.basis
    assert basis is not None
    assert basis.method == "semi_nmf"
    at_once = builder.factorize(files, "mixed4a.one.bn", components=3, icons=False)
    again = builder.factorize(files, basis="signed", icons=False)
    assert basis.relative_error <= 1.01 * at_once.relative_error
    assert again.relative_error == pytest.approx(basis.relative_error, rel=2e-3)
    for method in ("nmf", "pca"):
        with pytest.raises(striate.InvalidArgument, match="method"):
            list(builder.build_basis("other", files, "mixed4a.one.bn", method=method))


def test_the_server_reads_what_it_may_and_finds_the_same(builder: striate.Client, pictures: Path) -> None:
    steps = list(builder.build_basis("read", [], LAYER, components=GROUPS, folder=str(pictures)))
    assert {step.total_images for step in steps} == {COUNT + 1}
    assert [name for step in steps for name, _ in step.skipped] == ["more/broken.jpg"]
    files = sorted(path for path in pictures.rglob("*.png"))
    list(builder.build_basis("sent-too", files, LAYER, components=GROUPS))
    read, sent = builder.basis("read", icons=False), builder.basis("sent-too", icons=False)
    assert read.directions is not None
    assert sent.directions is not None
    np.testing.assert_array_equal(read.directions, sent.directions)


@pytest.mark.parametrize("way", ["elsewhere", "missing", "dots", "link", "relative"])
def test_no_way_leads_out_of_the_allowed_folders(tmp_path: Path, way: str) -> None:
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    for folder in (allowed, outside):
        folder.mkdir()
        Image.new("RGB", (8, 8)).save(folder / "a.png")
    (allowed / "link").symlink_to(outside)
    (allowed / "b.png").symlink_to(outside / "a.png")
    ways = {
        "elsewhere": str(outside),
        "missing": str(allowed / "nowhere"),
        "dots": str(allowed / ".." / "outside"),
        "link": str(allowed / "link"),
        "relative": "allowed",
    }
    with pytest.raises(InvalidArgument, match="may read"):
        images_in(ways[way], [allowed], "start.folder")
    assert images_in(str(allowed), [allowed], "start.folder") == (allowed.resolve(), [allowed.resolve() / "a.png"])
    with pytest.raises(InvalidArgument, match="may read"):
        images_in(str(allowed), [], "start.folder")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "../x"}, striate.InvalidArgument),
        ({"layer": "nowhere"}, striate.NotFound),
        ({"components": 0}, striate.InvalidArgument),
        ({"folder": "/etc"}, striate.InvalidArgument),
        ({"layer": "mixed4a.one.bn", "method": "nmf"}, striate.InvalidArgument),
        ({"images": [b"no picture"]}, striate.InvalidArgument),
        ({"images": []}, striate.InvalidArgument),
    ],
)
def test_what_cannot_be_built_is_named_and_nothing_is_saved(
    builder: striate.Client, photo: np.ndarray, changes: dict[str, object], error: type[striate.StriateError]
) -> None:
    arguments = {"name": "never", "images": [photo], "layer": LAYER, "components": 2} | changes
    with pytest.raises(error) as refused:
        list(builder.build_basis(**arguments))  # type: ignore[arg-type]
    if "images" in changes:
        assert "none that could be read" in str(refused.value)
    assert "never" not in [basis.name for basis in builder.bases()]


async def test_the_awaited_client_builds_too_and_a_name_is_kept(
    builder: striate.Client, photo: np.ndarray, pictures: Path
) -> None:
    async with striate.aio.Client(builder.target, timeout=300) as client:
        steps = [step async for step in client.build_basis("awaited", [photo] * 3, LAYER, components=2)]
        assert steps[-1].basis is not None
        with pytest.raises(striate.AlreadyExists):
            _ = [step async for step in client.build_basis("awaited", [photo], LAYER, components=2)]


async def test_an_upload_that_is_refused_while_it_is_sent_ends_with_the_servers_reason(
    builder: striate.Client, photo: np.ndarray
) -> None:
    """grpc.aio said INTERNAL in three of ten such calls: it had noticed first that it could not send."""
    async with striate.aio.Client(builder.target, timeout=300) as client:
        for images in range(100):
            with pytest.raises(striate.NotFound):
                _ = [step async for step in client.build_basis("never", [photo] * (1 + images % 5), "nowhere")]


def test_an_image_too_large_for_a_message_is_left_out_and_named_by_both_kinds_of_uploads(
    builder: striate.Client, photo: np.ndarray
) -> None:
    """Of the others what the server cannot read keeps the number that the caller knows it by."""
    large = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    images = [photo, large, b"no picture", photo]
    with striate.Client(builder.target, timeout=300, max_message_bytes=2**22) as client:
        skipped = [each for step in client.build_basis("apart", images, LAYER, components=2) for each in step.skipped]
        assert sorted(name for name, _ in skipped) == ["1", "2"]
        reason = dict(skipped)["1"]
        assert reason == "has 2 MiB, too many for one message"
        labelled = [striate.LabelledImage(image, name=str(number)) for number, image in enumerate(images)]
        indexed = [each for step in client.index_examples(labelled, LAYER) for each in step.skipped]
        assert dict(indexed)["1"] == reason
        assert sorted(dict(indexed)) == ["1", "2"]
