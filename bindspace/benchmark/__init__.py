"""The emergent benchmark: what is measured (`tasks`), the report (`report`), and how two reports compare."""
