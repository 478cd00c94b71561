"""Packages as they look when they are installed, for what other packages add by their entry points."""

from __future__ import annotations

from pathlib import Path


def distribution(folder: Path, group: str, entries: dict[str, str]) -> None:
    """Write the metadata of a package ``toy`` into a folder that is, or will be, on Python's path."""
    info = folder / "toy-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
