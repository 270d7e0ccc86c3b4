"""The reports, one file each: declarations of experiments, no machinery."""
