"""Streams of images: the messages that IndexExamples and BuildBasis have in common."""

from __future__ import annotations

from collections.abc import Sequence

from striate.v1 import common_pb2 as pb
from striate.v1 import examples_pb2

from striate_service.errors import InvalidArgument
from striate_service.explain.images import GivenImage
from striate_service.explain.streams import SkippedImage
from striate_service.models.description import Preprocessing
from striate_service.servicers import reading


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
