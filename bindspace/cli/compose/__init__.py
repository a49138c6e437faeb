"""From the command line to a typed run. Hydra is known here and nowhere else."""
