"""Full checks. They come with the training loops of this topic."""
