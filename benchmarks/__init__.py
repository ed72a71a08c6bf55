"""Scripts that measure flexc; each prints a table."""
