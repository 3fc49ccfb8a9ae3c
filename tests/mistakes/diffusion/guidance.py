"""Wrong guidance that real people write."""

from tests.mistakes import Mistake

DRAW = "dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < drop_probability"
RESULT = "return torch.where(dropped, null_label, labels)"
CALL = "twice = model(torch.cat((x, x)), torch.cat((t, t)), torch.cat((labels, nulls)))"
SPLIT = "conditional, unconditional = twice.chunk(2)"
GUIDE = "return unconditional + scale * (conditional - unconditional)"

MISTAKES = [
    Mistake(
        name="keep_probability",
        find=") < drop_probability",
        replace=") > drop_probability",
        why="drop_probability is the share that is dropped, not the share that is kept.",
        caught_by="test_drop_probability_0_keeps_all_labels_and_1_drops_all",
    ),
    Mistake(
        name="all_or_none",
        find=DRAW,
        replace="dropped = torch.rand((), generator=generator, device=labels.device) < drop_probability",
        why="One draw for the whole batch drops all labels or none; every label needs a draw of its own.",
        caught_by="test_labels_are_dropped_independently_of_each_other",
    ),
    Mistake(
        name="exact_share_of_the_batch",
        find=DRAW,
        replace="dropped = torch.randperm(len(labels), generator=generator) < round(drop_probability * len(labels))",
        why="A fixed number of dropped labels per batch is no independent choice, and 0.1 of a batch of 4 is none.",
        caught_by="test_labels_are_dropped_independently_of_each_other",
    ),
    Mistake(
        name="first_of_the_batch",
        find=DRAW,
        replace="dropped = torch.arange(len(labels)) < drop_probability * len(labels)",
        why="If the first places of a batch always lose their labels, the choice is not random.",
        caught_by="test_every_place_of_the_batch_is_dropped_at_the_given_rate",
    ),
    Mistake(
        name="dropped_by_class",
        find=DRAW,
        replace="dropped = (torch.rand(1000, generator=generator) < drop_probability)[labels]",
        why="Two samples of one class lose their labels independently of each other.",
        caught_by="test_labels_are_dropped_independently_of_each_other",
    ),
    Mistake(
        name="global_generator",
        find="torch.rand(labels.shape, generator=generator, device=labels.device)",
        replace="torch.rand(labels.shape, device=labels.device)",
        why="Draws from the global generator cannot be repeated by passing the same `generator`.",
        caught_by="test_the_generator_alone_decides",
    ),
    Mistake(
        name="generator_started_anew",
        find=DRAW,
        replace="generator = torch.Generator().manual_seed(generator.initial_seed())\n    " + DRAW,
        why="Seeding anew in every call drops the same places of every batch.",
        caught_by="test_the_generator_alone_decides",
    ),
    Mistake(
        name="labels_changed_in_place",
        find=RESULT,
        replace="labels[dropped] = null_label\n    return labels",
        why="The labels belong to the caller's data set: written in place, they are lost for good.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="null_is_zero",
        find=RESULT,
        replace="return labels * ~dropped",
        why="0 is a class; no label has a number of its own, `null_label`.",
        caught_by="test_drop_probability_0_keeps_all_labels_and_1_drops_all",
    ),
    Mistake(
        name="shuffled_instead_of_dropped",
        find=RESULT,
        replace="return torch.where(dropped, null_label, labels.flip(0))",
        why="A label that is not dropped stays with its sample.",
        caught_by="test_a_label_stays_what_it_is_or_becomes_the_null_label",
    ),
    Mistake(
        name="drop_probability_unchecked",
        find="if not 0 <= drop_probability <= 1:",
        replace="if False:",
        why="10 instead of 0.1 would silently train without any label.",
        caught_by="test_an_impossible_probability_is_refused",
    ),
    Mistake(
        name="scale_of_the_paper",
        find=GUIDE,
        replace="return (1 + scale) * conditional - scale * unconditional",
        why="The w of the paper is scale - 1: with scale = 1 the conditional prediction comes back as it is.",
        caught_by="test_scale_1_is_conditional_and_scale_0_unconditional",
    ),
    Mistake(
        name="starts_from_the_conditional",
        find=GUIDE,
        replace="return conditional + scale * (conditional - unconditional)",
        why="The way starts at the unconditional prediction; from the conditional one, scale counts one too few.",
        caught_by="test_scale_three_goes_three_times_as_far_as_the_label_does",
    ),
    Mistake(
        name="away_from_the_label",
        find=GUIDE,
        replace="return unconditional + scale * (unconditional - conditional)",
        why="Guidance goes towards what the label means: with minus without.",
        caught_by="test_scale_three_goes_three_times_as_far_as_the_label_does",
    ),
    Mistake(
        name="no_extrapolation",
        find=GUIDE,
        replace="return torch.lerp(unconditional, conditional, min(max(scale, 0), 1))",
        why="A scale above 1 goes on past the conditional prediction: that is the point of guidance.",
        caught_by="test_scale_three_goes_three_times_as_far_as_the_label_does",
    ),
    Mistake(
        name="halves_exchanged",
        find=SPLIT,
        replace="unconditional, conditional = twice.chunk(2)",
        why="The answers come in the order of the questions: the labels were asked first.",
        caught_by="test_scale_three_goes_three_times_as_far_as_the_label_does",
    ),
    Mistake(
        name="split_along_the_channels",
        find=SPLIT,
        replace="conditional, unconditional = twice.reshape(*x.shape, 2).unbind(-1)",
        why="The two answers lie one after the other along the batch, not interleaved along the last axis.",
        caught_by="test_guidance_agrees_with_two_calls_for_each_sample",
    ),
    Mistake(
        name="interleaved_questions",
        find=CALL,
        replace="twice = model(x.repeat_interleave(2, 0), t.repeat_interleave(2), torch.cat((labels, nulls)))",
        why="x and t are interleaved and the labels are not: each label is asked for another sample.",
        caught_by="test_guidance_agrees_with_two_calls_for_each_sample",
    ),
    Mistake(
        name="timesteps_interleaved",
        find=CALL,
        replace="twice = model(torch.cat((x, x)), t.repeat_interleave(2), torch.cat((labels, nulls)))",
        why="Each row needs the timestep of its own sample.",
        caught_by="test_guidance_agrees_with_two_calls_for_each_sample",
    ),
    Mistake(
        name="one_timestep_for_all",
        find=CALL,
        replace="twice = model(torch.cat((x, x)), t[:1].expand(2 * len(t)), torch.cat((labels, nulls)))",
        why="Every sample has a timestep of its own.",
        caught_by="test_guidance_agrees_with_two_calls_for_each_sample",
    ),
    Mistake(
        name="two_calls",
        find=CALL,
        replace="twice = torch.cat((model(x, t, labels), model(x, t, nulls)))",
        why="Two calls cost two passes: both answers fit into one batch.",
        caught_by="test_the_model_is_called_once_for_both_answers",
    ),
    Mistake(
        name="conditional_only_at_scale_1",
        find="nulls = torch.full_like(labels, null_label)",
        replace="if scale == 1:\n        return model(x, t, labels)\n    nulls = torch.full_like(labels, null_label)",
        why="The model was promised one call with 2 B rows, whatever the scale.",
        caught_by="test_the_model_is_called_once_for_both_answers",
    ),
    Mistake(
        name="null_label_is_zero",
        find="nulls = torch.full_like(labels, null_label)",
        replace="nulls = torch.zeros_like(labels)",
        why="0 is a class; without a label means `null_label`.",
        caught_by="test_guidance_agrees_with_two_calls_for_each_sample",
    ),
    Mistake(
        name="labels_overwritten",
        find="nulls = torch.full_like(labels, null_label)",
        replace="nulls = labels.fill_(null_label)",
        why="fill_ overwrites the caller's labels, so that both halves ask without one.",
        caught_by="test_standing_laws",
    ),
    Mistake(
        name="probability_on_a_grid",
        find="dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < drop_probability",
        replace="dropped = torch.randint(100, labels.shape, generator=generator, device=labels.device) < 100 * drop_probability",
        why="Draws in steps of a hundredth round the probability up to the next one.",
        caught_by="test_a_small_probability_is_not_rounded",
    ),
    Mistake(
        name="no_pass_for_samples_without_a_label",
        find="    nulls = torch.full_like(labels, null_label)\n",
        replace="    if (labels == null_label).all():\n        return model(x, t, labels)\n    nulls = torch.full_like(labels, null_label)\n",
        why="Whoever counts on 2 B rows, or traces the model, gets another program now and then.",
        caught_by="test_the_model_is_called_once_for_both_answers",
    ),
    Mistake(
        name="null_label_0_taken_for_none",
        find="    nulls = torch.full_like(labels, null_label)\n",
        replace="    nulls = torch.full_like(labels, null_label or -1)\n",
        why="0 is a label, and false.",
        caught_by="test_label_0_may_stand_for_no_label",
    ),
    Mistake(
        name="probability_in_steps_of_a_256th",
        find="    dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < drop_probability\n",
        replace="    dropped = torch.randint(256, labels.shape, generator=generator, device=labels.device) < 256 * drop_probability\n",
        why="A probability of 0.003 becomes 1/256, a third more.",
        caught_by="test_a_small_probability_is_not_rounded",
    ),
]

EQUIVALENT = {
    "drop_labels: torch.rand(labels.shape, generator=generator, device=labels.device) < drop_probability → "
    "torch.rand(labels.shape, generator=generator, device=labels.device) <= drop_probability": (
        "they differ where a draw is exactly 0, once in 16 million"
    ),
}
