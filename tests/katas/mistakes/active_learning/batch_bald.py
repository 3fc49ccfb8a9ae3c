"""Wrong batches that people choose."""

from tests.katas.mistakes import Mistake

JOINT = "test_joint_entropies_by_hand"
HAND = "test_batches_by_hand"
BEST = "test_every_point_is_the_best_next_one"
DRAWN = "test_drawn_labels_come_from_their_joint_distribution"
AVERAGE = "test_estimates_are_right_on_average"
CONTINUED = "test_draws_continue_the_generator"
REFUSED = "test_what_is_out_of_range_is_refused"
LABELS = "        classes = torch.multinomial(point.exp()[members], 1, generator=generator)[:, 0]"

MISTAKES = [
    Mistake("labels_independent", JOINT,
            why="Labels are independent given a member, not in the mean of the members: every label says which is right.",
            find="    return predictive_entropy(_all_likelihoods(log_probs)[None])[0]",
            replace="    return predictive_entropy(log_probs).sum() + log_probs.new_zeros(())"),
    Mistake("joint_of_nobody", JOINT,
            why="A batch starts empty. The joint of no labels has one configuration, with p = 1.",
            find="    likelihoods = log_probs.new_zeros(log_probs.shape[1], 1)\n    for point in log_probs:",
            replace="    likelihoods = log_probs[0]\n    for point in log_probs[1:]:"),
    Mistake("best_by_bald", HAND,
            why="The k points with the largest BALD are often copies. What a point adds depends on those before it.",
            find="_likelihoods(log_probs[indices], max",
            replace="_likelihoods(log_probs[indices[:0]], max"),
    Mistake("given_the_last_point_alone", BEST,
            why="A point must add to all that are chosen, not only to the one before it.",
            find="_likelihoods(log_probs[indices], max",
            replace="_likelihoods(log_probs[indices[-1:]], max"),
    Mistake("joint_entropy_alone", HAND,
            why="Noise has entropy as well. The information is the joint entropy minus the members' own entropies.",
            find="(_conditional_entropies(log_probs, likelihoods, weights) - noise)",
            replace="_conditional_entropies(log_probs, likelihoods, weights)"),
    Mistake("a_point_twice", HAND,
            why="A second label of the same point is the first one: what is chosen is out of the running.",
            find="        gain[indices] = -1  # below every other\n",
            replace=""),
    Mistake("totals_as_gains", HAND,
            why="gains are increments: what each point adds. Their sum is the information of the batch.",
            find="torch.cat([gains, gain[best]])",
            replace="torch.cat([gains, gain[best] + gains[-1:].sum()])"),
    Mistake("the_last_of_equals", HAND,
            why="Ties go to the lowest index, so that a run can be repeated.",
            find="gain.argmax()[None]",
            replace="(len(gain) - 1 - gain.flip(0).argmax())[None]"),
    Mistake("indices_sorted", HAND,
            why="The points come in the order in which they were chosen: gains belong to them one by one.",
            find="    return BatchBald(indices, gains)",
            replace="    return BatchBald(indices.sort().values, gains)"),
    Mistake("negative_by_rounding", "test_gains_have_no_gradient_and_are_never_negative",
            why="The difference of two equal entropies may round to -1e-7, and no information is negative.",
            find="weights) - noise).clamp(min=0)",
            replace="weights) - noise)"),
    Mistake("gradient_kept", "test_gains_have_no_gradient_and_are_never_negative",
            why="Choosing is no training: the graph of all configurations would be kept in memory.",
            find="@torch.no_grad()\n",
            replace=""),
    Mistake("impossible_labels_are_nan", HAND,
            why="Labels that no member believes in have no posterior: 0 / 0. They have p = 0 and must not count.",
            find="likelihoods.softmax(0).nan_to_num(0)",
            replace="likelihoods.softmax(0)"),
    Mistake("underflow", "test_many_labels_do_not_underflow",
            why="A product of 60 probabilities is 0 in float32, and 0 / 0 is NaN. Add logarithms; softmax normalises them.",
            find="likelihoods.softmax(0).nan_to_num(0)",
            replace="likelihoods.exp() / likelihoods.exp().sum(0)"),
    Mistake("epsilon_in_the_posterior", "test_many_labels_do_not_underflow",
            why="p(y) of a dozen labels is below 1e-12 already: with an epsilon beside it no member seems right any more.",
            find="likelihoods.softmax(0).nan_to_num(0)",
            replace="likelihoods.exp() / (likelihoods.exp().sum(0) + 1e-12)"),
    Mistake("everything_at_once", "test_a_large_pool_needs_no_large_tensor",
            why="N × C × configurations numbers do not fit where N and the configurations are many: go in pieces.",
            find="_NUMBERS = 2**22",
            replace="_NUMBERS = 2**42"),
    Mistake("labels_from_the_mean", AVERAGE,
            why="One member draws all labels of a configuration. From the mean prediction they would be independent.",
            find="point.exp()[members]",
            replace="point.exp().mean(0).expand(most, -1)"),
    Mistake("uniform_labels", AVERAGE,
            why="The average over draws needs draws from the joint distribution. Uniform labels are mostly unlikely ones.",
            find=LABELS,
            replace="        classes = torch.randint(point.shape[1], (most,), generator=generator)"),
    Mistake("draws_weighted_again", AVERAGE,
            why="Likely labels are drawn more often. Weighting them by p(y) as well counts that twice: each draw is 1 / M.",
            find="    return likelihoods, chosen.new_full((most,), 1 / most)",
            replace="    weights = likelihoods.exp().mean(0)\n    return likelihoods, weights / weights.sum()"),
    Mistake("no_generator_no_matter", REFUSED,
            why="Without a generator the global one would draw, and the run cannot be repeated.",
            find="    if generator is None and",
            replace="    if False and"),
    Mistake("one_generator_forgotten", CONTINUED,
            why="Members and classes are both drawn from the generator that was given.",
            find="(most,), generator=generator, device",
            replace="(most,), device"),
]

SIZE = "_conditional_entropies: max(_NUMBERS // max(probs[:, :, 0].numel(), 1), 1) → "

EQUIVALENT = {
    "batch_bald: 100000 → 100001": "tells pools of 100,001 configurations from others: no small power is between",
    "batch_bald: gain[indices] = -1 → gain[indices] = -2": "any negative number is below every gain",
    "_likelihoods: torch.multinomial(point.exp()[members], 1, generator=generator) → torch.multinomial(point.exp()[members], 2, generator=generator)":
        "of two draws without replacement the first is used: it is distributed like a single one",
    "_conditional_entropies: likelihoods.softmax(0).nan_to_num(0) → likelihoods.softmax(0).nan_to_num(1)":
        "any finite number will do: such labels have the weight 0",
    SIZE + "min(_NUMBERS // max(probs[:, :, 0].numel(), 1), 1)": "one configuration at a time: slow, and right",
    SIZE + "max(_NUMBERS // max(probs[:, :, 0].numel(), 1), 2)": "two configurations of a pool with N C > 2²²",
    "_conditional_entropies: max(probs[:, :, 0].numel(), 1) → max(probs[:, :, 0].numel(), 2)":
        "other pieces of a pool with a single number",
}
