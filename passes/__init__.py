"""Graph to graph: everything that happens to a model before it is planned and compiled."""
