"""Trainings that are ill in the way that somebody asked about in public, as scripts, each with its healthy twin.

They are written for this project after the threads, read and run by the doctor, and not imported.
"""
