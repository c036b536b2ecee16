"""Streams of images: what the messages of IndexExamples, BuildBasis and Observe have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from striate.v1 import common_pb2 as pb
from striate.v1 import examples_pb2

from striate_service.errors import InvalidArgument
from striate_service.explain.images import GivenImage
from striate_service.explain.streams import SkippedImage
from striate_service.models.description import Preprocessing
from striate_service.servicers import reading


def read_start(first: Any, says: str) -> Any:
    """Return the start of a stream.

    Args:
        first: its first message; None: there is none.
        says: what a first message is for, in an error.
    """
    if first is None or first.WhichOneof("part") != "start":
        raise InvalidArgument("start", f"is missing; the first message {says}.")
    return first.start


async def image_messages(requests: AsyncIterator[Any], most: int) -> AsyncGenerator[Sequence[Any], None]:
    """Yield the images of each message that follows the first one; at most `most` are in one."""
    async for request in requests:
        if request.WhichOneof("part") != "images":
            raise InvalidArgument("images", "are missing; every message but the first one brings some.")
        reading.check_image_count(len(request.images.images), "images", most)
        yield request.images.images


def read_source(image: pb.Image, preprocessing: Preprocessing) -> GivenImage | str:
    """Return an image, or why it cannot be used: in a stream, that is no error."""
    if image.WhichOneof("source") == "preprocessed":
        return "is preprocessed; send files or pixels."
    try:
        return reading.read_image(image, "image", preprocessing)
    except InvalidArgument as error:
        return error.problem


def skipped_messages(skipped: Sequence[SkippedImage]) -> list[examples_pb2.SkippedImage]:
    return [examples_pb2.SkippedImage(name=image.name, reason=image.reason) for image in skipped]
