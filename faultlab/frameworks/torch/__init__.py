"""What holds for every training with torch, whatever framework drives it."""
