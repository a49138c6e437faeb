"""A report of the benchmark: JSON, Markdown, HTML and pictures."""
