"""Every mistake that a caller can make has its status, its details, and a sentence that a person understands."""

from __future__ import annotations

import io
from pathlib import Path

import grpc
import numpy as np
import pytest
import striate
from conftest import settings
from PIL import Image
from striate.v1 import common_pb2 as pb
from striate.v1 import interpretability_pb2 as messages
from striate.v1.interpretability_pb2_grpc import InterpretabilityServiceStub
from striate_service.local import LocalServer


def test_an_unknown_model_or_layer_is_not_found_and_close_ones_are_named(
    client: striate.Client, photo: np.ndarray
) -> None:
    with pytest.raises(striate.NotFound, match="no model 'part'; did you mean 'parts'") as missing:
        client.activations(photo, "mixed4a", model="part")
    assert (missing.value.kind, missing.value.name) == ("model", "part")
    with pytest.raises(striate.NotFound, match="no layer 'mixed4z'; did you mean 'mixed4"):
        client.activations(photo, "mixed4z")
    with pytest.raises(striate.NotFound, match="no class 'dogs'; did you mean 'dog'"):
        client.semantic_dictionary(photo, "mixed4a", classes=["dogs"], icons=False)


@pytest.mark.parametrize(
    ("change", "field", "advice"),
    [
        ({"images": []}, "images", "send 1 to 64"),
        ({"images": [b"nothing to see"]}, "images[0]", "no image that can be read"),
        ({"layers": []}, "layers", "at least one"),
        ({"layers": ["mixed4a", "mixed4a"]}, "layers", "twice"),
        ({"channels": [0, 999]}, "channels[1]", "0 to 159"),
        ({"classes": 99}, "classes", "0 to 20"),
        ({"images": [np.zeros((3, 50, 50), np.float32)]}, "images[0].preprocessed", "[3, 112, 112]"),
        ({"images": [np.full((3, 112, 112), np.nan, np.float32)]}, "images[0].preprocessed", "NaN"),
    ],
)
def test_bad_fields_are_named_with_what_would_be_right(
    change: dict, field: str, advice: str, client: striate.Client, photo: np.ndarray
) -> None:
    with pytest.raises(striate.InvalidArgument) as error:
        client.activations(**{"images": [photo], "layers": ["mixed4a"], **change})
    assert list(error.value.violations) == [field]
    assert advice in error.value.violations[field]


def test_an_unknown_priority_is_refused_and_known_ones_are_not(server: LocalServer, photo: np.ndarray) -> None:
    with striate.Client(server.target, priority="batch") as pipeline:
        assert pipeline.activations(photo, "mixed4a", reduce="mean")["mixed4a"].shape == (1, 160)
    with (
        striate.Client(server.target, metadata=(("striate-priority", "urgent"),)) as hasty,
        pytest.raises(striate.InvalidArgument, match="should be interactive or batch"),
    ):
        hasty.activations(photo, "mixed4a")


def test_too_many_images_and_mixed_kinds_are_refused(client: striate.Client, photo: np.ndarray) -> None:
    with pytest.raises(striate.InvalidArgument, match="at most 64"):
        client.activations([photo[:8, :8]] * 65, "mixed4a")
    with pytest.raises(striate.InvalidArgument, match="mixes"):
        client.activations([photo, np.zeros((3, 112, 112), np.float32)], "mixed4a")


def test_a_truncated_photo_is_called_damaged(client: striate.Client, photo: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG")
    with pytest.raises(striate.InvalidArgument, match="damaged"):
        client.activations(buffer.getvalue()[:3000], "mixed4a")


def test_components_out_of_range_say_the_range(client: striate.Client, photo: np.ndarray) -> None:
    with pytest.raises(striate.InvalidArgument, match=r"0 to 49 \(.* 49 positions of 208 channels; 0 chooses\)"):
        client.factorize(photo, "mixed5b", components=50, icons=False)


def test_a_tensor_of_the_wrong_length_is_explained(server: LocalServer) -> None:
    with grpc.insecure_channel(server.target) as channel:
        stub = InterpretabilityServiceStub(channel)
        short = pb.Tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=[1, 8, 4, 4], data=b"1234")
        with pytest.raises(grpc.RpcError) as error:
            stub.Factorize(messages.FactorizeRequest(activations=short))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "holds 4 bytes, but float32 [1, 8, 4, 4] takes 512" in error.value.details()


def test_a_deadline_that_passes_is_said_to_have_passed(client: striate.Client, photo: np.ndarray) -> None:
    with pytest.raises(striate.DeadlineExceeded):
        client.activations([photo] * 40, "mixed4a", timeout=0.02)
    assert client.activations(photo, "mixed4a", reduce="mean").predictions, "and nobody else suffers"


def test_a_message_that_is_too_large_comes_with_advice(client: striate.Client, tmp_path: Path) -> None:
    big = [np.zeros((2900, 2900, 3), np.uint8)] * 3
    with pytest.raises(striate.MessageTooLarge, match="fewer images"):
        client.activations(big, "mixed4a")


def test_a_reply_that_would_be_too_large_is_refused_before_it_is_computed(tmp_path: Path, photo: np.ndarray) -> None:
    small = settings(tmp_path, max_message_bytes=2**20, devices=("cpu",))
    with LocalServer(small) as server, striate.Client(server.target) as client:
        with pytest.raises(striate.InvalidArgument, match="reduce by mean or max"):
            client.activations([photo[:100, :100]] * 8, "conv1", classes=0)
        assert client.activations([photo[:100, :100]] * 8, "conv1", reduce="mean").predictions


def test_an_oversized_image_is_refused_by_its_header(tmp_path: Path) -> None:
    with LocalServer(settings(tmp_path, max_pixels_per_image=10_000, devices=("cpu",))) as server:
        bomb = io.BytesIO()
        Image.new("L", (20_000, 20_000)).save(bomb, "PNG")
        with striate.Client(server.target) as client, pytest.raises(striate.InvalidArgument, match="at most 10,000"):
            client.activations(bomb.getvalue(), "mixed4a")


def test_nobody_at_the_address_is_said_with_what_to_do() -> None:
    with (
        striate.Client("127.0.0.1:1", timeout=5) as client,
        pytest.raises(striate.ConnectionFailed, match="striate serve"),
    ):
        client.models()


def test_a_missing_file_is_noticed_before_any_call(client: striate.Client) -> None:
    with pytest.raises(FileNotFoundError, match=r"no image file nowhere\.jpg"):
        client.activations("nowhere.jpg", "mixed4a")
    with pytest.raises(TypeError, match="int is no image"):
        client.activations(3, "mixed4a")  # type: ignore[arg-type]
