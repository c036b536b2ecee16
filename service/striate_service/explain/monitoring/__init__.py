"""Monitors: what a network sees in traffic, beside a reference."""

from striate_service.explain.monitoring.comparison import (
    BasisDrift,
    ChannelDrift,
    ClassDrift,
    ConceptDrift,
    Drift,
    GroupDrift,
    LayerDrift,
    SliceDrift,
)
from striate_service.explain.monitoring.drift import DriftAnswer, DriftQuestion, DriftReports, SliceSummary
from striate_service.explain.monitoring.gauges import DriftGauges
from striate_service.explain.monitoring.monitors import MonitorPlan, Monitors, ObservedImage, ObserveProgress
from striate_service.explain.monitoring.profiles import Profile, Profiles

__all__ = [
    "BasisDrift",
    "ChannelDrift",
    "ClassDrift",
    "ConceptDrift",
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
    "Profile",
    "Profiles",
    "SliceDrift",
    "SliceSummary",
]
