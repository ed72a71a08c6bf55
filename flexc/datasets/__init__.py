"""Data sets that are rendered or ship with a package; nothing is downloaded."""
