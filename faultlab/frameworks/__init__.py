"""What faultlab knows of each training framework, one package a framework."""
