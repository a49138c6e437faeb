"""What the benchmark measures of a pool, one file each."""
