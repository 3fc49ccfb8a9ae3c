"""Full checks: your detector, trained end to end within five minutes of a GTX 1060. `pytest katas/detection
-m gpu`

Digit scenes need no data. VOC 2007 needs `--data DIR` (or `--download`). Pictures and metrics are left under
runs/detection/; stop a check with Ctrl-C, and what it has so far stays there.
"""

import pytest
import torch

from katas.detection.given import voc
from katas.detection.given.recipes import (
    Recorder,
    digit_detector,
    draw_detections,
    pretrained_or_skip,
    training_flops,
    voc_example,
    voc_loader,
    voc_map,
    voc_or_skip,
)
from katas.detection.given.scenes import SceneLoader, digit_scenes
from katas.detection.retinanet import RetinaNet
from katas.detection.training import evaluate_detector, train_detector
from katas.lab.checks.recorder import save

pytestmark = pytest.mark.gpu

SEED = 0
SCENES, EPOCHS, BATCH_SIZE = 12_000, 4, 8
VOC_EPOCHS = 20


def test_digit_scenes(device, run_dir, metrics, progress, budget):
    model = digit_detector(SEED, device)
    shuffle = torch.Generator().manual_seed(SEED)
    scenes = digit_scenes(SCENES, split="train", seed=SEED)
    train = SceneLoader(scenes, BATCH_SIZE, device=device, generator=shuffle)
    test = SceneLoader(digit_scenes(400, split="test"), 50, device=device)
    quick = SceneLoader(digit_scenes(100, split="test", seed=1), 50, device=device)
    steps = EPOCHS * len(train)
    recorder = Recorder(model, quick, run_dir, metrics, progress(steps, "digit scenes"))
    with budget(flops=steps * training_flops(model, next(iter(train)))):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
        train_detector(
            model,
            train,
            optimizer,
            epochs=EPOCHS,
            warmup_steps=200,
            on_step=recorder.on_step,
            on_epoch=recorder.on_epoch,
        )
        found = evaluate_detector(model, test)
    recorder.row(steps, epoch="end", ap=found.ap, ap50=found.ap50)
    draw_detections(model, test, run_dir / "detections.png")
    # AP / AP50 of right code, seeds 0 to 2: 0.812 / 0.973, 0.821 / 0.975, 0.823 / 0.972.
    # The same weights used wrongly, seeds 0 and 1: suppressed across classes 0.797, 0.807 / 0.951, 0.955; evaluated in
    # training mode 0.767 / 0.957, 0.947; deltas not decoded 0.21 / 0.70; ratio inverted 0.14 / 0.95; anchors in
    # another order than the rows 0.00 / 0.00; columns before rows 0.01 / 0.02.
    # Trained anew with the mistake, seed 0: classification not normalised 0.711 / 0.974; anchors shape after shape
    # 0.052 / 0.099. Training does not show, the specs do: no ignore band 0.821 / 0.973; alpha on the wrong side
    # 0.7995 / 0.979; normalised by all anchors 0.818 / 0.976, for AdamW does not see the scale of a loss.
    assert found.ap50 >= 0.96, f"AP50 on unseen digits and backgrounds: {found.ap50:.3f}"
    assert found.ap >= 0.80, f"AP on unseen digits and backgrounds: {found.ap:.3f}"


def test_sixteen_scenes_are_overfitted(device, run_dir, metrics, progress, budget):
    model, epochs = digit_detector(SEED, device), 75
    scenes = digit_scenes(16, split="train", seed=7)
    train = SceneLoader(scenes, 8, device=device, generator=torch.Generator().manual_seed(SEED))
    recorder = Recorder(model, train, run_dir, metrics, progress(epochs * len(train), "sixteen scenes"))
    with budget(flops=epochs * len(train) * training_flops(model, next(iter(train)))):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        train_detector(model, train, optimizer, epochs=epochs, warmup_steps=10, on_step=recorder.on_step)
        recorder.on_epoch(epochs - 1)
        found = evaluate_detector(model, train)
    draw_detections(model, train, run_dir / "detections.png")
    # right code reaches 1.000 (seed 0); an untrained head 0.000, as no score is above the threshold
    assert found.ap50 >= 0.95, f"AP50 on the very scenes it was trained on: {found.ap50:.3f}"


def test_voc_2007(device, run_dir, metrics, progress, budget, data_dir, download, record_property):
    train = voc_loader(voc_or_skip(data_dir, "trainval", download), train=True)
    test = voc_loader(voc_or_skip(data_dir, "test", download), train=False)
    backbone = pretrained_or_skip(download)
    torch.manual_seed(SEED)
    channels = backbone.out_channels
    model = RetinaNet(backbone, channels, len(voc.CLASSES), out_channels=128, num_convs=2).to(device)
    steps = VOC_EPOCHS * len(train)
    bar = progress(steps + len(test), "VOC 2007")
    recorder = Recorder(model, None, run_dir, metrics, bar)
    with budget(flops=steps * training_flops(model, voc_example(device)), max_seconds=45 * 60):
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4, weight_decay=0.05)
        train_detector(
            model,
            train,
            optimizer,
            epochs=VOC_EPOCHS,
            warmup_steps=500,
            on_step=recorder.on_step,
            on_epoch=lambda epoch: save(model.state_dict(), run_dir / "model.pt"),
        )
        mean_ap = voc_map(model, test, device, bar)
    recorder.row(steps, epoch="end", ap50=mean_ap)
    told = f"mean AP50 on VOC 2007 test: {mean_ap:.3f} (hoped for: 0.60)"
    record_property("found", told)
    # Nobody has run this recipe on the whole data set: 0.60 is told, not asked for. An untrained head reaches 0.00.
    assert mean_ap >= 0.05, told
