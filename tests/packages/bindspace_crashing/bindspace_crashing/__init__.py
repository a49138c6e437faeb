"""A plugin of which a dependency is missing: importing it raises."""

raise RuntimeError("the driver of the sensor is not installed")
