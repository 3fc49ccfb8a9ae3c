"""Wrong versions of the RetinaNet head."""

from tests.mistakes import Mistake

ROWS = "maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, size)"

MISTAKES = [
    Mistake(
        name="reshapes_without_permuting",
        find=ROWS,
        replace="maps.reshape(maps.shape[0], -1, size)",
        why="The memory order is channels, rows, columns: a bare reshape fills a row with one "
        "channel of several places.",
        caught_by="test_worked_example_of_the_order_of_the_logits",
    ),
    Mistake(
        name="columns_before_rows",
        find=ROWS,
        replace="maps.permute(0, 3, 2, 1).reshape(maps.shape[0], -1, size)",
        why="Anchors go through the map row by row; column by column is the same only by luck, on "
        "a square map.",
        caught_by="test_worked_example_of_the_order_of_the_logits",
    ),
    Mistake(
        name="anchors_before_places",
        find=ROWS,
        replace="maps.unflatten(1, (-1, size)).permute(0, 1, 3, 4, 2).reshape(maps.shape[0], -1, size)",
        why="Rows go by place first: all anchors of the first place, then all of the second.",
        caught_by="test_worked_example_of_the_order_of_the_deltas",
    ),
    Mistake(
        name="channels_by_class_first",
        find=ROWS,
        replace="maps.unflatten(1, (size, -1)).permute(0, 3, 4, 2, 1).reshape(maps.shape[0], -1, size)",
        why="Channel a · K + k is class k of anchor a, so the classes of an anchor lie side by side.",
        caught_by="test_worked_example_of_the_order_of_the_logits",
    ),
    Mistake(
        name="prior_with_the_wrong_sign",
        find="-math.log((1 - prior_probability) / prior_probability)",
        replace="math.log((1 - prior_probability) / prior_probability)",
        why="Then every anchor starts out 99 % sure that it holds an object.",
        caught_by="test_at_the_start_every_class_has_the_prior_probability",
    ),
    Mistake(
        name="prior_as_a_probability",
        find="-math.log((1 - prior_probability) / prior_probability)",
        replace="prior_probability",
        why="The bias is a logit, not a probability: sigmoid(0.01) is one half.",
        caught_by="test_at_the_start_every_class_has_the_prior_probability",
    ),
    Mistake(
        name="prior_on_the_boxes_too",
        find="        nn.init.constant_(self.cls_logits.bias,",
        replace="        nn.init.constant_(self.box_deltas.bias, -4.6)\n        "
        "nn.init.constant_(self.cls_logits.bias,",
        why="Deltas of −4.6 move every anchor far away from where it stands.",
        caught_by="test_at_the_start_every_class_has_the_prior_probability",
    ),
    Mistake(
        name="prior_left_out",
        find="        nn.init.constant_(self.cls_logits.bias, -math.log((1 - prior_probability) / "
        "prior_probability))\n",
        replace="",
        why="At probability ½ everywhere, background anchors swamp the first steps of training.",
        caught_by="test_at_the_start_every_class_has_the_prior_probability",
    ),
    Mistake(
        name="default_prior",
        find="prior_probability: float = 0.01",
        replace="prior_probability: float = 0.1",
        why="The paper starts from 0.01.",
        caught_by="test_the_defaults_are_those_of_the_paper",
    ),
    Mistake(
        name="one_subnet_for_both",
        find="self.box_subnet = _subnet(in_channels, num_convs)",
        replace="self.box_subnet = self.cls_subnet",
        why="What and where are answered by two networks of the same form that share no weight.",
        caught_by="test_what_and_where_share_no_weight",
    ),
    Mistake(
        name="boxes_from_the_classifier",
        find="self.box_deltas(self.box_subnet(f))",
        replace="self.box_deltas(self.cls_subnet(f))",
        why="The box subnet would never be used, and never learn.",
        caught_by="test_every_parameter_learns",
    ),
    Mistake(
        name="no_relu_in_the_subnets",
        find="layers += [conv, nn.ReLU()]",
        replace="layers += [conv, nn.Identity()]",
        why="Convolutions with nothing between them are one convolution.",
        caught_by="test_it_equals_torchvision_with_the_same_weights",
    ),
    Mistake(
        name="sigmoid_inside",
        find="_rows(self.cls_logits(self.cls_subnet(f)), self.num_classes)",
        replace="_rows(self.cls_logits(self.cls_subnet(f)).sigmoid(), self.num_classes)",
        why="The loss and the postprocessing expect logits, and apply the sigmoid themselves.",
        caught_by="test_worked_example_of_the_order_of_the_logits",
    ),
    Mistake(
        name="last_weights_too_large",
        find="nn.init.normal_(conv.weight, std=0.01)",
        replace="nn.init.normal_(conv.weight, std=0.1)",
        why="Large weights drown the prior: the first predictions are noise instead of `rare`.",
        caught_by="test_the_last_convolutions_start_small",
    ),
    Mistake(
        name="last_weights_by_default",
        find="            nn.init.normal_(conv.weight, std=0.01)\n",
        replace="",
        why="PyTorch's default is uniform and depends on the number of channels.",
        caught_by="test_the_last_convolutions_start_small",
    ),
    Mistake(
        name="no_padding",
        find="conv = nn.Conv2d(channels, channels, 3, padding=1)",
        replace="conv = nn.Conv2d(channels, channels, 3)",
        why="Each unpadded convolution cuts off a border, and the rows no longer fit the anchors.",
        caught_by="test_each_level_has_a_row_for_each_anchor",
    ),
    Mistake(
        name="prior_unchecked",
        find="if not 0 < prior_probability < 1:",
        replace="if not 0 <= prior_probability <= 1:",
        why="The logit of 0 or of 1 is infinite.",
        caught_by="test_an_impossible_prior_probability_is_rejected",
    ),
    Mistake(
        name="weights_of_its_own_for_every_level",
        find="for f in features]\n        box_deltas",
        replace="for f in features[:1] + [2 * f for f in features[1:]]]\n        box_deltas",
        why="A level must not be treated by its number: the same head runs over all of them.",
        caught_by="test_the_same_weights_serve_every_level",
    ),
    Mistake(
        name="biases_of_the_subnets_left",
        find="        nn.init.zeros_(conv.bias)\n        layers",
        replace="        if not layers:\n            nn.init.zeros_(conv.bias)\n        layers",
        why="Features of zero would not give the prior probability: deeper biases are random, too.",
        caught_by="test_at_the_start_every_class_has_the_prior_probability",
    ),
    Mistake(
        name="uniform_weights",
        find="nn.init.normal_(conv.weight, std=0.01)",
        replace="nn.init.uniform_(conv.weight, -0.01 * 3**0.5, 0.01 * 3**0.5)",
        why="The same deviation, and another distribution than the one of the paper.",
        caught_by="test_the_last_convolutions_start_small",
    ),
    Mistake(
        name="features_hidden_from_the_boxes",
        find="self.box_deltas(self.box_subnet(f))",
        replace="self.box_deltas(self.box_subnet(f.detach()))",
        why="The backbone would learn what is there and never where: the values are right, the gradient is not.",
        caught_by="test_what_and_where_both_teach_the_features",
    ),
    Mistake(
        name="high_priors_refused",
        find="if not 0 < prior_probability < 1:",
        replace="if not 0 < prior_probability <= 0.999:",
        why="The whole open interval is allowed.",
        caught_by="test_at_the_start_every_class_has_the_prior_probability",
    ),
    Mistake(
        name="low_priors_raised",
        find="        self.num_classes = num_classes\n",
        replace="        self.num_classes = num_classes\n        prior_probability = max(prior_probability, 1e-3)\n",
        why="With millions of anchors a prior below 1/1000 is what one asks for.",
        caught_by="test_at_the_start_every_class_has_the_prior_probability",
    ),
    Mistake(
        name="levels_of_the_first_call",
        find="        cls_logits = [_rows",
        replace='        self._count = getattr(self, "_count", len(features))\n'
        "        features = features[: self._count]\n        cls_logits = [_rows",
        why="The head has no levels of its own: it takes as many as there are, each time.",
        caught_by="test_the_same_weights_serve_every_level",
    ),
]

EQUIVALENT = {
    "_subnet: nn.init.kaiming_normal_(conv.weight, nonlinearity='relu') → nn.init.kaiming_normal_(conv.weight)": (
        "how the weights of the subnets start is left open, and the default is the gain of a leaky ReLU with slope 0"
    ),
}
