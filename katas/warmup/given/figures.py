"""The pictures of the README, drawn from the solutions. `python -m katas figures warmup`"""

FIGURES = {}  # file name in katas/warmup/figures/ → function that writes the picture to the path it is given
