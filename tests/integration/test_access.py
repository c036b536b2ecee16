"""Who may call: TLS, client certificates, and tokens with rights and quotas, on real servers over real sockets."""

from __future__ import annotations

import datetime
import hashlib
import inspect
import ipaddress
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import striate
from conftest import settings
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from striate.v1 import models_pb2, models_pb2_grpc
from striate_service.local import LocalServer

pytest.importorskip("cryptography", reason="certificates for the tests are made with the package cryptography")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BOTH = [striate.Client, striate.aio.Client]
LAYER = "mixed3a"
PICTURE = np.zeros((32, 32, 3), np.uint8)


class Authority:
    """Signs certificates, in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(self._name, self._key, [x509.BasicConstraints(ca=True, path_length=None)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Write a certificate for this machine, and its key; over those of the same name, if there are any."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, [x509.SubjectAlternativeName(names)])
        files = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _signed(self, subject: x509.Name, key: Any, extensions: list[x509.ExtensionType]) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())


async def answer(call: Any) -> Any:
    return await call if inspect.isawaitable(call) else call


async def model_names(kind: type[Any], target: str, **options: Any) -> list[str]:
    """Ask for the models by a client of either kind."""
    client = kind(target, timeout=20, **options)
    try:
        return [model.name for model in await answer(client.models())]
    finally:
        await answer(client.close())


def bearer(name: str, **more: object) -> str:
    """Return the lines of the tokens file for the token "secret-NAME"."""
    values = {"rights": ["read"]} | more
    lines = [f"{key} = {str(value).replace(chr(39), chr(34))}" for key, value in values.items()]
    digest = hashlib.sha256(f"secret-{name}".encode()).hexdigest()
    return "\n".join(["[[tokens]]", f'name = "{name}"', f'sha256 = "{digest}"', *lines, ""])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ca")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "other-ca")


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that asks for a certificate of the authority, and for tokens."""
    certificate, key = authority.issue("server")
    home = tmp_path_factory.mktemp("home")
    tokens = home / "tokens.toml"
    tokens.write_text(
        bearer("reader")
        + bearer("writer", rights=["read", "label"])
        + bearer("quick", requests_per_second=0.5)
        + bearer("slow", requests_per_second=0.01)
        + bearer("few", images_per_second=0.5)
        + bearer("many", images_per_second=4)
        + bearer("one", rights=["read", "label"], concurrent_requests=1)
    )
    own = settings(
        home,
        devices=("cpu",),
        tls_certificate=certificate,
        tls_key=key,
        tls_client_ca=authority.file,
        tokens=tokens,
        metrics_port=-1,
    )
    with LocalServer(own) as running:
        yield running


@pytest.fixture(scope="module")
def tls(authority: Authority) -> striate.Tls:
    return striate.Tls(authority.file, *authority.issue("client"))


@pytest.fixture
def caller(secured: LocalServer, tls: striate.Tls) -> Iterator[Callable[[str], striate.Client]]:
    """Make clients of the secured server, with a token each."""
    opened: list[striate.Client] = []

    def open_client(name: str) -> striate.Client:
        opened.append(striate.Client(secured.target, timeout=20, tls=tls, token=name and f"secret-{name}"))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


@pytest.mark.parametrize("kind", BOTH)
async def test_who_shows_a_certificate_and_a_token_is_answered(
    kind: type[Any], secured: LocalServer, tls: striate.Tls
) -> None:
    assert await model_names(kind, secured.target, tls=tls, token="secret-reader") == ["parts"]
    assert await model_names(kind, secured.target, credentials=tls.credentials(), token="secret-reader") == ["parts"]


@pytest.mark.parametrize("kind", BOTH)
async def test_who_shows_none_or_a_strangers_is_not(
    kind: type[Any], secured: LocalServer, authority: Authority, stranger: Authority
) -> None:
    for own in (None, True, striate.Tls(authority.file), striate.Tls(authority.file, *stranger.issue("client"))):
        with pytest.raises(striate.Unavailable):
            await model_names(kind, secured.target, tls=own or False, token="secret-reader")


@pytest.mark.parametrize("kind", BOTH)
async def test_a_server_that_another_authority_vouches_for_is_not_trusted(
    kind: type[Any], secured: LocalServer, authority: Authority, stranger: Authority
) -> None:
    with pytest.raises(striate.ConnectionFailed, match="certificate"):
        await model_names(kind, secured.target, tls=striate.Tls(stranger.file, *authority.issue("client")))


@pytest.mark.parametrize("kind", BOTH)
async def test_without_a_known_token_nobody_is_answered(
    kind: type[Any], secured: LocalServer, tls: striate.Tls
) -> None:
    with pytest.raises(striate.Unauthenticated, match="STRIATE_TOKEN"):
        await model_names(kind, secured.target, tls=tls)
    with pytest.raises(striate.Unauthenticated, match="does not know the token"):
        await model_names(kind, secured.target, tls=tls, token="secret-nobody")
    with pytest.raises(striate.Unauthenticated):
        await model_names(kind, secured.target, tls=tls, metadata=[("authorization", "Basic c2VjcmV0")])


def test_a_token_opens_what_it_has_a_right_to(caller: Callable[[str], striate.Client]) -> None:
    reader, writer = caller("reader"), caller("writer")
    with pytest.raises(striate.PermissionDenied, match="'reader' lacks the right 'label', which SetLabel needs"):
        reader.set_label(LAYER, 1, "edges")
    with pytest.raises(striate.PermissionDenied, match="'label', which save_as of Factorize needs"):
        reader.factorize(PICTURE, LAYER, save_as="mine", icons=False)
    with pytest.raises(striate.PermissionDenied, match="'models', which UnloadModel needs"):
        writer.unload_model("parts")
    writer.set_label(LAYER, 1, "edges")
    assert "edges" in [label.text for label in reader.labels(LAYER)]


def test_requests_that_come_too_soon_are_refused_and_told_when_to_come_again(
    caller: Callable[[str], striate.Client],
) -> None:
    quick = caller("quick")
    quick.models()
    with pytest.raises(striate.QuotaExceeded, match=r"0\.5 requests a second") as refused:
        quick.models()
    assert refused.value.retry_after is not None
    time.sleep(refused.value.retry_after)
    quick.models()


def test_the_refusal_has_the_details_of_google_rpc(secured: LocalServer, tls: striate.Tls) -> None:
    metadata = [("authorization", "Bearer secret-slow")]
    with grpc.secure_channel(secured.target, tls.credentials()) as channel:
        stub = models_pb2_grpc.ModelServiceStub(channel)
        stub.ListModels(models_pb2.ListModelsRequest(), metadata=metadata)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ListModels(models_pb2.ListModelsRequest(), metadata=metadata)
    trailer = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    details = status_pb2.Status.FromString(trailer).details
    quota, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
    assert details[0].Unpack(quota)
    assert details[1].Unpack(retry)
    assert quota.violations[0].subject == "slow"
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0


def test_images_have_a_quota_of_their_own_and_streams_are_slowed_down(caller: Callable[[str], striate.Client]) -> None:
    few, many = caller("few"), caller("many")
    few.activations([PICTURE] * 10, LAYER, reduce="mean")  # more than in a second: the next one waits the longer
    with pytest.raises(striate.QuotaExceeded, match=r"0\.5 images a second") as refused:
        few.activations(PICTURE, LAYER, reduce="mean")
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 5
    few.models()
    begun = time.monotonic()
    found = list(many.stream_activations(((str(number), PICTURE) for number in range(8)), LAYER, reduce="mean"))
    assert [key for key, each in found if isinstance(each, striate.StriateError)] == []
    assert time.monotonic() - begun > 0.9


def test_only_so_many_requests_are_under_way_at_a_time(caller: Callable[[str], striate.Client]) -> None:
    one = caller("one")

    def slowly() -> Iterator[striate.LabelledImage]:
        yield striate.LabelledImage(PICTURE)
        with pytest.raises(striate.QuotaExceeded, match="1 requests at a time"):
            one.models()

    list(one.index_examples(slowly(), LAYER))
    one.models()


def test_a_call_is_refused_before_its_request_is_read(secured: LocalServer, tls: striate.Tls) -> None:
    with grpc.secure_channel(secured.target, tls.credentials()) as channel:
        garbled = channel.unary_unary("/striate.v1.LabelService/SetLabel", request_serializer=lambda text: text)
        with pytest.raises(grpc.RpcError) as refused:
            garbled(b"\xff\xff\xff no message", metadata=[("authorization", "Bearer secret-reader")])
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        index = channel.stream_stream("/striate.v1.ExampleService/IndexExamples", request_serializer=lambda text: text)
        with pytest.raises(grpc.RpcError) as endless:
            next(iter(index(iter(lambda: b"x" * 1000, b""))))
        assert endless.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_needs_no_token(secured: LocalServer, tls: striate.Tls) -> None:
    with grpc.secure_channel(secured.target, tls.credentials()) as channel:
        found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert found.status == health_pb2.HealthCheckResponse.SERVING


def test_commands_take_certificates_and_the_token(secured: LocalServer, tls: striate.Tls) -> None:
    options = ["--server", secured.target, "--tls-certificate", str(tls.certificate), "--tls-key", str(tls.key)]

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from striate.cli import main; main()", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables, timeout=60)

    assert run("health", *options, "--tls-ca", str(tls.ca)).returncode == 0
    asked = run("models", "--json", *options, STRIATE_TLS_CA=str(tls.ca), STRIATE_TOKEN="secret-reader")
    assert '"parts"' in asked.stdout
    refused = run("models", *options, STRIATE_TLS_CA=str(tls.ca))
    assert refused.returncode == 1
    assert "STRIATE_TOKEN" in refused.stderr


def test_what_is_renewed_is_taken_up_without_a_restart(
    tmp_path: Path, authority: Authority, stranger: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.issue("renewed")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(bearer("ann"))
    own = settings(
        tmp_path / "home",
        devices=("cpu",),
        tls_certificate=certificate,
        tls_key=key,
        tokens=tokens,
        open_services=[],
        metrics_port=-1,
    )

    def ask(name: str, ca: Path = authority.file) -> str:
        with striate.Client(server.target, tls=striate.Tls(ca), token=f"secret-{name}", timeout=20) as client:
            return client.models()[0].name

    def patiently(ask_again: Callable[[], str]) -> str:
        end = time.monotonic() + 10
        while True:
            try:
                return ask_again()
            except striate.StriateError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    with LocalServer(own) as server, caplog.at_level(logging.INFO, logger="striate_service"):
        assert ask("ann") == "parts"
        with striate.Client(server.target, tls=striate.Tls(authority.file), token="secret-ann") as early:
            early.models()
            other_certificate, other_key = stranger.issue("server")
            certificate.write_bytes(other_certificate.read_bytes())
            with pytest.raises(striate.Unavailable):
                ask("ann", stranger.file)  # half renewed: the former certificate stays
            assert ask("ann") == "parts"
            key.write_bytes(other_key.read_bytes())
            assert ask("ann", stranger.file) == "parts"
            early.models()  # what is connected stays so
        with pytest.raises(striate.Unavailable):
            ask("ann")

        tokens.write_text(bearer("bob", rights=["read", "monitor"]))
        assert patiently(lambda: ask("bob", stranger.file)) == "parts"
        with pytest.raises(striate.Unauthenticated):
            ask("ann", stranger.file)
        tokens.write_text("[[tokens]]\nname =")
        caplog.clear()
        for _ in range(2):
            time.sleep(1.1)  # the file is looked at once a second
            assert ask("bob", stranger.file) == "parts"
        complaints = [record for record in caplog.records if "tokens" in record.getMessage()]
        assert len(complaints) == 1
        assert "former tokens stay" in complaints[0].getMessage()

        with grpc.secure_channel(server.target, striate.Tls(stranger.file).credentials()) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.RpcError) as closed:
                health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert closed.value.code() is grpc.StatusCode.UNAUTHENTICATED
            monitoring = [("authorization", "Bearer secret-bob")]
            health.Check(health_pb2.HealthCheckRequest(), timeout=10, metadata=monitoring)
