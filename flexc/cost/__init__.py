"""Closed forms of cycles, bytes and energy: no IR is walked, nothing is simulated."""
