"""The recipes of the warmup checks: models, data, and how they are trained."""
