"""What gRPC does with calls by itself: which server takes one, and whether one that failed is sent again.

The format is gRPC's service config (github.com/grpc/grpc/blob/master/doc/service_config.md).
"""

from __future__ import annotations

import json
from typing import Any

REPEATED = {
    "Interpretability": (
        "Activations",
        "SemanticDictionary",
        "Factorize",
        "FactorizeLayers",
        "RenderIcons",
        "WatchIcons",
        "CancelIcons",
    ),
    "Model": ("ListModels", "GetModel"),
    "Label": ("ListLabels",),
    "Basis": ("ListBases", "GetBasis"),
    "Example": ("GetExamples",),
    "Monitoring": ("ListMonitors", "GetMonitor", "AddOutcomes", "GetDrift", "ExportProfile"),
}
"""Calls that can be made twice as if once, by service: saving the same basis again changes nothing, and an outcome has
its image's id."""

NOT_REPEATED = {
    "Interpretability": ("StreamActivations",),
    "Model": ("LoadModel", "UnloadModel"),
    "Label": ("SetLabel", "DeleteLabel"),
    "Basis": ("BuildBasis", "DeleteBasis"),
    "Example": ("IndexExamples",),
    "Monitoring": ("CreateMonitor", "DeleteMonitor", "Observe", "ImportProfile"),
}
"""A change that was made before the answer got lost would be made again, or refused because it is made already. A
stream of images that has begun cannot be sent again by gRPC."""

_MOST_ATTEMPTS = 4
_HEALTH_OF_ALL = ""


def service_config(*, balanced: bool) -> str:
    """Return the service config as JSON.

    gRPC waits between attempts as long as the server says (its `grpc-retry-pushback-ms`, the same as RetryInfo).

    Args:
        balanced: Calls go to the servers in turn, and to none that says it is about to stop: each connection watches
            the health service.
    """
    config: dict[str, Any] = {
        "methodConfig": [
            {
                "name": [
                    {"service": f"striate.v1.{service}Service", "method": method}
                    for service, methods in REPEATED.items()
                    for method in methods
                ],
                "retryPolicy": {
                    "maxAttempts": _MOST_ATTEMPTS,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
    if balanced:
        config["loadBalancingConfig"] = [{"round_robin": {}}]
        config["healthCheckConfig"] = {"serviceName": _HEALTH_OF_ALL}
    return json.dumps(config)
