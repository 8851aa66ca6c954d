"""Models and folders that the joint model is held against."""
