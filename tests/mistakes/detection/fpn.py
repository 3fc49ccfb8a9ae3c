"""Wrong versions of the feature pyramid."""

from tests.mistakes import Mistake

MISTAKES = [
    Mistake(
        name="enlarges_bilinearly",
        find='shape[-2:], mode="nearest"',
        replace='shape[-2:], mode="bilinear"',
        why="The paper repeats each coarse value; interpolation smears what is known of one place "
        "over its neighbours.",
        caught_by="test_worked_example_of_the_top_down_path",
    ),
    Mistake(
        name="enlarges_by_two",
        find='size=merged[level].shape[-2:], mode="nearest"',
        replace='scale_factor=2, mode="nearest"',
        why="An image whose size is no multiple of the stride gives maps that are not twice as "
        "large as the next.",
        caught_by="test_worked_example_of_sizes_that_are_not_multiples",
    ),
    Mistake(
        name="replaces_instead_of_adding",
        find="merged[level] = merged[level] + enlarged",
        replace="merged[level] = enlarged",
        why="Without the lateral map the fine level loses the very detail that it is there for.",
        caught_by="test_worked_example_of_the_top_down_path",
    ),
    Mistake(
        name="goes_bottom_up",
        find="range(len(merged) - 2, -1, -1)",
        replace="range(len(merged) - 1)",
        why="Each level must receive what the level above has already gathered: from the top "
        "down, not one step only.",
        caught_by="test_what_is_coarse_reaches_every_level_below_it_and_what_is_fine_only_its_own",
    ),
    Mistake(
        name="hands_down_the_output",
        find="F.interpolate(merged[level + 1],",
        replace="F.interpolate(self.output_convs[level + 1](merged[level + 1]),",
        why="The 3×3 output convolution smooths a level for the head; the path downwards goes on "
        "from before it.",
        caught_by="test_what_is_handed_down_has_not_been_through_an_output_convolution",
    ),
    Mistake(
        name="one_output_convolution_for_all",
        find="[conv(m) for conv, m in zip(self.output_convs, merged)]",
        replace="[self.output_convs[0](m) for m in merged]",
        why="Each level has an output convolution of its own.",
        caught_by="test_it_equals_torchvision_with_the_same_weights_on_maps_of_any_size",
    ),
    Mistake(
        name="forgets_the_output_convolution",
        find="[conv(m) for conv, m in zip(self.output_convs, merged)]",
        replace="merged",
        why="Without the 3×3 convolution the blocks of the nearest-neighbour enlargement go "
        "straight into the head.",
        caught_by="test_it_equals_torchvision_with_the_same_weights_on_maps_of_any_size",
    ),
    Mistake(
        name="p6_from_p5",
        find="p6 = self.p6(features[-1])",
        replace="p5 = self.output_convs[-1](merged[-1])\n"
        "        p6 = self.p6(p5 if p5.shape == features[-1].shape else features[-1])",
        why="P6 comes from the backbone's last map C5, whatever its number of channels.",
        caught_by="test_p6_comes_from_the_backbone_map_even_where_p5_has_as_many_channels",
    ),
    Mistake(
        name="no_relu_before_p7",
        find="self.p7(F.relu(p6))",
        replace="self.p7(p6)",
        why="Two convolutions with nothing between them are one convolution: P7 needs the ReLU.",
        caught_by="test_worked_example_of_the_top_down_path",
    ),
    Mistake(
        name="relu_in_place",
        find="self.p7(F.relu(p6))",
        replace="self.p7(F.relu(p6, inplace=True))",
        why="An in-place ReLU also rewrites P6, which is an output of its own.",
        caught_by="test_worked_example_of_the_top_down_path",
    ),
    Mistake(
        name="p7_without_p6",
        find="self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1)",
        replace="self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=1, padding=1)",
        why="Each extra level halves the one before it.",
        caught_by="test_levels_come_fine_to_coarse_and_the_last_two_halve_rounding_up",
    ),
    Mistake(
        name="coarse_to_fine",
        find="return [conv(m) for conv, m in zip(self.output_convs, merged)]",
        replace="return [conv(m) for conv, m in zip(self.output_convs, merged)][::-1]",
        why="The levels leave in the order in which the maps came: strides and anchors are "
        "assigned by position.",
        caught_by="test_levels_come_fine_to_coarse_and_the_last_two_halve_rounding_up",
    ),
    Mistake(
        name="plain_list_of_modules",
        find="self.lateral_convs = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)",
        replace="self.lateral_convs = [nn.Conv2d(c, out_channels, 1) for c in in_channels]",
        why="PyTorch does not see modules in a plain list: they are neither trained, nor moved to "
        "the GPU, nor saved.",
        caught_by="test_biases_start_at_zero_and_every_parameter_learns",
    ),
    Mistake(
        name="biases_left_random",
        find="nn.init.zeros_(module.bias)",
        replace="pass",
        why="PyTorch's own initialisation draws the biases at random.",
        caught_by="test_biases_start_at_zero_and_every_parameter_learns",
    ),
    Mistake(
        name="zip_swallows_a_missing_map",
        find="if len(features) != len(self.lateral_convs):",
        replace="if False:",
        why="zip stops at the shorter list without a word, and the pyramid would be one level short.",
        caught_by="test_a_wrong_number_of_maps_is_rejected",
    ),
    Mistake(
        name="accepts_no_map",
        find="if not in_channels:",
        replace="if in_channels is None:",
        why="A pyramid on nothing should say so, rather than fail with an index error far away.",
        caught_by="test_a_wrong_number_of_maps_is_rejected",
    ),
    Mistake(
        name="coarsest_map_cut_off",
        find="p6 = self.p6(features[-1])",
        replace="p6 = self.p6(features[-1].detach())",
        why="Large objects would never teach the backbone: the values are right, the gradient is not.",
        caught_by="test_every_output_teaches_the_backbone_below_it",
    ),
    Mistake(
        name="top_down_path_cut_off",
        find="F.interpolate(merged[level + 1],",
        replace="F.interpolate(merged[level + 1].detach(),",
        why="What a fine level asks of the coarse one would never reach it: the values are right, the gradient is not.",
        caught_by="test_every_output_teaches_the_backbone_below_it",
    ),
    Mistake(
        name="sizes_of_the_first_call",
        find="        merged = [conv(feature)",
        replace='        if not hasattr(self, "_sizes"):\n'
        "            self._sizes = [f.shape[-2:] for f in features]\n"
        "        features = [F.interpolate(f, size=size) for f, size in zip(features, self._sizes)]\n"
        "        merged = [conv(feature)",
        why="A detector sees images of many sizes, one call after the other.",
        caught_by="test_each_call_goes_by_the_sizes_of_its_own_maps",
    ),
    Mistake(
        name="callers_list_overwritten",
        find="        merged = [conv(feature) for conv, feature in zip(self.lateral_convs, features)]\n        for",
        replace="        coarsest, merged = features[-1], features\n"
        "        for level, conv in enumerate(self.lateral_convs):\n"
        "            merged[level] = conv(features[level])\n        features = [*features[:-1], coarsest]\n"
        "        for",
        why="Whoever looks at the backbone's maps afterwards finds the pyramid's in their place.",
        caught_by="test_the_callers_list_is_not_changed",
    ),
]

EQUIVALENT = {
    "FeaturePyramid.__init__: nn.init.kaiming_uniform_(module.weight, a=1) → nn.init.kaiming_uniform_(module.weight)": (
        "how the weights start is left open"
    ),
    "FeaturePyramid.__init__: nn.init.kaiming_uniform_(module.weight, a=1) → "
    "nn.init.kaiming_uniform_(module.weight, a=2)": "how the weights start is left open",
    "FeaturePyramid.forward: F.interpolate(merged[level + 1], size=merged[level].shape[-2:], mode='nearest') → "
    "F.interpolate(merged[level + 1], size=merged[level].shape[-2:])": "nearest is the default",
    "FeaturePyramid.forward: merged[level].shape[-2:] → merged[level].shape[+2:]": "maps have four axes",
}
