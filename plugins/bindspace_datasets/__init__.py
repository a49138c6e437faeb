"""Real data sets, read from the layout in which their owners distribute them. One module a data set."""
