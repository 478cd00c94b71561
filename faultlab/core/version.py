"""faultlab's own version, which reports and formats name."""

__version__ = "0.1.0"
