"""Wrong pools that people write."""

from tests.katas.mistakes import Mistake

BY_HAND = "test_positions_count_within_the_unlabelled"
ANY = "test_the_pool_is_what_a_list_is"
ASKED = "test_the_oracle_is_asked_when_a_label_is_bought"
REFUSED = "test_what_is_refused_changes_nothing"
LIKELY = "test_every_choice_is_equally_likely"
ANSWERS = "answers = {index: self._oracle(index) for index in indices.tolist()}\n        self._bought.update(answers)"

MISTAKES = [
    Mistake("positions_are_global_indices", BY_HAND,
            why="Scores are those of the unlabelled examples: position 2 is the third of them, not example 2.",
            find="        indices = unlabelled[chosen]\n",
            replace="        indices = chosen\n"),
    Mistake("unlabelled_in_the_order_of_a_set", BY_HAND,
            why="Positions mean something only if the order is known: the unlabelled are ascending.",
            find="return free.nonzero().flatten()",
            replace="return free.nonzero().flatten().flip(0)"),
    Mistake("labelled_is_sorted", BY_HAND,
            why="In the order bought, labels and indices belong together, and a run can be read round by round.",
            find="torch.tensor(list(self._bought), dtype",
            replace="torch.tensor(sorted(self._bought), dtype"),
    Mistake("labels_sorted_by_index", BY_HAND,
            why="`labels[i]` belongs to `labelled[i]`: both are in the order bought.",
            find="return list(self._bought.values())",
            replace="return [self._bought[index] for index in sorted(self._bought)]"),
    Mistake("buy_returns_positions", BY_HAND,
            why="Positions mean other examples after the next purchase: what is noted down are global indices.",
            find="        return indices\n\n    def seed",
            replace="        return chosen\n\n    def seed"),
    Mistake("bought_one_after_the_other", BY_HAND,
            why="With every purchase later positions move up: all of a batch count within the pool before the call.",
            find="        self._open(indices)\n        return indices",
            replace="        got = []\n        for position in chosen.tolist():\n"
                    "            got.append(self.unlabelled[min(position, len(self.unlabelled) - 1)][None])\n"
                    "            self._open(got[-1])\n        return torch.cat([unlabelled[:0], *got])"),
    Mistake("unlabelled_computed_once", ANY,
            why="A list that is made at the start still holds what has been bought since.",
            find="        free[self.labelled] = False\n        return free.nonzero().flatten()",
            replace="        free[self.labelled] = False\n        if not self._bought or not hasattr(self, '_rest'):\n"
                    "            self._rest = free.nonzero().flatten()\n        return self._rest.clone()"),
    Mistake("the_cache_itself_handed_out", ANY,
            why="Who sorts or shifts the tensor changes what the pool holds for unlabelled: hand out a copy.",
            find="        free[self.labelled] = False\n        return free.nonzero().flatten()",
            replace="        free[self.labelled] = False\n        if getattr(self, '_key', None) != set(self._bought):\n"
                    "            self._key, self._rest = set(self._bought), free.nonzero().flatten()\n"
                    "        return self._rest"),
    Mistake("labels_read_in_advance", ASKED,
            why="Every answer of the oracle is paid for: a cache of all labels has bought the whole pool.",
            find="self._bought: dict[int, Any] = {}",
            replace="self._all = [oracle(index) for index in range(size)]\n        self._bought: dict[int, Any] = {}"),
    Mistake("oracle_asked_for_every_look", ASKED,
            why="`labels` shows answers that are there. Asking again costs again, and a person may answer otherwise.",
            find="        return list(self._bought.values())",
            replace="        return [self._oracle(index) for index in self._bought]"),
    Mistake("oracle_asked_again_after_loading", ASKED,
            why="The labels of the saved pool are in the state: a resumed run must not pay for them twice.",
            find='self._bought = dict(zip(state["labelled"].tolist(), state["labels"], strict=True))',
            replace='self._bought = {index: self._oracle(index) for index in state["labelled"].tolist()}'),
    Mistake("oracle_is_told_a_tensor", ASKED,
            why="A tensor is no key of a dictionary and no part of a file name: the oracle gets a Python int.",
            find=ANSWERS,
            replace="answers = {int(index): self._oracle(index) for index in indices}\n        self._bought.update(answers)"),
    Mistake("stored_one_by_one", "test_an_oracle_that_fails_changes_nothing",
            why="If the oracle fails midway, half a batch is bought, and the positions of a second try mean other examples.",
            find=ANSWERS,
            replace="for index in indices.tolist():\n            self._bought[index] = self._oracle(index)"),
    Mistake("bought_twice", REFUSED,
            why="A label that is bought twice is paid for twice.",
            find="    if len(numbers.unique()) < len(numbers):\n",
            replace="    if len(numbers.unique()) > len(numbers):\n"),
    Mistake("negative_positions_count_from_the_end", REFUSED,
            why="A negative position comes from a mistake elsewhere, and indexing would quietly buy something else.",
            find="(numbers < 0) | (numbers >= limit)",
            replace="(numbers < -limit) | (numbers >= limit)"),
    Mistake("labelled_again", REFUSED,
            why="The initial set is bought once. Examples of it that have a label already would be paid for again.",
            find="        if known:\n",
            replace="        if known and len(known) == len(self._bought) > 9:\n"),
    Mistake("order_not_saved", "test_a_saved_pool_goes_on_from_a_file",
            why="The order of purchase belongs to the state: sorted indices with labels in another order are other examples.",
            find='"labelled": self.labelled, "labels"',
            replace='"labelled": self.labelled.sort().values, "labels"'),
    Mistake("first_of_each_class", LIKELY,
            why="Files are often sorted. The first of each class look alike, and every seed gives the same set.",
            find="members[order[:per_class].to(labels.device)]",
            replace="members[: len(order[:per_class])]"),
    Mistake("drawn_with_replacement", "test_each_class_has_its_share",
            why="The same example twice is one label less than asked for.",
            find="        chosen.append(members[order[:per_class].to(labels.device)])",
            replace="        order = torch.randint(max(len(members), 1), (per_class,), generator=generator)\n"
                    "        chosen.append(members[order[:per_class].to(labels.device)])"),
    Mistake("too_few_taken_silently", REFUSED,
            why="A class with too few examples would be missing from the initial set, and the curves would start unequal.",
            find="        if len(members) < per_class:\n",
            replace="        if len(members) < min(per_class, 1):\n"),
]

EQUIVALENT = {
    "ActivePool.unlabelled: torch.ones(self._size, dtype=torch.bool, device='cpu') → "
    "torch.ones(self._size, device='cpu')": "a one is as true as True",
    "ActivePool.unlabelled: torch.ones(self._size, dtype=torch.bool, device='cpu') → "
    "torch.ones(self._size, dtype=torch.bool)": "specs run on the CPU",
    "stratified_seed: torch.randperm(len(members), generator=generator, device=generator.device) → "
    "torch.randperm(len(members), generator=generator)": "specs run on the CPU",
}
