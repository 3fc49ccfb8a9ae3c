"""The build backend: setuptools, for `pip install -e .` alone. Katas are files that you fill in where they lie."""

import sys

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

NEWEST = (3, 13)


def get_requires_for_build_editable(config_settings=None):
    refuse_a_python_too_new(sys.version_info)
    return build_meta.get_requires_for_build_editable(config_settings)


def refuse_a_python_too_new(version: tuple) -> None:
    if version[:2] > NEWEST:
        raise SystemExit(
            f"torch 2.7.1, the last one for Pascal cards, has no build for Python {version[0]}.{version[1]}.\n"
            "Make the environment with Python 3.11, 3.12 or 3.13:\n"
            "  python3.13 -m venv .venv      or      uv venv --python 3.13 --seed"
        )


def build_wheel(*args, **kwargs):
    raise SystemExit("ml-learning-lab is a folder to work in, and no library. Install it in place: pip install -e .")


build_sdist = get_requires_for_build_wheel = get_requires_for_build_sdist = build_wheel
