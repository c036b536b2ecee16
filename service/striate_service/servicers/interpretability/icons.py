"""RenderIcons and CancelIcons: requests as questions, and progress as replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from striate.v1 import interpretability_pb2 as messages

from striate_service.errors import InvalidArgument, shown
from striate_service.explain.icon_progress import CancelQuestion, FinishedNeuron, RenderProgress, RenderQuestion
from striate_service.models.description import LayerDescription
from striate_service.servicers import encoding, reading
from striate_service.servicers.interpretability.reader import Reader
from striate_service.techniques.objective import Channel, Neuron, Signature, Single

_MAX_FACETS = 8
_AT_POSITION: dict[int, bool] = {
    messages.ICON_OBJECTIVE_UNSPECIFIED: False,
    messages.ICON_OBJECTIVE_CHANNEL: False,
    messages.ICON_OBJECTIVE_NEURON: True,
}


def read(request: messages.RenderIconsRequest, reader: Reader) -> RenderQuestion:
    model = reading.find_model(reader.models, request.model)
    layer = reading.find_map(model, request.layer, "layer")
    channels = reading.find_channels(request.channels, [layer]) or tuple(range(layer.channels))
    channels = tuple(dict.fromkeys(channels))
    return RenderQuestion(
        model=model,
        layer=layer,
        channels=channels,
        shown=_shown(request, layer, channels, reader.objectives),
        recipe=reader.recipes.choose(request.recipe, model),
        facets=reading.in_range(request.facets or 1, "facets", 0, _MAX_FACETS),
        omit=request.omit_icons,
        detach=request.detach,
    )


def read_cancel(request: messages.CancelIconsRequest, reader: Reader) -> CancelQuestion:
    if not (request.model or request.layer):
        return CancelQuestion()
    model = reading.find_model(reader.models, request.model)
    return CancelQuestion(model.version, reading.find_map(model, request.layer, "layer").path if request.layer else "")


def write(question: RenderQuestion, progress: RenderProgress) -> messages.RenderIconsResponse:
    return messages.RenderIconsResponse(
        model=encoding.model_ref(question.model),
        layer=encoding.layer(question.layer),
        completed=progress.completed,
        total=progress.total,
        progress=progress.share,
        remaining_seconds=progress.remaining_seconds,
        neurons=map(_finished, progress.finished),
    )


def _shown(
    request: messages.RenderIconsRequest,
    layer: LayerDescription,
    channels: Sequence[int],
    added: Mapping[str, Signature],
) -> Sequence[Single]:
    """Return what is to be pictured: channels, their neurons at one position, or what the operator added by a name.

    Args:
        added: objectives that the operator has added, by name.
    """
    at_position = reading.choice(request.objective, _AT_POSITION, "objective", messages.IconObjective)
    if request.objective_name:
        if request.objective != messages.ICON_OBJECTIVE_UNSPECIFIED:
            raise InvalidArgument("objective", "should be left out where `objective_name` says what to picture.")
        if request.objective_name not in added:
            known = f"it should be {' or '.join(map(repr, sorted(added)))}" if added else "this server has none by name"
            raise InvalidArgument("objective_name", f"is {shown(request.objective_name)}; {known}.")
        signature = added[request.objective_name]
        row, column = _icon_position(request, layer, is_taken=signature.takes_position)
        return [signature.at(channel, row, column) for channel in channels]
    row, column = _icon_position(request, layer, is_taken=at_position)
    return [Neuron(channel, row, column) if at_position else Channel(channel) for channel in channels]


def _icon_position(request: messages.RenderIconsRequest, layer: LayerDescription, *, is_taken: bool) -> tuple[int, int]:
    """Return the row and column that a request names, by default in the middle."""
    height, width = layer.grid
    if not request.HasField("position"):
        return height // 2, width // 2
    if not is_taken:
        raise InvalidArgument("position", "is for objectives of one position, such as neuron; leave it out.")
    row, column = request.position.row, request.position.column
    reading.in_range(row, "position.row", 0, height - 1, f"{layer.path} has {height} rows")
    reading.in_range(column, "position.column", 0, width - 1, f"{layer.path} has {width} columns")
    return row, column


def _finished(neuron: FinishedNeuron) -> messages.Neuron:
    first, *others = map(encoding.icon, neuron.icons)
    return messages.Neuron(channel=neuron.channel, label=encoding.label(neuron.label), icon=first, other_facets=others)
