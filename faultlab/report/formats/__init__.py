"""The formats that other tools read, a file each.

Like the rest of the report they import neither torch nor Lightning.
"""
