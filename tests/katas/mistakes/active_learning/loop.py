"""Wrong loops of active learning that people write."""

from tests.katas.mistakes import Mistake

BEST = "test_the_highest_scores_by_hand"
STABLE = "test_equal_scores_go_to_the_lowest_position"
BY_HAND = "test_a_search_for_a_threshold_by_hand"
KNOWN = "test_a_run_is_known_in_advance"
ORDER = "test_each_round_has_its_order"
SAVED = "test_a_saved_run_goes_on"
REFUSED = "test_what_is_refused_buys_nothing"
SORTED = "return scores.argsort(descending=True, stable=True)[:count]"
BUY = "bought = tuple(pool.buy(positions).tolist())"
COUNTED = "num_labels = len(pool.labelled)\n        "
FIT = COUNTED + "model = fit(pool.labelled, pool.labels)"
ASKED = "acquire(model, pool.unlabelled, count, generator)\n        if"

MISTAKES = [
    Mistake("least_uncertain_first", BEST,
            why="Higher scores are more worth buying: ascending order buys what the model knows best.",
            find="argsort(descending=True, stable=True)",
            replace="argsort(stable=True)"),
    Mistake("ties_to_the_last", BEST,
            why="An ascending order read backwards has equal scores backwards, too: the lowest position comes first.",
            find=SORTED,
            replace="return scores.argsort(stable=True).flip(0)[:count]"),
    Mistake("ties_as_topk_likes", STABLE,
            why="topk promises no order of equal scores: it differs between devices and versions.",
            find=SORTED,
            replace="return scores.topk(count).indices"),
    Mistake("nan_comes_first", REFUSED,
            why="A sort puts NaN above all numbers: a broken score would be bought first, round after round.",
            find="    if scores.isnan().any():",
            replace="    if scores.isnan().all() and len(scores):"),
    Mistake("positions_noted_as_indices", BY_HAND,
            why="Positions count within the unlabelled of that round. What was bought are the global indices that buy returns.",
            find=BUY,
            replace="pool.buy(positions)\n        bought = tuple(positions.tolist())"),
    Mistake("indices_bought_as_positions", BY_HAND,
            why="`buy` counts positions within the unlabelled. A global index is another example, or none.",
            find=BUY,
            replace="bought = tuple(pool.buy(pool.unlabelled[positions].clamp(max=len(pool.unlabelled) - 1)).tolist())"),
    Mistake("acquire_sees_the_whole_pool", KNOWN,
            why="Positions are those within the unlabelled. Among all examples the labelled ones would be bought again.",
            find=ASKED,
            replace="acquire(model, torch.arange(len(pool.labelled) + len(pool.unlabelled)), count, generator).clamp(max=len(pool.unlabelled) - 1)\n        if"),
    Mistake("labels_leak_into_the_fit", KNOWN,
            why="A model that saw labels before they were bought makes every strategy look good.",
            find=FIT,
            replace="[pool._oracle(index) for index in pool.unlabelled.tolist()[:1]]\n        " + FIT),
    Mistake("counted_after_the_purchase", BY_HAND,
            why="The score belongs to the number of labels that the model was trained on, not to the next one.",
            find="rounds.append(Round(num_labels, score, bought))",
            replace="rounds.append(Round(len(pool.labelled), score, bought))"),
    Mistake("initial_set_of_its_own", REFUSED,
            why="Each strategy would start from another set: the initial set is bought once, by the caller, for all.",
            find='        raise ValueError("pool has no labels: buy an initial set first")',
            replace="        pool.buy(torch.randperm(len(pool.unlabelled), generator=generator)[:batch_size])"),
    Mistake("initial_set_enlarged", KNOWN,
            why="The loop begins with the initial set that it is given: random purchases of its own are no strategy's.",
            find="    rounds: list[Round] = []\n",
            replace="    rounds: list[Round] = []\n    if budget > len(pool.labelled):\n"
                    "        pool.buy(torch.randint(len(pool.unlabelled), (1,), generator=generator))\n"),
    Mistake("model_carried_over", BY_HAND,
            why="The labels that were bought must change the model: it is trained from scratch in every round.",
            find=FIT,
            replace=COUNTED + "model = model if rounds else fit(pool.labelled, pool.labels)"),
    Mistake("fitted_on_the_last_batch", KNOWN,
            why="Trained from scratch means on all labels bought so far, not on those of the last batch.",
            find=FIT,
            replace=COUNTED + "model = fit(pool.labelled[-batch_size:], pool.labels[-batch_size:])"),
    Mistake("generator_made_anew", KNOWN,
            why="A strategy that starts the generator again in each round draws the same numbers in each round.",
            find=ASKED,
            replace="acquire(model, pool.unlabelled, count, torch.Generator().manual_seed(generator.initial_seed()))\n        if"),
    Mistake("generator_reseeded_at_the_start", SAVED,
            why="A run that goes on would draw again what it has drawn: the generator is continued.",
            find="    rounds: list[Round] = []\n",
            replace="    rounds: list[Round] = []\n    generator.manual_seed(generator.initial_seed())\n"),
    Mistake("last_batch_overshoots", KNOWN,
            why="Strategies are compared at the same budget: the last batch is cut to what is left of it.",
            find="count = min(batch_size, budget - num_labels)\n        if count <= 0:",
            replace="count = min(batch_size, len(pool.unlabelled))\n        if num_labels >= budget:"),
    Mistake("no_last_model", ORDER,
            why="The last labels are bought too: the curve ends with the model that was trained on all of them.",
            find="        rounds.append(Round(num_labels, score, bought))\n",
            replace="        rounds.append(Round(num_labels, score, bought))\n        if num_labels + count >= budget:\n            return rounds\n"),
    Mistake("reported_before_the_purchase", ORDER,
            why="Who saves the pool in `on_round` would save it without the batch that the round tells of.",
            find="        count = min(batch_size, budget - num_labels)\n",
            replace="        count = min(batch_size, budget - num_labels)\n        if on_round is not None and rounds:\n            on_round(rounds[-1])\n"),
    Mistake("training_without_gradients", KNOWN,
            why="`no_grad` around the loop is around `fit` as well, and nothing can be trained in it.",
            find="def active_learning_loop(",
            replace="@torch.no_grad()\ndef active_learning_loop("),
    Mistake("number_of_acquire_unchecked", REFUSED,
            why="A strategy that buys fewer or more than the others is compared at another budget.",
            find="        if len(positions) != count:",
            replace="        if len(positions) > count + batch_size:"),
]

EQUIVALENT = {}
