"""Full checks: your code, trained end to end within five minutes of a GTX 1060 each. `pytest katas/splatting -m gpu`

A photograph of scikit-learn's and a ray-traced scene need no data. A scene of your own needs `--data DIR`: photographs
in DIR/colmap/images and their sparse model in DIR/colmap/sparse/0, undistorted by COLMAP. Pictures, metrics and PLY
files are left under runs/splatting/; stop a check with Ctrl-C, and what it has so far stays there.
"""

from statistics import mean

import pytest
import torch

from katas.splatting.given import colmap, pictures, recipes
from katas.splatting.initialisation import gaussians_from_points
from katas.splatting.ply_io import save_ply
from katas.splatting.scene_training import DensityControl

pytestmark = pytest.mark.gpu

SEEDS = (0, 1, 2)
COLMAP_STEPS, COLMAP_HEIGHT = 3000, 200
FRAMES = 36  # of the turntable


def test_photograph(device, run_dir, metrics, progress, budget):
    view, black, found = recipes.photograph(device), torch.zeros(3, device=device), []
    bar, strip = progress(recipes.PHOTO_STEPS * len(SEEDS), "photograph"), {}
    with budget(work=recipes.work_of_photograph(device).times(len(SEEDS))):
        for seed in SEEDS:
            fitted = recipes.fitted_photograph(view, seed, lambda report: bar.update(1))
            found.append(recipes.mean_psnr(fitted, [view], black))
            metrics.row(seed=seed, psnr=found[-1])
    pictures.comparison(run_dir / "comparison.png", fitted, [view], black)
    pictures.ellipses(run_dir / "ellipses.png", fitted, view, black)
    for steps in (0, 10, 30, 100, 300):
        fitted = recipes.fitted_photograph(view, SEEDS[-1], steps=min(steps, recipes.PHOTO_STEPS))
        strip[f"after {steps} steps"] = recipes.shown(fitted, view, black)
    pictures.strip(run_dir / "steps.png", strip | {"the photograph": view.image})
    # Right code, seeds 0 to 2, CPU: 35.0, 35.2, 34.9
    assert mean(found) >= 34, f"PSNR of {recipes.PHOTO_GAUSSIANS} Gaussians by seed: {found} dB"


def test_scene_from_thirty_views(device, run_dir, metrics, progress, budget):
    (train, held_out), behind = recipes.scene_views(device), recipes.background(device)
    found = {"with density control": [], "without": []}
    bar = progress(recipes.SCENE_STEPS * len(SEEDS) * len(found), "scene")
    with budget(work=recipes.work_of_scene(device).times(len(SEEDS) * len(found))):
        for seed in SEEDS:
            start = recipes.scene_start(seed, device)
            for kind, density in zip(found, (recipes.DENSITY, None), strict=True):
                fitted = recipes.fitted_scene(start, train, seed, lambda report: bar.update(1), density=density)
                found[kind].append(recipes.mean_psnr(fitted, held_out, behind))
                seen = recipes.mean_psnr(fitted, train, behind)
                metrics.row(seed=seed, kind=kind, gaussians=len(fitted.means), train=seen, held_out=found[kind][-1])
                if density is not None:
                    pictures.comparison(run_dir / "held_out.png", fitted, held_out[:4], behind)
                    pictures.ellipses(run_dir / "ellipses.png", fitted, held_out[0], behind)
                    pictures.turntable(run_dir / "turntable.gif", fitted, behind, frames=FRAMES)
                    save_ply(run_dir / "scene.ply", type(fitted)(*(field.cpu() for field in fitted)))
    more, same = (mean(values) for values in found.values())
    # Right code, seeds 0 to 2, CPU: 33.3, 33.3, 33.2 with density control, 27.6, 27.0, 27.6 without
    assert more >= 28, f"mean PSNR of views that were not trained on: {found}"
    assert more >= same + 1, f"new Gaussians where gradients are large are worth 1 dB at equal steps: {found}"


def test_colmap_scene(device, run_dir, metrics, progress, data_dir):
    """Your own photographs. Nobody has measured them, so the check tells its figure and asserts little."""
    try:
        size = colmap.read_model(data_dir / "colmap/sparse/0").cameras[0].height
    except FileNotFoundError as error:
        pytest.skip(f"{error}: photographs in DIR/colmap/images, their model in DIR/colmap/sparse/0, and --data DIR")
    options = {"images": data_dir / "colmap/images", "downscale": max(round(size / COLMAP_HEIGHT), 1)}
    views, points, colors = colmap.read_views(data_dir / "colmap/sparse/0", **options)
    views = [view._replace(**{name: part.to(device) for name, part in view._asdict().items()}) for view in views]
    train, held_out = [view for n, view in enumerate(views) if n % 8], views[::8]
    extent = float((points - points.mean(dim=0)).norm(dim=1).quantile(0.9))
    start = gaussians_from_points(points.to(device), colors.to(device), sh_degree=2)
    bar, black = progress(COLMAP_STEPS, "your scene"), torch.zeros(3, device=device)
    density = DensityControl(max_scale=0.01 * extent, until=COLMAP_STEPS // 2, grad_threshold=1e-3)
    rates = recipes.SCENE_RATES | {"means": 1e-3 * extent}
    fitted = recipes.fitted_scene(
        start, train, 0, lambda report: bar.update(1), steps=COLMAP_STEPS, density=density, learning_rates=rates,
        background=black,
    )  # fmt: skip
    before, after = (recipes.mean_psnr(gaussians, held_out, black) for gaussians in (start, fitted))
    metrics.row(views=len(views), points=len(points), gaussians=len(fitted.means), before=before, held_out=after)
    pictures.comparison(run_dir / "held_out.png", fitted, held_out[:4], black)
    save_ply(run_dir / "scene.ply", type(fitted)(*(field.cpu() for field in fitted)))
    assert after > before, f"PSNR of views that were not trained on: {before:.1f} dB before, {after:.1f} dB after"
