"""sovgate: the gate at the border that a model crosses. Importing it imports nothing else."""

__version__ = "0.1.0"
