"""The pictures of the README, drawn from the solutions. `python -m katas figures active_learning`"""

FIGURES = {}  # file name in katas/active_learning/figures/ → function that writes the picture to the path it is given
