"""``python -m faultlab`` is the command line."""

from faultlab.cli import main

main()
