"""Dynamics: what changes when one thing is different, and why. They come with the training loops of this topic."""
