"""Figures for papers: rooflines, speed-ups, zero-setting errors."""
