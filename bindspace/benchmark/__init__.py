"""The emergent benchmark: tasks (`tasks`), reports (`report`), and the comparison of two reports."""
