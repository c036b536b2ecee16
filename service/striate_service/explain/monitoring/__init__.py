"""Monitors: what a network sees in traffic, beside a reference."""

from striate_service.explain.monitoring.drift import (
    BasisDrift,
    ChannelDrift,
    ClassDrift,
    Drift,
    DriftAnswer,
    DriftQuestion,
    DriftReports,
    GroupDrift,
    LayerDrift,
    SliceDrift,
    SliceSummary,
)
from striate_service.explain.monitoring.gauges import DriftGauges
from striate_service.explain.monitoring.monitors import MonitorPlan, Monitors, ObservedImage, ObserveProgress

__all__ = [
    "BasisDrift",
    "ChannelDrift",
    "ClassDrift",
    "Drift",
    "DriftAnswer",
    "DriftGauges",
    "DriftQuestion",
    "DriftReports",
    "GroupDrift",
    "LayerDrift",
    "MonitorPlan",
    "Monitors",
    "ObserveProgress",
    "ObservedImage",
    "SliceDrift",
    "SliceSummary",
]
