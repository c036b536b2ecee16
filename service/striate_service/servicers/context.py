"""What gRPC says of a call beside its request: how urgent it is, until when, and on whose account."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc

from striate_service.errors import InvalidArgument, shown
from striate_service.scheduling.engine import Terms
from striate_service.scheduling.job import Lane
from striate_service.servicers import reading

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

caller_name: ContextVar[str] = ContextVar("caller's name", default="")
"""Whom the call's token stands for; empty: the server asks for none."""

_LANES = {lane.value: lane for lane in (Lane.INTERACTIVE, Lane.BATCH)}


def read_terms(context: Context) -> Terms:
    """Return the terms of a call that a person or a service waits for."""
    return _terms(context, Lane.INTERACTIVE, patient=False)


def read_stream_terms(context: Context) -> Terms:
    """Return the terms of a stream: after those who wait for an answer, and slowed down where the queue is full."""
    return _terms(context, Lane.BATCH, patient=True)


def _terms(context: Context, lane: Lane, *, patient: bool) -> Terms:
    """Return the call's deadline; the metadata `striate-priority`, else `lane`; and its account: whom its token stands
    for, else the metadata `striate-caller`, else the peer's address without the port.
    """
    metadata = dict(context.invocation_metadata() or ())
    remaining = context.time_remaining()
    priority = str(metadata.get("striate-priority", lane.value))
    caller = reading.bounded(str(metadata.get("striate-caller", "")), "metadata striate-caller")
    if priority not in _LANES:
        raise InvalidArgument("metadata striate-priority", f"is {shown(priority)}; it should be {' or '.join(_LANES)}.")
    return Terms(
        lane=_LANES[priority],
        deadline=math.inf if remaining is None else time.monotonic() + remaining,
        caller=caller_name.get() or caller or context.peer().rpartition(":")[0],
        patient=patient,
    )
