"""What can be wrong with a public data set. A check that lacks one is skipped; one that is broken makes it fail."""


class DataError(Exception):
    """A data set is damaged or could not be fetched; the message says what, where, and what to do."""


class DataMissing(DataError):
    """It is not there, and nobody asked for it to be fetched."""
