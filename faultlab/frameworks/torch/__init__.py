"""What holds for every training with torch, whatever framework drives it.

It imports torch and none of the frameworks that drive it.
"""
