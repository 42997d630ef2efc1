"""Fuzz targets: one small module for each kind of octets that strangers send.

Each has ``SEEDS``, octets that are right or nearly so, and ``one(octets)``, which raises only where
pbx_stir is wrong: an exception that is not of ``pbx_stir.errors``, or a promise that does not hold.
``python -m fuzz TARGET --seconds N`` runs one under atheris; tests/test_fuzz.py runs all of them,
briefly, with hypothesis.
"""
