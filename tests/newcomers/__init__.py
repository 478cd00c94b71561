"""Files as people post them with a question, never edited for faultlab: they are read and run, not imported."""
