"""Kernels compiled by numba, a module for each family; see :mod:`flexc.numerics.acceleration`."""
