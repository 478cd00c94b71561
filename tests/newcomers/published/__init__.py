"""Trainings after examples that PyTorch, Ignite and skorch publish, and packages that train by themselves.

Each was read and then written again: its docstring has the source, and what is different here. None has the original's
lines. Data are the digits of scikit-learn or made on the spot, so that nothing is downloaded.
"""
