"""The recipes of the splatting checks: models, data, and how they are trained."""
