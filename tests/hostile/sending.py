"""Sends spoilt requests as no stub would: by their bytes."""

from __future__ import annotations

import grpc
from google.protobuf.message_factory import GetMessageClass
from hostile.spoilt_requests import Case

_WAITS_FOR_ICONS = 1.0  # seconds


def send(channel: grpc.Channel, given: Case, timeout: float) -> tuple[str, list[grpc.StatusCode], str]:
    """Return a case's seed, the codes of its replies, and what the status says.

    Args:
        timeout: in seconds; of calls that wait for icons, which they may do for long, it is short.
    """
    reply = GetMessageClass(given.method.output_type)
    kind = f"{'stream' if given.method.client_streaming else 'unary'}_"
    kind += "stream" if given.method.server_streaming else "unary"
    call = getattr(channel, kind)(given.path, response_deserializer=reply.FromString)
    request = iter(given.messages) if given.method.client_streaming else given.messages[0]
    waits = waits_for_icons(given)
    try:
        answer = call(request, timeout=_WAITS_FOR_ICONS if waits else timeout, metadata=given.metadata)
        replies = list(answer) if given.method.server_streaming else [answer]
    except grpc.RpcError as error:
        if waits and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return given.seed, [], ""
        return given.seed, [error.code()], str(error.details())
    codes = [grpc.StatusCode.OK]
    if given.method.name == "StreamActivations":
        by_number = {code.value[0]: code for code in grpc.StatusCode}
        codes += [by_number[each.error.code] for each in replies if each.WhichOneof("result") == "error"]
    return given.seed, codes, ""


def waits_for_icons(given: Case) -> bool:
    """Whether a call may rightly last: rendering an icon takes seconds."""
    if given.method.name in ("RenderIcons", "WatchIcons"):
        return True
    try:
        request = GetMessageClass(given.method.input_type).FromString(given.messages[0])
    except Exception:
        return False
    return getattr(request, "wait_for_icons", False) and not request.omit_icons
