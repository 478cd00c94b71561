"""Errors of torch and Lightning that trainings end with, each with its cause and remedy in the user's terms.

An entry is text alone: nothing here imports torch, and the driver asks it about an exception's type and message.
"""

from faultlab.doctor.errors.known import Known, Named, explained

__all__ = ["Known", "Named", "explained"]
