"""The katas: one folder per topic, one stub and one spec per idea."""

import os

if os.environ.get("KATAS_IMPL"):  # set by `pytest --impl`; spawned workers inherit it
    from katas.lab import trees

    trees.install()
