"""Files as people post them with a question: one each, never edited for faultlab. They are read and run, not imported."""
