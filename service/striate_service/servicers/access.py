"""Who may call, what they may do, and how much of it: bearer tokens and their rights and quotas.

The operator's file knows of each token its SHA-256 only. Nothing here reads a clock or waits: the time, in seconds, is
passed in, and whoever asks is told how long to wait.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from striate.v1 import common_pb2

from striate_service.config import OpenService
from striate_service.errors import NotAllowed, TokenQuotaExceeded, Unauthenticated
from striate_service.stores.renewed import Renewed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LOOK_AGAIN = 1.0  # seconds between looks at the file
_BUSY_RETRY = 1.0  # seconds after which a caller with too many requests under way may try again: nobody knows


class Right(str, Enum):
    """What a token may do."""

    READ = "read"
    """Ask, and read what is stored."""
    LABEL = "label"
    """Change what is stored: names, examples, bases."""
    MODELS = "models"
    """Load and unload models."""
    MONITOR = "monitor"
    """Ask how the server is; make monitors, send them images and ask what has drifted."""


READING_SERVICES = {"striate.v1.InterpretabilityService"}
"""All of whose methods need `read` and no more."""
RIGHTS: dict[str, dict[str, Right]] = {
    "striate.v1.ModelService": {
        "ListModels": Right.READ,
        "GetModel": Right.READ,
        "LoadModel": Right.MODELS,
        "UnloadModel": Right.MODELS,
    },
    "striate.v1.LabelService": {"ListLabels": Right.READ, "SetLabel": Right.LABEL, "DeleteLabel": Right.LABEL},
    "striate.v1.ExampleService": {"GetExamples": Right.READ, "IndexExamples": Right.LABEL},
    "striate.v1.BasisService": {
        "ListBases": Right.READ,
        "GetBasis": Right.READ,
        "BuildBasis": Right.LABEL,
        "DeleteBasis": Right.LABEL,
    },
    "striate.v1.MonitoringService": {
        "ListMonitors": Right.MONITOR,
        "GetMonitor": Right.MONITOR,
        "CreateMonitor": Right.MONITOR,
        "DeleteMonitor": Right.MONITOR,
        "Observe": Right.MONITOR,
        "AddOutcomes": Right.MONITOR,
        "GetDrift": Right.MONITOR,
        "ExportProfile": Right.MONITOR,
        "ImportProfile": Right.MONITOR,
    },
    "grpc.health.v1.Health": {"Check": Right.MONITOR, "List": Right.MONITOR, "Watch": Right.MONITOR},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": Right.READ},
}
"""The right that each method needs, by service: docs/security.md has the same table."""

FIELD_RIGHTS: dict[tuple[str, str], Right] = {("Factorize", "save_as"): Right.LABEL}
"""The further right that a method needs where a field is set."""

_OPEN: dict[OpenService, str] = {
    "health": "grpc.health.v1.Health",
    "reflection": "grpc.reflection.v1alpha.ServerReflection",
}


class Token(BaseModel):
    """What the operator says of a token. Quotas that are left away are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    """Whom it stands for, also for fair sharing and in messages."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the token's text, in lower-case hexadecimal."""
    rights: frozenset[Right]
    requests_per_second: Annotated[float | None, Field(gt=0)] = None
    """On average; as many at once, and at least one. A message of a stream counts as a request does."""
    images_per_second: Annotated[float | None, Field(gt=0)] = None
    """Likewise. A request of more images is taken, and the next one waits all the longer."""
    concurrent_requests: Annotated[int | None, Field(ge=1)] = None
    """A stream counts as one."""


class _TokensFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Tokens:
    """All tokens that the server knows."""

    tokens: tuple[Token, ...]

    @classmethod
    def parse(cls, text: str) -> Tokens:
        """Read a TOML file's text.

        Raises:
            ValueError: the text holds no tokens; it says where.
        """
        try:
            tokens = _TokensFile.model_validate(tomllib.loads(text)).tokens
        except ValidationError as error:
            problem = error.errors(include_input=False)[0]
            raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
        for attribute in ("name", "sha256"):
            if len({getattr(token, attribute) for token in tokens}) < len(tokens):
                raise ValueError(f"two tokens have the same {attribute}")
        return cls(tokens)

    def find(self, authorization: str) -> Token:
        """Return the token of the metadata `authorization`, in a time that tells nothing of the others.

        Raises:
            Unauthenticated: there is none, or it is unknown.
        """
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise Unauthenticated(
                "this server answers callers with a token: striate.Client(token=...), STRIATE_TOKEN for commands, or "
                "the metadata `authorization: Bearer TOKEN`"
            )
        digest = hashlib.sha256(given.strip().encode()).hexdigest()
        matches = [token for token in self.tokens if hmac.compare_digest(token.sha256, digest)]
        if not matches:
            raise Unauthenticated("this server does not know the token; its operator can give you one")
        return matches[0]


@dataclass
class Bucket:
    """A bucket of tokens that fills at a rate and holds what comes in a second, at least one."""

    full_at: float = 0.0
    """When it is full again, on the clock of `now`."""

    def take(self, count: float, rate: float | None, now: float) -> float:
        """Take `count`, and return 0; or take nothing, and return the seconds after which it is worth trying again.

        More than the bucket holds is taken from a full one, which then needs longer to fill: on average the rate holds.

        Args:
            rate: a second; None: without limit.
        """
        if rate is None or count <= 0:
            return 0.0
        size = max(rate, 1.0)
        content = size - max(self.full_at - now, 0.0) * rate
        missing = min(count, size) - content
        if missing > 1e-6:  # less is rounding: the clock has run for hours
            return missing / rate
        self.full_at = max(self.full_at, now) + count / rate
        return 0.0


@dataclass
class Usage:
    """How much of a token's quotas is used."""

    requests: Bucket = field(default_factory=Bucket)
    images: Bucket = field(default_factory=Bucket)
    running: int = 0


@dataclass(frozen=True)
class Caller:
    """Whom a request comes from."""

    token: Token
    usage: Usage

    @property
    def name(self) -> str:
        return self.token.name

    def check_right(self, method: str, right: Right, what: str = "") -> None:
        """Raise NotAllowed unless the token has a right.

        Args:
            what: of the method needs it.
        """
        if right not in self.token.rights:
            raise NotAllowed(f"the token {self.name!r} lacks the right {right.value!r}, which {what}{method} needs")

    def check_fields(self, method: str, request: Any) -> None:
        """Raise NotAllowed if a field is set for which the token lacks the right."""
        for (named, field_name), right in FIELD_RIGHTS.items():
            if named == method and getattr(request, field_name):
                self.check_right(method, right, f"{field_name} of ")

    def check_running(self) -> None:
        """Raise TokenQuotaExceeded if one more request would be too many at a time."""
        limit = self.token.concurrent_requests
        if limit is not None and self.usage.running >= limit:
            raise TokenQuotaExceeded(self.name, f"{limit} requests at a time", _BUSY_RETRY)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a request while it is answered.

        Raises:
            TokenQuotaExceeded: it would be one too many.
        """
        self.check_running()
        self.usage.running += 1
        try:
            yield
        finally:
            self.usage.running -= 1

    def take_request(self, now: float) -> None:
        """Count a request.

        Raises:
            TokenQuotaExceeded: it comes too soon.
        """
        rate = self.token.requests_per_second
        if wait := self.usage.requests.take(1, rate, now):
            raise TokenQuotaExceeded(self.name, f"{rate:g} requests a second", wait)

    def take_images(self, request: Message, now: float) -> None:
        """Count a request's images.

        Raises:
            TokenQuotaExceeded: they come too soon.
        """
        rate = self.token.images_per_second
        if rate is None:
            return
        if wait := self.usage.images.take(images_in(request), rate, now):
            raise TokenQuotaExceeded(self.name, f"{rate:g} images a second", wait)


class Access:
    """Admits calls by the tokens of a file.

    Args:
        file: of tokens; read again when it changes.
        open_services: who needs no token.

    Raises:
        OSError, ValueError: the file cannot be read.
    """

    def __init__(self, file: Path, open_services: Collection[OpenService]) -> None:
        self._tokens = Renewed("tokens", [file], lambda: _read(file))
        self._open = {_OPEN[name] for name in open_services}
        self._usage: dict[str, Usage] = {}
        """By the token's name: quotas hold across a change of the file."""
        self._look_at = 0.0

    def admit(self, path: str, metadata: Sequence[tuple[str, str | bytes]], now: float) -> Caller | None:
        """Return whom a call comes from, before its request is read; None: the method is open to all.

        Raises:
            Unauthenticated: the call has no token, or an unknown one.
            NotAllowed: the token lacks the method's right.
            TokenQuotaExceeded: the call comes too soon, or is one too many at a time.
        """
        service, _, method = path.removeprefix("/").rpartition("/")
        if service in self._open:
            return None
        if now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN
            self._tokens.refresh()
        token = self._tokens.value.find(_authorization(metadata))
        caller = Caller(token, self._usage.setdefault(token.name, Usage()))
        right = right_of(service, method)
        if right is None:
            raise NotAllowed(f"no token has a right to {method}")
        caller.check_right(method, right)
        caller.check_running()
        caller.take_request(now)
        return caller


def _authorization(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    return str(next((value for key, value in metadata if key == "authorization"), ""))


def _read(file: Path) -> Tokens:
    try:
        return Tokens.parse(file.read_text())
    except OSError as error:
        raise OSError(f"tokens {file} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"tokens {file}: {error}") from error


def right_of(service: str, method: str) -> Right | None:
    """Return the right that a method needs; None: no right is enough."""
    return Right.READ if service in READING_SERVICES else RIGHTS.get(service, {}).get(method)


@functools.cache
def _can_hold_images(message: Descriptor) -> bool:
    return message == common_pb2.Image.DESCRIPTOR or any(
        _can_hold_images(field.message_type) for field in message.fields if field.message_type
    )


def images_in(request: Message) -> int:
    """Return how many images a request brings, or a message of a stream of them."""
    count = 0
    for described, value in request.ListFields():
        if described.message_type is None or not _can_hold_images(described.message_type):
            continue  # a request may repeat what it cannot hold images in many thousand times
        messages = [value] if isinstance(value, Message) else value
        is_image = described.message_type == common_pb2.Image.DESCRIPTOR
        count += len(messages) if is_image else sum(map(images_in, messages))
    return count
