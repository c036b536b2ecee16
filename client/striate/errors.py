"""What a call can raise.

StriateError
├── InvalidArgument      a field of the request holds what it must not: `violations`
├── NotFound             no such model, layer, class, label or basis: `kind`, `name`
├── AlreadyExists        something else has that name: `kind`, `name`
├── FailedPrecondition   the basis belongs to other weights than the model has
├── Unauthenticated      the server asks for a token that it knows
├── PermissionDenied     the server's operator does not allow the call
├── ResourceExhausted    the server has too much work: try again after `retry_after` seconds
│   ├── QuotaExceeded    this caller has given the server too much work
│   └── MessageTooLarge  the request or the reply is larger than one side takes
├── DeadlineExceeded     no answer within the timeout
├── Unavailable          the server does not answer now: it starts, stops, or is gone
│   └── ConnectionFailed nothing listens at the address
├── Cancelled            the call was cancelled
└── InternalError        the server failed

The message of each is a sentence for a person. `code` is the gRPC status, `request_id` the call's id in the server's
log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

_REQUEST_ID = "x-request-id"
_DETAILS_KEY = "grpc-status-details-bin"
_NOT_CONNECTED = ("onnect", "resol")
"""In gRPC's words: "failed to connect", "Connection refused", "errors resolving"."""
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_USUAL_PORT = "50051"


class StriateError(Exception):
    """A call that brought no answer."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    request_id: str = ""
    """By which the server's log knows the call; empty: it did not reach a server, or is one of a stream's."""


class InvalidArgument(StriateError):
    """A field of the request holds what it must not."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, message: str, violations: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.violations = dict(violations or {})
        """What is wrong, by field."""


class NotFound(StriateError):
    """There is no such model, layer, class, label or basis."""

    code = grpc.StatusCode.NOT_FOUND

    def __init__(self, message: str, kind: str = "", name: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


class AlreadyExists(StriateError):
    """Something else has that name."""

    code = grpc.StatusCode.ALREADY_EXISTS

    def __init__(self, message: str, kind: str = "", name: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


class FailedPrecondition(StriateError):
    """The basis belongs to other weights than the model has, or the server's disk does not take what is to be kept."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Unauthenticated(StriateError):
    """The server asks for a token that it knows."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(StriateError):
    """The server's operator does not allow the call."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(StriateError):
    """The server has too much work."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which it is worth trying again, where the server says so."""


class QuotaExceeded(ResourceExhausted):
    """This caller has given the server too much work."""


class MessageTooLarge(ResourceExhausted):
    """The request or the reply is larger than one side takes."""


class DeadlineExceeded(StriateError):
    """There was no answer within the timeout."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Unavailable(StriateError):
    """The server does not answer now."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConnectionFailed(Unavailable):
    """Nothing listens at the address."""


class Cancelled(StriateError):
    """The call was cancelled."""

    code = grpc.StatusCode.CANCELLED


class InternalError(StriateError):
    """The server failed."""

    code = grpc.StatusCode.INTERNAL


def from_rpc_error(error: Any, target: str) -> StriateError:
    """Return the error that a failed call raises.

    Args:
        error: the grpc.RpcError that the call raised, which has the methods of a grpc.Call too.
        target: the server's address.
    """
    code = error.code()
    message = error.details() or code.name
    trailers = error.trailing_metadata() or ()
    packed = next((value for key, value in trailers if key == _DETAILS_KEY), None)
    details = status_pb2.Status.FromString(packed).details if isinstance(packed, bytes) else ()
    raised = from_status(code, message, details, target)
    raised.request_id = str(next((value for key, value in trailers if key == _REQUEST_ID), ""))
    return raised


def from_status(code: grpc.StatusCode, message: str, details: Iterable[AnyMessage], target: str) -> StriateError:
    """Return the error for a gRPC status and its google.rpc details."""
    violations: dict[str, str] = {}
    resource, retry_after, quota = error_details_pb2.ResourceInfo(), None, False
    for detail in details:
        request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(request):
            violations |= {violation.field: violation.description for violation in request.field_violations}
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        elif detail.Is(error_details_pb2.QuotaFailure.DESCRIPTOR):
            quota = True
        else:
            detail.Unpack(resource)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidArgument(message, violations)
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFound(message, resource.resource_type, resource.resource_name)
    if code is grpc.StatusCode.ALREADY_EXISTS:
        return AlreadyExists(message, resource.resource_type, resource.resource_name)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return FailedPrecondition(message)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated(message)
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return PermissionDenied(message)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        if "message larger than max" in message:  # refused by gRPC itself, on either side
            return MessageTooLarge(
                f"{message}. Send fewer images at a time, ask for less (reduce, channels, float16), or raise "
                "max_message_bytes of the server and of this client."
            )
        return (QuotaExceeded if quota else ResourceExhausted)(message, retry_after)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        why = "" if message == "Deadline Exceeded" else f": {message}"  # gRPC's own words say nothing more
        return DeadlineExceeded(f"{target} did not answer in time{why}")
    if code is grpc.StatusCode.UNAVAILABLE:
        if retry_after is None and any(words in message for words in _NOT_CONNECTED):
            return ConnectionFailed(_why_not_connected(message, target))
        return Unavailable(message, retry_after)
    if code is grpc.StatusCode.CANCELLED:
        return Cancelled(message)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return InternalError(f"the server at {target} does not know this call; it may be older: {message}")
    return InternalError(message)


def _why_not_connected(message: str, target: str) -> str:
    """Return what a person can do about what gRPC says of a failed connection."""
    if "parse port" in message:
        return f"{target!r} is no address; write it as HOST:PORT, such as localhost:50051"
    if "resol" in message:
        return f"there is no machine {target.rpartition(':')[0] or target!r}; check the server's address (--server)"
    if "handshake failed" in message:
        return (
            f"no encrypted connection to {target}: name the certificate that signed the server's, striate.Tls(ca=...) "
            "or --tls-ca, or leave tls away if the server has none"
        )
    if "Socket closed" in message:
        return (
            f"{target} hangs up: it may want TLS (--tls), or a certificate of yours, striate.Tls(...) or "
            "--tls-certificate"
        )
    host, colon, port = target.rpartition(":")
    if not (colon and port.isdecimal()):
        return f"no server answers at {target}, port 443; an address is HOST:PORT, such as localhost:50051 (--server)"
    if host not in _THIS_MACHINE:
        return f"no server answers at {target}; check the address (--server), and whether it runs"
    serve = "striate serve" if port == _USUAL_PORT else f"striate serve --port {port}"
    return f"no server answers at {target}; start one with `{serve}`, or name another's address (--server)"
