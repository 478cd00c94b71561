"""The failure modes as data: declarations, requirements, measurements. Importing it imports no torch."""
