"""training: a pass over batches, an evaluation, and epochs that can be resumed.

The definition trains on whole groups of examples at once, with PyTorch's own loss and clipping, and counts by hand. Out
of scope: loaders without a length in `fit`, other losses.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from katas.lab.expect import expect_close, expect_equal, expect_refused
from katas.lab.strategies import normal, rng, seeds
from katas.warmup.training import Epoch, EpochReport, evaluate, fit, train_one_epoch

F64, CLASSES = torch.float64, 3
SIZES = st.lists(st.sampled_from([1, 2, 3, 5]), min_size=1, max_size=7)  # of batches
NEARLY = dict(rtol=1e-4, atol=1e-5)  # PyTorch's clipping adds 1e-6 to the norm
FACTORS = [0.1, 0.5, 1.0, 0.7, 0.3, 0.2, 0.9, 0.4, 0.6, 0.8, 0.25, 0.35, 0.45]


def network(seed=0, dropout=0.0):
    """With a dropout and a frozen, unused layer: modes and leftover gradients show."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, CLASSES)).double()
    model[3].aside = nn.Linear(2, 2).double().requires_grad_(False)
    return model


def batches(sizes, seed=0):
    return [
        (normal(size, 1, 2, 2, seed=seed + place), torch.randint(CLASSES, (size,), generator=rng(seed + place)))
        for place, size in enumerate(sizes)
    ]


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# --- the definition ---------------------------------------------------------------------------------------------------


def groups(loader, accumulation):
    """The examples of each step, as one batch."""
    for start in range(0, len(loader), accumulation):
        images, labels = zip(*loader[start : start + accumulation], strict=True)
        yield torch.cat(images), torch.cat(labels)


def trained(model, loader, optimizer, accumulation=1, max_grad_norm=None, rates=None):
    """Loss and accuracy over all examples, as each step saw them; `rates` has the factor of each step."""
    losses, hits, base = [], [], [group["lr"] for group in optimizer.param_groups]
    for step, (images, labels) in enumerate(groups(loader, accumulation)):
        for group, rate in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = rate * (rates[step] if rates else 1)
        logits = model.train()(images)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        losses += F.cross_entropy(logits, labels, reduction="none").tolist()
        hits += (logits.argmax(1) == labels).tolist()
    for group, rate in zip(optimizer.param_groups, base, strict=True):
        group["lr"] = rate
    return sum(losses) / len(losses), sum(hits) / len(hits)


def judged(model, loader):
    images, labels = next(groups(loader, len(loader)))
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(images)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).double().mean().item()


def two_groups(model, lr=0.5):
    return torch.optim.SGD(
        [{"params": model[1].parameters()}, {"params": model[4].parameters(), "lr": 0.3}], lr, momentum=0.9
    )


# --- an epoch of training ---------------------------------------------------------------------------------------------


@given(seeds(), SIZES, st.sampled_from([1, 2, 3, 10]), st.sampled_from([None, 0.0, 0.3, 5.0]))
def test_an_epoch_agrees_with_the_definition(seed, sizes, accumulation, max_grad_norm):
    loader, results = batches(sizes, seed), []
    for train in (train_one_epoch, trained):
        model = network(seed % 100)
        options = {"max_grad_norm": max_grad_norm} | ({"accumulation": accumulation} if accumulation > 1 else {})
        results.append(([*train(model, loader, two_groups(model), **options)], weights(model)))
    (got, got_weights), (expected, expected_weights) = results
    law = f"batches of {sizes}, {accumulation} a step: as one batch of all their examples"
    expect_close(got_weights, expected_weights, law, **NEARLY)
    expect_close(got, expected, "loss and accuracy are means over examples, not over batches", **NEARLY)


def test_what_is_returned_are_python_numbers():
    model = network()
    learnt = train_one_epoch(model=model, loader=iter(batches([3])), optimizer=two_groups(model))
    for epoch in (learnt, evaluate(model=model, loader=iter(batches([3])))):
        assert isinstance(epoch, Epoch) and {type(value) for value in epoch} == {float}, f"an Epoch of floats: {epoch}"


def test_every_step_is_announced_before_it_is_taken():
    model, told = network(), []
    optimizer = two_groups(model)
    start = weights(model)

    def before_step(step):
        told.append((step, weights(model)))
        for group in optimizer.param_groups:
            group["lr"] = 0.0

    train_one_epoch(model, batches([2, 3, 1, 2, 2]), optimizer, accumulation=2, before_step=before_step)
    assert [step for step, _ in told] == [0, 1, 2], f"steps, not batches, from 0: {[step for step, _ in told]}"
    expect_equal(weights(model), start, "a rate of 0, set before the step, holds for it")


def test_gradients_of_before_are_cleared():
    model = network()
    expected = network()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)  # in the frozen layer, too: it is in no group
    train_one_epoch(model, batches([4]), two_groups(model), max_grad_norm=0.1)
    trained(expected, batches([4]), two_groups(expected), max_grad_norm=0.1)
    expect_close(weights(model), weights(expected), "neither step nor norm knows of gradients from before", **NEARLY)


def test_a_batch_is_trained_in_training_mode():
    model, seen = network(dropout=0.5).eval(), []
    model[3].register_forward_hook(lambda module, inputs, output: seen.append(module.training))
    train_one_epoch(model, batches([3, 2]), two_groups(model))
    assert seen == [True, True], "dropout is on while training, whatever the mode before"


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_loss_that_is_not_finite_changes_nothing(accumulation):
    model, loader = network(), batches([2, 2, 2, 2])
    optimizer = two_groups(model)
    train_one_epoch(model, batches([3]), optimizer)
    before, state = [], []

    def before_step(step):
        if step == 1:
            before.append(weights(model)), state.append(copy.deepcopy(optimizer.state_dict()["state"]))

    loader[2 * accumulation - 1][0][0, 0, 0, 0] = math.nan
    loader = loader if accumulation == 2 else loader[:2]
    with pytest.raises(FloatingPointError) as raised:
        train_one_epoch(model, loader, optimizer, accumulation=accumulation, before_step=before_step)
    assert "1" in str(raised.value), f"the step is named, 1: {raised.value}"
    expect_equal(weights(model), before[0], "weights as before the step")
    expect_equal(optimizer.state_dict()["state"], state[0], "and the optimizer's momentum")


# --- evaluation -------------------------------------------------------------------------------------------------------


@given(seeds(), SIZES)
def test_an_evaluation_is_over_examples(seed, sizes):
    model, loader = network(seed % 100, dropout=0.5), batches(sizes, seed)
    expect_close([*evaluate(model, loader)], judged(model, loader), "as one batch of all examples, dropout off")


def test_an_evaluation_changes_nothing():
    model, grads = network(dropout=0.5).train(), []
    model[3].eval()
    modes, before = [module.training for module in model.modules()], weights(model)
    model.register_forward_hook(lambda module, inputs, output: grads.append(output.requires_grad))
    evaluate(model, batches([3, 1]))
    assert grads == [False, False], "no gradient is recorded"
    with pytest.raises(RuntimeError):
        evaluate(model, [(torch.zeros(2, 9).double(), torch.zeros(2).long())])
    assert [module.training for module in model.modules()] == modes, (
        "each module is back in its own mode, after an error too"
    )
    expect_equal(weights(model), before, "nothing is learnt")


# --- epochs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("rates", [None, FACTORS])
def test_epochs_agree_with_the_definition(rates, accumulation):
    model, expected, train, test = network(), network(), batches([3, 2, 1]), batches([4, 1], seed=50)
    optimizer, other, told = two_groups(model), two_groups(expected), []
    reports = fit(
        model=model, train_loader=train, test_loader=test, optimizer=optimizer, epochs=3, max_grad_norm=2.0,
        rate_factor=rates and rates.__getitem__, **({"accumulation": accumulation} if accumulation > 1 else {}),
        on_epoch=lambda report: told.append((report, [g["lr"] for g in optimizer.param_groups])),
    )  # fmt: skip
    steps = -(-len(train) // accumulation)
    for epoch in range(3):
        own = rates and rates[epoch * steps : (epoch + 1) * steps]
        seen = trained(expected, train, other, accumulation, 2.0, own)
        report = EpochReport(epoch, Epoch(*seen), Epoch(*judged(expected, test)), 0.5 * (own[-1] if own else 1))
        law = f"epoch {epoch}: its number, training, test, the rate of its last step"
        expect_close([*reports[epoch]], [*report], law, **NEARLY)
        expect_close(told[epoch][1], [0.5, 0.3], "between epochs every rate is the full one again")
    assert [report for report, _ in told] == reports, "on_epoch is told the same reports"
    expect_close(weights(model), weights(expected), "the weights after all epochs", **NEARLY)


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_resumed_run_is_the_uninterrupted_one(stop):
    train, test = batches([3, 2, 1]), batches([4], seed=50)

    def run(model, optimizer, **options):
        return fit(model, train, test, optimizer, rate_factor=FACTORS.__getitem__, **options)

    whole, half = network(), network()
    first, saved = two_groups(half), {}

    def keep(report):
        if report.epoch + 1 == stop:
            saved.update(copy.deepcopy({"model": half.state_dict(), "optimizer": first.state_dict()}))

    reports = run(whole, two_groups(whole), epochs=4)
    run(half, first, epochs=stop, on_epoch=keep)
    resumed = network(seed=9)
    second = two_groups(resumed, lr=0.1)
    resumed.load_state_dict(saved["model"]), second.load_state_dict(saved["optimizer"])
    rest = run(resumed, second, epochs=4, first_epoch=stop)
    assert rest == reports[stop:], "the epochs that were missing, as the uninterrupted run had them"
    expect_equal(weights(resumed), weights(whole), "and the same weights to the bit")


# --- refusals and the light twin --------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulation", [0, -1])
def test_no_batches_a_step_is_refused(accumulation):
    model = network()
    expect_refused("accumulation", lambda: train_one_epoch(model, [], two_groups(model), accumulation=accumulation))


def test_three_classes_are_learnt():
    model, x = network(), normal(90, 1, 2, 2)
    labels = (x.flatten(1)[:, :CLASSES]).argmax(dim=1)
    loader = [(x[n : n + 16], labels[n : n + 16]) for n in range(0, 90, 16)]
    last = fit(model, loader, loader, torch.optim.SGD(model.parameters(), 0.3, momentum=0.9), epochs=40)[-1]
    assert last.test.accuracy >= 0.97, f"the largest of three numbers: {last}"
