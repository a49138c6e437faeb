"""Real data sets, read in the layout of their official distribution. One module per data set."""
