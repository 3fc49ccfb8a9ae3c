"""PLY files in the published layout of 3D Gaussian splatting, which common viewers open.

A PLY file is a header of text lines, and then binary rows. Here the header says

    ply
    format binary_little_endian 1.0
    element vertex N
    property float x                    (and one such line for every property of a row, in its order)
    end_header

and each of the N rows holds float32 numbers:

    x y z                   the mean
    nx ny nz                normals: 0, kept for viewers of point clouds
    f_dc_0 … f_dc_2         coefficient 0 of the spherical harmonics: red, green, blue
    f_rest_i                coefficients 1 … K-1: all of red, then all of green, then all of blue
    opacity                 the logit
    scale_0 … scale_2       logarithms
    rot_0 … rot_3           the quaternion (w, x, y, z)

so f_rest_i is `sh[:, 1 + k, c]` with i = c (K - 1) + k. All parameters are raw: nothing is normalised or activated.

Source: Kerbl et al., 3D Gaussian Splatting (2023); graphdeco-inria/gaussian-splatting, scene/gaussian_model.py
(`construct_list_of_attributes`, `save_ply`, `load_ply`).
"""

import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from katas.splatting.given.gaussians import Gaussians


def save_ply(path: Path | str, gaussians: Gaussians) -> None:
    """Writes the Gaussians into one file. What is not float32 is stored as float32.

    Tensors may require gradients, and may lie on any device. A missing folder is made. A file that stands at `path` is
    overwritten.

    A ValueError names the field whose shape is not that of `Gaussians` with N = len(means), or `sh` if K is not
    (degree + 1)². Nothing is written then.
    """
    raise NotImplementedError


def load_ply(path: Path | str) -> Gaussians:
    """Reads Gaussians: float32, on the CPU, no gradients, each tensor contiguous and with memory of its own.

    float32 comes back to the bit. Other programs may write other orders, no normals, more properties or elements of any
    type, and comments (`comment`, `obj_info`). Types:

        char  uchar  short  ushort  int    uint    float    double
        int8  uint8  int16  uint16  int32  uint32  float32  float64

    A missing file is a FileNotFoundError. A ValueError names the file, and

    - a format other than binary_little_endian
    - a property of the layout that is missing, repeated, or not float32
    - `f_rest`, if their number is not 3 ((degree + 1)² - 1)
    - a list property in or before the element `vertex`, or that there is no `vertex`

    It also refuses no PLY, unknown header lines, a header without its end, and too few bytes.
    """
    raise NotImplementedError
