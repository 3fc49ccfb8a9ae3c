"""Dynamics: what changes when one thing is different, and why. `pytest katas/active_learning -m gpu`

Every claim is a mean over seeds; the figures beside the thresholds are those of seeds 0 to 15, on a CPU.
"""

from statistics import mean

import pytest

from katas.active_learning.given import recipes
from katas.lab.checks.plots import learning_curves

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("one_thread")]

SEEDS, COLD_SEEDS = range(8), range(16)
FEW, MANY, BOUGHT = 5, 80, 20


def test_the_best_examples_are_copies_of_each_other(device, run_dir, metrics, progress):
    bar, different = progress(len(SEEDS), "copies"), {}
    for seed in SEEDS:
        for name, (count, accuracy) in recipes.bought_among_copies(seed, device).items():
            metrics.row(seed=seed, strategy=name, different=count, accuracy=accuracy)
            different.setdefault(name, []).append(count)
        bar.update(1)
    learning_curves(
        run_dir / "different.png",
        {f"different digits of {recipes.LARGE_BATCH}": {name: (list(SEEDS), row) for name, row in different.items()}},
        xlabel="seed",
    )
    found = {name: mean(row) for name, row in different.items()}
    # margin 10.0, mutual information 9.6, BatchBALD 16.4, k-center 20
    assert found["margin"] <= 13 and found["mutual information"] <= 13, f"copies are alike, and score alike: {found}"
    assert found["BatchBALD"] >= found["mutual information"] + 3, f"a copy adds next to nothing: {found}"
    assert found["k-center"] >= 19, f"copies lie at a distance of almost 0: {found}"


def test_a_temperature_mends_the_confidence_and_changes_what_entropy_buys(device, metrics, progress):
    bar, found = progress(len(SEEDS), "temperature"), []
    for seed in SEEDS:
        found.append(recipes.calibrated(seed, device))
        metrics.row(seed=seed, **found[-1]._asdict())
        bar.update(1)
    before, after, temperature, same_margin, same_entropy = (mean(column) for column in zip(*found, strict=True))
    # 0.098 before, 0.059 after, temperature 2.6; the same are bought: 0.93 by margin, 0.43 by entropy
    assert temperature > 1.5, f"a network trained on few labels is too sure of itself: temperature {temperature:.2f}"
    assert after < 0.85 * before, f"calibration error of held-out digits: {before:.3f} before, {after:.3f} after"
    shares = f"of 100 digits bought at T = 1/4 so many are bought at T = 4: {same_margin:.2f}, {same_entropy:.2f}"
    assert same_margin > 0.8 > 0.65 > same_entropy, f"margin, entropy: {shares}"


def test_a_model_that_knows_nothing_asks_badly(device, metrics, progress):
    bar, gains = progress(2 * len(COLD_SEEDS), "cold start"), {}
    for known in (FEW, MANY):
        for seed in COLD_SEEDS:
            found = recipes.after_one_batch(seed, device, known, BOUGHT)
            metrics.row(seed=seed, known=known, **found)
            for name in ("entropy", "k-center on pixels"):
                gains.setdefault((name, known), []).append(found[name] - found["random"])
            bar.update(1)
    gain = {f"{name}, {known} labels": mean(row) for (name, known), row in gains.items()}
    # entropy -0.066 and +0.017, k-center +0.080 and +0.021, each with a standard error of about 0.02 and 0.005
    entropy_first, entropy_later = gain[f"entropy, {FEW} labels"], gain[f"entropy, {MANY} labels"]
    assert entropy_later > entropy_first, f"accuracy minus that of random: {gain}"
    assert gain[f"k-center on pixels, {FEW} labels"] > entropy_first + 0.04, f"coverage needs no model: {gain}"
