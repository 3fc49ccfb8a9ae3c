"""The bank of named mistakes: for each kata, the wrong versions that real people write."""

from typing import NamedTuple


class Mistake(NamedTuple):
    """A small textual change to a solution that makes it wrong, and the test that must notice."""

    name: str
    find: str  # occurs exactly once in the solution
    replace: str
    why: str  # one sentence that could be shown to a learner
    caught_by: str  # a test function of the kata's spec
