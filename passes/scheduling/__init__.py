"""Tile programs of scheduled groups: layouts, tiles, slots on chip, and how ops join a group."""
