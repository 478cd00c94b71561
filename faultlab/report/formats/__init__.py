"""The formats that other tools read, a file each."""
