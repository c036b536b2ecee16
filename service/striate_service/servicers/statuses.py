"""Errors as gRPC statuses with google.rpc details: the only place that knows both."""

from __future__ import annotations

import logging
import re

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from sqlalchemy.exc import DatabaseError

from striate_service.errors import (
    AlreadyExists,
    CannotStore,
    Damaged,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    LaterVersion,
    NotAllowed,
    NotFound,
    NothingSent,
    Overloaded,
    QueueFull,
    QuotaExceeded,
    ReplyTooLarge,
    RequestError,
    RequestTooLarge,
    TokenQuotaExceeded,
    TooManyBytes,
    TooManyCalls,
    TooManyIcons,
    Unauthenticated,
    Unavailable,
    WorkFailed,
    WrongWeights,
)

logger = logging.getLogger(__name__)

_CODES: dict[type[RequestError], int] = {
    InvalidArgument: code_pb2.INVALID_ARGUMENT,
    ReplyTooLarge: code_pb2.INVALID_ARGUMENT,
    NotFound: code_pb2.NOT_FOUND,
    AlreadyExists: code_pb2.ALREADY_EXISTS,
    WrongWeights: code_pb2.FAILED_PRECONDITION,
    FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    Damaged: code_pb2.FAILED_PRECONDITION,
    LaterVersion: code_pb2.FAILED_PRECONDITION,
    CannotStore: code_pb2.FAILED_PRECONDITION,
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    NotAllowed: code_pb2.PERMISSION_DENIED,
    RequestTooLarge: code_pb2.RESOURCE_EXHAUSTED,
    QueueFull: code_pb2.RESOURCE_EXHAUSTED,
    TooManyCalls: code_pb2.RESOURCE_EXHAUSTED,
    TooManyBytes: code_pb2.RESOURCE_EXHAUSTED,
    TooManyIcons: code_pb2.RESOURCE_EXHAUSTED,
    QuotaExceeded: code_pb2.RESOURCE_EXHAUSTED,
    TokenQuotaExceeded: code_pb2.RESOURCE_EXHAUSTED,
    Overloaded: code_pb2.RESOURCE_EXHAUSTED,
    NothingSent: code_pb2.DEADLINE_EXCEEDED,
    DeadlineExceeded: code_pb2.DEADLINE_EXCEEDED,
    Unavailable: code_pb2.UNAVAILABLE,
    WorkFailed: code_pb2.INTERNAL,
}
_STATUS_CODES = {status.value[0]: status for status in grpc.StatusCode}
_PATH = re.compile(r"(?<![\w./])/(?:[^\s/:'\"]+/)+([^\s/:'\"]*)")
"""A file's path, and its name: what lies where on the server's machine is nobody else's concern."""
_MOST_MESSAGE_BYTES, _MOST_DETAIL_BYTES = 2048, 512
"""Of a status message, and of each of the at most four texts in its details. Trailers of more than 8 to 16 KiB, as they
are sent (both grow by up to 3), arrive as RESOURCE_EXHAUSTED, and nobody reads the reason."""


def status_of(error: Exception) -> status_pb2.Status:
    """Return an error's status and details; what this code did not foresee is INTERNAL, and told to the log only."""
    if isinstance(error, DatabaseError):
        logger.error("the database does not answer: %s", error.orig)
        error = Unavailable("the database does not answer")
    if not isinstance(error, RequestError):
        logger.error("unexpected error", exc_info=error)
        return status_pb2.Status(code=code_pb2.INTERNAL, message="the server made a mistake; its log says more")
    if isinstance(error, WorkFailed | Unavailable):  # an operating system's own words may name files
        error.reason = _PATH.sub(r"\1", error.reason)
    details = [_packed(detail) for detail in _details(error)]
    return status_pb2.Status(code=_CODES[type(error)], message=_cut(str(error), _MOST_MESSAGE_BYTES), details=details)


def code_of(status: status_pb2.Status) -> grpc.StatusCode:
    return _STATUS_CODES[status.code]


def _details(error: RequestError) -> list[Message]:
    match error:
        case InvalidArgument():
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=_cut(error.field), description=_cut(error.problem)
            )
            return [error_details_pb2.BadRequest(field_violations=[violation])]
        case NotFound() | AlreadyExists():
            return [
                error_details_pb2.ResourceInfo(
                    resource_type=error.kind, resource_name=_cut(error.name), description=_cut(error.advice)
                )
            ]
        case WrongWeights():
            unmet = error_details_pb2.PreconditionFailure.Violation(
                type="MODEL_VERSION", subject=error.basis, description=_cut(error.problem)
            )
            return [error_details_pb2.PreconditionFailure(violations=[unmet])]
        case FailedPrecondition():
            unmet = error_details_pb2.PreconditionFailure.Violation(
                type="STATE", subject=_cut(error.subject), description=_cut(error.problem)
            )
            return [error_details_pb2.PreconditionFailure(violations=[unmet])]
        case QuotaExceeded() | TokenQuotaExceeded():
            violation_ = error_details_pb2.QuotaFailure.Violation(
                subject=_cut(error.caller), description=_cut(str(error))
            )
            return [error_details_pb2.QuotaFailure(violations=[violation_]), _retry(error.retry_after)]
        case QueueFull() | TooManyCalls() | TooManyBytes() | TooManyIcons() | Overloaded() | Unavailable():
            return [_retry(error.retry_after)]
    return []


def _cut(text: str, most_bytes: int = _MOST_DETAIL_BYTES) -> str:
    """Return a text in at most so many bytes of UTF-8."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - len("…".encode())].decode(errors="ignore") + "…"


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(max(seconds, 0.01) * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
