"""The bank of named mistakes: for each kata, the wrong versions that real people write."""

from typing import NamedTuple


class Mistake(NamedTuple):
    """A small textual change to a solution that makes it wrong, and the test that must notice."""

    name: str
    caught_by: str  # a test function of the kata's spec
    why: str  # one sentence for the learner: why it is wrong
    find: str  # occurs exactly once in the solution
    replace: str
