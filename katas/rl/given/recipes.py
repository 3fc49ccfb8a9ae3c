"""The recipes of the rl checks: models, data, and how they are trained."""
