"""Wrong areas, crossings and intervals that people compute."""

from tests.katas.mistakes import Mistake

AREAS = "test_areas_by_hand"
NEEDED = "test_labels_needed_by_hand"
INTERVAL = "test_an_interval_by_hand"
CURVES = "test_curves_agree_with_the_definition"
DIGITS = "test_labels_and_scores_keep_their_digits"
MEANS = "means = differences[seeds.to(a.device)].mean(1)"

MISTAKES = [
    Mistake("plain_mean_of_the_scores", AREAS,
            why="Rounds are not evenly spaced: a score that held for thirty labels counts more than one that held for ten.",
            find="    return ((heights * gaps).sum(-1) / gaps.sum()).to(scores.dtype)",
            replace="    return scores.mean(-1)"),
    Mistake("not_divided_by_the_range", AREAS,
            why="An area in labels times score grows with the budget: divided by the range it is a score.",
            find="(heights * gaps).sum(-1) / gaps.sum()",
            replace="(heights * gaps).sum(-1)"),
    Mistake("divided_by_the_last_count", AREAS,
            why="The curve begins with the initial set, not at 0 labels: the range is last minus first.",
            find="(heights * gaps).sum(-1) / gaps.sum()",
            replace="(heights * gaps).sum(-1) / num_labels[-1]"),
    Mistake("steps_instead_of_trapezoids", AREAS,
            why="Between two rounds the curve is a straight line: its mean height is the mean of both ends.",
            find="(scores[..., :-1].double() + scores[..., 1:].double()) / 2",
            replace="scores[..., :-1].double()"),
    Mistake("single_round_is_nan", CURVES,
            why="With one round there is no range to divide by. The mean score over it is the score.",
            find="    if len(num_labels) == 1:\n        return scores[..., 0].clone()\n",
            replace=""),
    Mistake("labels_in_the_dtype_of_the_scores", DIGITS,
            why="Labels are counted: float16 has no 70,000 and bfloat16 no 257. Only the result is cast.",
            find="gaps = num_labels.double().diff()",
            replace="gaps = num_labels.to(scores.dtype).double().diff()"),
    Mistake("whole_rounds_only", NEEDED,
            why="The target is crossed between two rounds: with whole rounds the answer depends on the batch size.",
            find="    crossing = labels[before] + share * (labels[after] - labels[before])",
            replace="    crossing = labels[after]"),
    Mistake("line_from_the_first_round", NEEDED,
            why="The line that crosses the target begins in the round before, not in the first one.",
            find="before = (after - 1).clamp(min=0)",
            replace="before = 0 * after"),
    Mistake("share_from_the_upper_end", NEEDED,
            why="The share of the way is counted from the round below the target: (target - low) / (high - low).",
            find="torch.where(climbs, goal.double() - low, 0)",
            replace="torch.where(climbs, high - goal.double(), 0)"),
    Mistake("equal_is_not_reached", NEEDED,
            why="A score that equals the target has reached it.",
            find="reached = scores >= goal",
            replace="reached = scores > goal"),
    Mistake("never_reached_is_the_last_round", NEEDED,
            why="A run that never gets there would look as if it had just made it: inf.",
            find="torch.where(reached.any(-1), crossing, torch.inf)",
            replace="torch.where(reached.any(-1), crossing, labels[-1])"),
    Mistake("last_crossing", NEEDED,
            why="A curve that falls again has reached the target all the same: the first crossing counts.",
            find="    after = reached.long().argmax(-1)",
            replace="    after = (scores < goal).long().cumsum(-1).argmax(-1).add(1).clamp(max=len(num_labels) - 1)"),
    Mistake("extended_before_the_first_round", NEEDED,
            why="Nothing is known about fewer labels than the initial set: a run that starts above needs the initial set.",
            find="    before = (after - 1).clamp(min=0)\n",
            replace="    after = torch.where(reached[..., 0], min(1, len(num_labels) - 1), after)\n    before = (after - 1).clamp(min=0)\n"),
    Mistake("target_in_float64", DIGITS,
            why="0.9 in float32 is a little less than 0.9 in float64: a score of 0.9 could not reach the target 0.9.",
            find="reached = scores >= goal",
            replace="reached = scores.double() >= target"),
    Mistake("seeds_not_paired", INTERVAL,
            why="What a lucky seed adds to both strategies cancels only if the same seeds are drawn for both.",
            find=MEANS,
            replace="others = torch.randint(len(a), seeds.shape, generator=generator)\n"
                    "    means = a.double()[seeds].mean(1) - b.double()[others].mean(1)"),
    Mistake("interval_of_single_differences", INTERVAL,
            why="The spread of single seeds is not that of their mean: a resample has as many seeds as there are.",
            find=MEANS,
            replace="means = differences[seeds[:, 0]]"),
    Mistake("drawn_without_replacement", INTERVAL,
            why="Without replacement every resample is the whole set, and its mean always the same.",
            find=MEANS,
            replace="means = differences[torch.rand(seeds.shape, generator=generator).argsort(1)].mean(1)"),
    Mistake("both_tails_on_each_side", INTERVAL,
            why="5 % lie outside in all: 2.5 % below and 2.5 % above.",
            find="[(1 - confidence) / 2, (1 + confidence) / 2]",
            replace="[1 - confidence, confidence]"),
    Mistake("normal_interval", INTERVAL,
            why="A few standard errors around the mean are not the percentile interval, which follows a skewed sample.",
            find="    ends = means.quantile(means.new_tensor([(1 - confidence) / 2, (1 + confidence) / 2]))",
            replace="    ends = differences.mean() + 1.96 * means.std() * means.new_tensor([-1, 1])"),
    Mistake("mean_of_the_resamples", "test_one_resample_is_an_interval_of_one_point",
            why="The mean of the differences is known exactly; resampling only adds noise to it.",
            find="for number in (differences.mean(), *ends)",
            replace="for number in (means.mean(), *ends)"),
]

EQUIVALENT = {
    "labels_to_reach: torch.where(climbs, goal.double() - low, 0) → torch.where(climbs, goal.double() - low, 1)":
        "where nothing climbs, the share is multiplied by 0 labels",
    "labels_to_reach: torch.where(climbs, high - low, 1) → torch.where(climbs, high - low, 2)":
        "where nothing climbs, 0 is divided",
    "paired_bootstrap: 10000 → 10001": "one resample more",
    "paired_bootstrap: torch.randint(len(a), (num_resamples, len(a)), generator=generator, device=generator.device) → "
    "torch.randint(len(a), (num_resamples, len(a)), generator=generator)": "specs run on the CPU",
}
