"""From messages about monitors to results, and back."""

from __future__ import annotations

from datetime import timezone

from striate.calls.replies import read_model_ref
from striate.images import Image, LabelledImage, ObservedImage, write_image
from striate.results.monitoring import Change, Monitor
from striate.v1 import monitoring_pb2 as messages


def read_monitor(message: messages.Monitor) -> Monitor:
    return Monitor(
        name=message.name,
        model=read_model_ref(message.model),
        layers=tuple(message.layers),
        bases=tuple(message.bases),
        window=message.window,
        reference_from_traffic=message.reference_from_traffic,
        pictures=not message.omit_pictures,
        created=message.create_time.ToDatetime(),
        reference_images=message.reference_images,
        observed_images=message.observed_images,
        last_observed=message.last_observed.ToDatetime() if message.HasField("last_observed") else None,
    )


def read_change(message: messages.Drift) -> Change:
    return Change(
        score=message.score,
        significant=message.significant,
        p_value=message.p_value,
        effect=message.effect,
        before=message.before,
        now=message.now,
        standardized_difference=message.standardized_difference,
        population_stability=message.population_stability,
        wasserstein=message.wasserstein,
        q_value=message.q_value,
    )


def as_observed(image: Image | LabelledImage | ObservedImage) -> ObservedImage:
    """Return an image with what is known of it: a labelled one has its name for an id."""
    if isinstance(image, ObservedImage):
        return image
    if isinstance(image, LabelledImage):
        return ObservedImage(image.image, id=image.name[-_LONGEST_ID:])
    return ObservedImage(image)


def observed_message(given: Image | LabelledImage | ObservedImage) -> messages.ObservedImage:
    image = as_observed(given)
    message = messages.ObservedImage(id=image.id, slice=image.slice)
    write_image(message.image, image.image)
    if image.time is not None:
        time = image.time.astimezone(timezone.utc) if image.time.tzinfo else image.time
        message.time.FromDatetime(time)
    return message


_LONGEST_ID = 200
