"""Puts pbx_stir on a machine: what a PBX's files become, shown, applied and taken back."""
