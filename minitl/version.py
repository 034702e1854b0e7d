"""The version, alone in a file, so that it can be read without importing what it is the version of."""

__version__ = "0.2.0"
