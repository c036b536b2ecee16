"""Tokens, rights and quotas, as values: the clock is passed in."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from pydantic import ValidationError
from striate.cli import tokens as token_command
from striate.v1 import bases_pb2, common_pb2, examples_pb2, interpretability_pb2, labels_pb2, models_pb2, monitoring_pb2
from striate_service.backends.protocol import StartError
from striate_service.config import load
from striate_service.errors import NotAllowed, TokenQuotaExceeded, Unauthenticated
from striate_service.server import SERVICES, check_exposure
from striate_service.servicers.access import (
    RIGHTS,
    Access,
    Bucket,
    Caller,
    Right,
    Token,
    Tokens,
    Usage,
    images_in,
    right_of,
)
from striate_service.servicers.context import caller_name, read_terms

FILES = (
    interpretability_pb2,
    models_pb2,
    labels_pb2,
    examples_pb2,
    bases_pb2,
    monitoring_pb2,
    health_pb2,
    reflection_pb2,
)
DIGEST = hashlib.sha256(b"secret").hexdigest()
ANN = f'[[tokens]]\nname = "ann"\nsha256 = "{DIGEST}"\nrights = ["read"]\n'
READ = "/striate.v1.ModelService/ListModels"
SECRET = [("authorization", "Bearer secret")]


def services() -> list[ServiceDescriptor]:
    return [service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()]


def test_every_method_of_every_service_has_a_right() -> None:
    assert set(SERVICES) < {service.full_name for service in services()}
    for service in services():
        assert all(right_of(service.full_name, method.name) for method in service.methods), service.full_name


def test_the_documentation_has_the_table_of_rights() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    for methods in RIGHTS.values():
        for method, right in methods.items():
            assert [name for name, row in rows.items() if f"`{method}`" in row] in ([right.value], ["read", "label"])
            assert f"`{method}`" in rows[right.value], method


def test_the_commands_know_the_rights_of_the_server() -> None:
    assert tuple(right.value for right in Right) == token_command.RIGHTS


def test_every_request_that_can_bring_images_is_counted() -> None:
    def brings_images(message: Descriptor) -> bool:
        return any(
            field.message_type == common_pb2.Image.DESCRIPTOR or brings_images(field.message_type)
            for field in message.fields
            if field.message_type
        )

    def filled(message: Descriptor, depth: int = 4) -> object:
        made = GetMessageClass(message)()
        for field in message.fields if depth else ():
            if field.message_type and (
                field.message_type == common_pb2.Image.DESCRIPTOR or brings_images(field.message_type)
            ):
                inner = filled(field.message_type, depth - 1)
                part = getattr(made, field.name)
                part.append(inner) if field.is_repeated else part.CopyFrom(inner)
        return made

    requests = [method.input_type for service in services() for method in service.methods]
    with_images = [request for request in requests if brings_images(request)]
    assert len(with_images) >= 7
    for request in requests:
        assert images_in(filled(request)) == (request in with_images), request.full_name


def test_a_token_is_found_by_its_hash() -> None:
    tokens = Tokens.parse(ANN)
    assert tokens.find("Bearer secret").name == "ann"
    assert tokens.find("bearer secret").rights == {Right.READ}
    for wrong in ("", "secret", "Bearer", "Bearer ", "Bearer secre", f"Bearer {DIGEST}", "Basic secret"):
        with pytest.raises(Unauthenticated):
            tokens.find(wrong)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[tokens]", "line 1"),
        (ANN.replace(DIGEST, "abc"), r"tokens\.0\.sha256"),
        (ANN.replace('"read"', '"all"'), r"tokens\.0\.rights"),
        (ANN + "requests = 3", r"tokens\.0\.requests"),
        (ANN + "images_per_second = 0", "images_per_second"),
        (ANN + ANN, "two tokens have the same name"),
        (ANN + ANN.replace("ann", "bob"), "two tokens have the same sha256"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as error:
        Tokens.parse(text)
    assert not isinstance(error.value, ValidationError)


def test_a_bucket_gives_what_comes_in_a_second_at_once_and_then_its_rate() -> None:
    bucket = Bucket()
    assert [bucket.take(1, 2.0, now=100.0) for _ in range(3)] == [0, 0, pytest.approx(0.5)]
    assert bucket.take(1, 2.0, now=100.4) == pytest.approx(0.1)
    assert bucket.take(1, 2.0, now=100.5) == 0
    assert [bucket.take(1, 2.0, now=900.0) for _ in range(3)] == [0, 0, pytest.approx(0.5)]


def test_what_a_bucket_promises_it_keeps() -> None:
    bucket, now = Bucket(), 1e6
    for count in (3, 1, 7, 2, 2):
        wait = bucket.take(count, 3.0, now)
        now += wait
        assert wait == 0 or bucket.take(count, 3.0, now) == 0


def test_more_than_a_bucket_holds_is_taken_from_a_full_one_and_the_rate_holds() -> None:
    bucket = Bucket()
    assert bucket.take(64, 4.0, now=10.0) == 0
    assert bucket.take(64, 4.0, now=10.0) == pytest.approx(16)
    assert bucket.take(1, 4.0, now=10.0) == pytest.approx(15.25)
    assert bucket.take(64, 4.0, now=26.0) == 0


def test_a_bucket_of_less_than_one_a_second_gives_one() -> None:
    bucket = Bucket()
    assert bucket.take(1, 0.1, now=50.0) == 0
    assert bucket.take(1, 0.1, now=50.0) == pytest.approx(10)
    assert Bucket().take(1000, None, now=50.0) == 0


def test_a_request_is_under_way_until_it_ends_however_it_does() -> None:
    caller = Caller(Token(name="ann", sha256=DIGEST, rights=frozenset(), concurrent_requests=1), Usage())
    with caller.running(), pytest.raises(TokenQuotaExceeded, match="ann allows 1 requests at a time"):
        caller.check_running()
    with pytest.raises(KeyError), caller.running():
        raise KeyError
    caller.check_running()


def test_quotas_hold_across_a_change_of_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(ANN + "requests_per_second = 0.1\n")
    access = Access(file, ["health"])
    assert access.admit("/grpc.health.v1.Health/Check", [], now=0) is None
    admitted = access.admit(READ, SECRET, now=0)
    assert admitted is not None
    assert admitted.name == "ann"
    file.write_text(ANN.replace('"read"', '"read", "label"') + "requests_per_second = 0.1\n")
    with pytest.raises(NotAllowed):
        access.admit("/striate.v1.LabelService/SetLabel", SECRET, now=0.5)  # the file is looked at once a second
    with pytest.raises(TokenQuotaExceeded, match=r"0\.1 requests a second"):
        access.admit("/striate.v1.LabelService/SetLabel", SECRET, now=2)
    file.unlink()
    with caplog.at_level(logging.ERROR):
        for now in (12, 24, 36):
            assert access.admit(READ, SECRET, now=now)
    assert [record.getMessage() for record in caplog.records] == [
        f"the former tokens stay in use: tokens {file} cannot be read (No such file or directory)"
    ]


def test_a_method_that_no_right_covers_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(ANN)
    with pytest.raises(NotAllowed, match="no token has a right to Erase"):
        Access(file, []).admit("/striate.v1.NewService/Erase", SECRET, now=0)


def test_a_tokens_name_is_its_callers_account_whatever_the_metadata_says() -> None:
    class Call:
        def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
            return (("striate-caller", "somebody else"),)

        def time_remaining(self) -> None:
            return None

        def peer(self) -> str:
            return "ipv4:127.0.0.1:4711"

    assert read_terms(Call()).caller == "somebody else"
    reset = caller_name.set("ann")
    assert read_terms(Call()).caller == "ann"
    caller_name.reset(reset)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
def test_on_this_machine_alone_nothing_is_refused_or_said(host: str, caplog: pytest.LogCaptureFixture) -> None:
    check_exposure(load(host=host, allow_model_changes=True, image_folders=("/",)))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "anybody may call (no tokens) and traffic is not encrypted (no tls_certificate)"),
        ({"tokens": "t"}, "traffic is not encrypted (no tls_certificate)"),
        ({"tls_certificate": "c", "tls_key": "k"}, "anybody may call (no tokens)"),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "striate.example"])
def test_where_others_reach_it_the_server_says_what_is_open_in_a_line(
    host: str, changes: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    check_exposure(load(host=host, **changes))
    assert [record.getMessage() for record in caplog.records] == [f"on {host} {said}: see docs/security.md"]
    for risky in ({"allow_model_changes": True}, {"image_folders": ("/photos",)}):
        with pytest.raises(StartError, match=f"{next(iter(risky))} is refused .* insecure = true"):
            check_exposure(load(host=host, **changes, **risky))
        check_exposure(load(host=host, **changes, **risky, insecure=True))


def test_with_tls_and_tokens_or_client_certificates_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    encrypted = {"host": "0.0.0.0", "tls_certificate": "c", "tls_key": "k", "allow_model_changes": True}
    check_exposure(load(**encrypted, tokens="t"))
    check_exposure(load(**encrypted, tls_client_ca="ca"))
    assert caplog.records == []


@pytest.mark.parametrize("changes", [{"tls_certificate": "c"}, {"tls_key": "k"}, {"tls_client_ca": "ca"}])
def test_settings_that_need_others_say_so(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="tls_certificate and tls_key"):
        load(**changes)
