"""Closed forms of the arrays that FlexBlock is compared with: one file an array, one for all their tiles."""
