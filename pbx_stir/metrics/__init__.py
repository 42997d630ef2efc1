"""Metrics for Prometheus: of a CPS (``tally``), and of the service that serves PBXs (``service``).

Labels come from closed lists and from the configuration: no number, no peer and nothing that a peer
or a caller wrote is among them. Needs the extra ``metrics``.
"""
