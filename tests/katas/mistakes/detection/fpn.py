"""Wrong versions of the feature pyramid."""

from tests.katas.mistakes import Mistake

MISTAKES = [
    Mistake("enlarges_bilinearly", "test_the_top_down_path_by_hand",
            why="The paper repeats each coarse value; interpolation smears what is known of one place over its neighbours.",
            find='shape[-2:], mode="nearest"',
            replace='shape[-2:], mode="bilinear"'),
    Mistake("enlarges_by_two", "test_sizes_that_are_not_multiples_by_hand",
            why="An image whose size is no multiple of the stride gives maps that are not twice as large as the next.",
            find='size=merged[level].shape[-2:], mode="nearest"',
            replace='scale_factor=2, mode="nearest"'),
    Mistake("replaces_instead_of_adding", "test_the_top_down_path_by_hand",
            why="Without the lateral map the fine level loses the very detail that it is there for.",
            find="merged[level] = merged[level] + enlarged",
            replace="merged[level] = enlarged"),
    Mistake("goes_bottom_up", "test_it_agrees_with_torchvision",
            why="Each level must receive what the level above has already gathered: from the top down, not one step only.",
            find="range(len(merged) - 2, -1, -1)",
            replace="range(len(merged) - 1)"),
    Mistake("hands_down_the_output", "test_output_convolutions_are_not_handed_down",
            why="The 3×3 output convolution smooths a level for the head; the path downwards goes on from before it.",
            find="F.interpolate(merged[level + 1],",
            replace="F.interpolate(self.output_convs[level + 1](merged[level + 1]),"),
    Mistake("one_output_convolution_for_all", "test_it_agrees_with_torchvision",
            why="Each level has an output convolution of its own.",
            find="[conv(m) for conv, m in zip(self.output_convs, merged, strict=True)]",
            replace="[self.output_convs[0](m) for m in merged]"),
    Mistake("forgets_the_output_convolution", "test_it_agrees_with_torchvision",
            why="Without the 3×3 convolution the blocks of the nearest-neighbour enlargement go straight into the head.",
            find="[conv(m) for conv, m in zip(self.output_convs, merged, strict=True)]",
            replace="merged"),
    Mistake("p6_from_p5", "test_p6_comes_from_the_backbone_map",
            why="P6 comes from the backbone's last map C5, whatever its number of channels.",
            find="p6 = self.p6(features[-1])",
            replace="p5 = self.output_convs[-1](merged[-1])\n"
                    "        p6 = self.p6(p5 if p5.shape == features[-1].shape else features[-1])"),
    Mistake("no_relu_before_p7", "test_the_top_down_path_by_hand",
            why="Two convolutions with nothing between them are one convolution: P7 needs the ReLU.",
            find="self.p7(F.relu(p6))",
            replace="self.p7(p6)"),
    Mistake("relu_in_place", "test_the_top_down_path_by_hand",
            why="An in-place ReLU also rewrites P6, which is an output of its own.",
            find="self.p7(F.relu(p6))",
            replace="self.p7(F.relu(p6, inplace=True))"),
    Mistake("p7_without_p6", "test_it_agrees_with_torchvision",
            why="Each extra level halves the one before it.",
            find="self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1)",
            replace="self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=1, padding=1)"),
    Mistake("coarse_to_fine", "test_the_top_down_path_by_hand",
            why="The levels leave in the order in which the maps came: strides and anchors are assigned by position.",
            find="return [conv(m) for conv, m in zip(self.output_convs, merged, strict=True)]",
            replace="return [conv(m) for conv, m in zip(self.output_convs, merged, strict=True)][::-1]"),
    Mistake("plain_list_of_modules", "test_the_top_down_path_by_hand",
            why="PyTorch does not see modules in a plain list: they are neither trained, nor moved to the GPU, nor saved.",
            find="self.lateral_convs = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)",
            replace="self.lateral_convs = [nn.Conv2d(c, out_channels, 1) for c in in_channels]"),
    Mistake("biases_left_random", "test_biases_start_at_zero_and_every_parameter_learns",
            why="PyTorch's own initialisation draws the biases at random.",
            find="nn.init.zeros_(module.bias)",
            replace="pass"),
    Mistake("zip_swallows_a_missing_map", "test_a_wrong_number_of_maps_is_refused",
            why="zip stops at the shorter list without a word, and the pyramid would be one level short.",
            find="if len(features) != len(self.lateral_convs):",
            replace="if False:"),
    Mistake("accepts_no_map", "test_a_wrong_number_of_maps_is_refused",
            why="A pyramid on nothing should say so, rather than fail with an index error far away.",
            find="if not in_channels:",
            replace="if in_channels is None:"),
    Mistake("coarsest_map_cut_off", "test_gradients_are_those_of_the_formula",
            why="Large objects would never teach the backbone: the values are right, the gradient is not.",
            find="p6 = self.p6(features[-1])",
            replace="p6 = self.p6(features[-1].detach())"),
    Mistake("top_down_path_cut_off", "test_gradients_are_those_of_the_formula",
            why="What a fine level asks of the coarse one would never reach it: the values are right, the gradient is not.",
            find="F.interpolate(merged[level + 1],",
            replace="F.interpolate(merged[level + 1].detach(),"),
    Mistake("sizes_of_the_first_call", "test_each_call_uses_its_own_sizes",
            why="A detector sees images of many sizes, one call after the other.",
            find="        merged = [conv(feature)",
            replace='        if not hasattr(self, "_sizes"):\n'
                    "            self._sizes = [f.shape[-2:] for f in features]\n"
                    "        features = [F.interpolate(f, size=size) for f, size in zip(features, self._sizes)]\n"
                    "        merged = [conv(feature)"),
    Mistake("callers_list_overwritten", "test_output_convolutions_are_not_handed_down",
            why="Whoever looks at the backbone's maps afterwards finds the pyramid's in their place.",
            find="        merged = [conv(feature) for conv, feature in zip(self.lateral_convs, features, strict=True)]\n"
                 "        for",
            replace="        coarsest, merged = features[-1], features\n"
                    "        for level, conv in enumerate(self.lateral_convs):\n"
                    "            merged[level] = conv(features[level])\n"
                    "        features = [*features[:-1], coarsest]\n"
                    "        for"),
]

EQUIVALENT = {
    "FeaturePyramid.__init__: nn.init.kaiming_uniform_(module.weight, a=1) → nn.init.kaiming_uniform_(module.weight)":
        "how the weights start is left open",
    "FeaturePyramid.__init__: nn.init.kaiming_uniform_(module.weight, a=1) → nn.init.kaiming_uniform_(module.weight, a=2)":
        "how the weights start is left open",
    "FeaturePyramid.forward: F.interpolate(merged[level + 1], size=merged[level].shape[-2:], mode='nearest') → F.interpolate(merged[level + 1], size=merged[level].shape[-2:])":
        "nearest is the default",
    "FeaturePyramid.forward: merged[level].shape[-2:] → merged[level].shape[+2:]":
        "maps have four axes",
}
