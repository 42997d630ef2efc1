"""Families of metrics from plain values. Needs the extra ``metrics`` when it is called."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pbx_stir import __version__

if TYPE_CHECKING:
    from prometheus_client.core import Metric

# the values of a family's labels, in their order
Labels = TypeVar("Labels", bound=tuple[str, ...])


def gauge(name: str, said: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """A gauge; ``values`` by the labels' values."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, said, labels=labels)
    for given, value in sorted(values.items()):
        family.add_metric(given, value)
    return family


def counter(name: str, said: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """A counter, whose samples are called ``name_total``; ``values`` by the labels' values."""
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, said, labels=labels)
    for given, value in sorted(values.items()):
        family.add_metric(given, value)
    return family


def build_info() -> Metric:
    """Which version runs, on which Python."""
    values = {(__version__, platform.python_version()): 1.0}
    return gauge(
        "pbx_stir_build_info", "1; the labels say what runs.", ("version", "python"), values
    )
