"""Errors of torch and Lightning that end trainings, each with its cause and remedy in the user's terms.

Entries are plain text: nothing here imports torch, and the driver looks them up by an exception's type and message.
"""

from faultlab.doctor.errors.known import Known, Named, explained

__all__ = ["Known", "Named", "explained"]
