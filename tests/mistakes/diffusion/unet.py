"""Wrong U-Nets that real people write."""

from tests.mistakes import Mistake

RES_FORWARD = "h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))"
ATTENTION = "attention = (q.mT @ k / math.sqrt(channels // self.heads)).softmax(dim=-1)"
VALUES = "return x + self.proj((v @ attention.mT).reshape(x.shape))"
TOLD = "h = layer(h, embedding) if isinstance(layer, ResBlock) else layer(h)"
GROW = 'F.interpolate(h, size=seen[i - 1].shape[-2:], mode="nearest")'

MISTAKES = [
    Mistake(
        name="scale_without_the_one",
        find=RES_FORWARD,
        replace="h = self.conv2(F.silu(self.norm2(h) * scale + shift))",
        why="The scale is 1 + what the embedding says: a silent embedding must not silence the block.",
        caught_by="test_a_res_block_is_its_formula",
    ),
    Mistake(
        name="scale_and_shift_exchanged",
        find="scale, shift = self.embedding_layer",
        replace="shift, scale = self.embedding_layer",
        why="The first half of the layer's output is the scale.",
        caught_by="test_a_res_block_is_its_formula",
    ),
    Mistake(
        name="shift_forgotten",
        find=RES_FORWARD,
        replace="h = self.conv2(F.silu(self.norm2(h) * (1 + scale)))",
        why="The embedding both scales and shifts.",
        caught_by="test_a_res_block_is_its_formula",
    ),
    Mistake(
        name="told_before_the_norm",
        find=RES_FORWARD,
        replace="h = self.conv2(F.silu(self.norm2(h * (1 + scale) + shift)))",
        why="The norm would take away again what the embedding said.",
        caught_by="test_a_res_block_is_its_formula",
    ),
    Mistake(
        name="embedding_without_its_nonlinearity",
        find="self.embedding_layer(F.silu(embedding))",
        replace="self.embedding_layer(embedding)",
        why="The embedding passes through silu first.",
        caught_by="test_a_res_block_is_its_formula",
    ),
    Mistake(
        name="shortcut_forgotten",
        find="return self.shortcut(x) + h",
        replace="return self.shortcut(x) * 0 + h",
        why="Without the shortcut an untrained block passes nothing on.",
        caught_by="test_a_res_block_is_its_formula",
    ),
    Mistake(
        name="shortcut_always_a_convolution",
        find="same = in_channels == out_channels",
        replace="same = False",
        why="With equal channels the shortcut is the identity, so that an untrained block changes nothing.",
        caught_by="test_a_res_block_starts_as_its_shortcut",
    ),
    Mistake(
        name="activation_before_the_norm",
        find="h = self.conv1(F.silu(self.norm1(x)))",
        replace="h = self.conv1(self.norm1(F.silu(x)))",
        why="Norm first, then the nonlinearity.",
        caught_by="test_a_res_block_is_its_formula",
    ),
    Mistake(
        name="last_convolution_of_the_block_random",
        find="self.conv2 = _zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))",
        replace="self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)",
        why="Starting at 0, a deep network begins as a shallow one and grows.",
        caught_by="test_a_res_block_starts_as_its_shortcut",
    ),
    Mistake(
        name="scores_not_scaled",
        find=ATTENTION,
        replace="attention = (q.mT @ k).softmax(dim=-1)",
        why="Products of long vectors are large: unscaled, the softmax looks at one place alone.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="scaled_by_all_channels",
        find=ATTENTION,
        replace="attention = (q.mT @ k / math.sqrt(channels)).softmax(dim=-1)",
        why="The length of a head's vectors counts, channels / heads.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="scaled_without_the_root",
        find=ATTENTION,
        replace="attention = (q.mT @ k / (channels // self.heads)).softmax(dim=-1)",
        why="The deviation of such a product grows with the root of its length.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="softmax_over_the_queries",
        find=ATTENTION,
        replace="attention = (q.mT @ k / math.sqrt(channels // self.heads)).softmax(dim=-2)",
        why="Each query shares its attention out over the keys.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="attention_transposed",
        find=VALUES,
        replace="return x + self.proj((v @ attention).reshape(x.shape))",
        why="Values are mixed by the weights of their query, not of their key.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="attention_without_its_shortcut",
        find=VALUES,
        replace="return self.proj((v @ attention.mT).reshape(x.shape))",
        why="x is added: untrained, attention changes nothing.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="heads_interleaved",
        find="reshape(batch, 3, self.heads, channels // self.heads, height * width)",
        replace="reshape(batch, 3, channels // self.heads, self.heads, height * width).transpose(2, 3)",
        why="A head's channels lie one after another.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="keys_and_values_exchanged",
        find="q, k, v = qkv.unbind(dim=1)",
        replace="q, v, k = qkv.unbind(dim=1)",
        why="Queries, keys, values, in this order.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="attention_on_the_raw_image",
        find="qkv = self.qkv(self.norm(x))",
        replace="qkv = self.qkv(x)",
        why="Attention reads the normed image: norm first, then q, k, v.",
        caught_by="test_attention_is_its_formula",
    ),
    Mistake(
        name="projection_random",
        find="self.proj = _zeroed(nn.Conv2d(channels, channels, 1))",
        replace="self.proj = nn.Conv2d(channels, channels, 1)",
        why="Starting at 0, attention begins as the identity.",
        caught_by="test_attention_starts_as_the_identity",
    ),
    Mistake(
        name="heads_unchecked",
        find="if channels % heads:",
        replace="if False:",
        why="A head count that does not divide the channels shows up as an obscure reshape error much later.",
        caught_by="test_heads_must_divide_the_channels",
    ),
    Mistake(
        name="last_convolution_random",
        find="self.conv_out = _zeroed(nn.Conv2d(channels[0], in_channels, 3, padding=1))",
        replace="self.conv_out = nn.Conv2d(channels[0], in_channels, 3, padding=1)",
        why="Starting at 0, the first loss is that of no answer, not of a wrong one.",
        caught_by="test_an_untrained_network_predicts_0",
    ),
    Mistake(
        name="sizes_doubled_instead_of_matched",
        find=GROW,
        replace='F.interpolate(h, scale_factor=2, mode="nearest")',
        why="4 came from 7 or from 8: the way up has to meet what was seen on the way down.",
        caught_by="test_a_prediction_has_the_shape_of_the_image",
    ),
    Mistake(
        name="handed_across_forgotten",
        find="h = _through(self.up[i], torch.cat((h, seen[i]), dim=1), embedding)",
        replace="h = _through(self.up[i], torch.cat((h, torch.zeros_like(seen[i])), dim=1), embedding)",
        why="Details that are lost on the way down come back only by what is handed across.",
        caught_by="test_what_was_seen_on_the_way_down_is_handed_across",
    ),
    Mistake(
        name="the_middle_is_told_nothing",
        find="h = _through(self.middle, h, embedding)",
        replace="h = _through(self.middle, h, torch.zeros_like(embedding))",
        why="Every block is told the timestep and the label.",
        caught_by="test_every_block_is_told",
    ),
    Mistake(
        name="the_way_up_is_told_nothing",
        find="h = _through(self.up[i], torch.cat((h, seen[i]), dim=1), embedding)",
        replace="h = _through(self.up[i], torch.cat((h, seen[i]), dim=1), torch.zeros_like(embedding))",
        why="Every block is told the timestep and the label.",
        caught_by="test_every_block_is_told",
    ),
    Mistake(
        name="label_not_added",
        find="return embedding + self.label_embedding(labels)",
        replace="return embedding + 0 * self.label_embedding(labels)",
        why="A network that does not hear the label draws any digit.",
        caught_by="test_timestep_and_label_reach_the_prediction",
    ),
    Mistake(
        name="timestep_replaced_by_the_label",
        find="return embedding + self.label_embedding(labels)",
        replace="return self.label_embedding(labels)",
        why="The network needs to know how much noise there is.",
        caught_by="test_timestep_and_label_reach_the_prediction",
    ),
    Mistake(
        name="no_row_for_no_label",
        find="nn.Embedding(num_classes + 1, width)",
        replace="nn.Embedding(num_classes, width)",
        why="The label that stands for no label needs a row of its own.",
        caught_by="test_without_labels_the_last_row_of_the_table_is_used",
    ),
    Mistake(
        name="missing_labels_are_class_0",
        find="labels = torch.full(t.shape, self.null_label, device=t.device)",
        replace="labels = torch.zeros(t.shape, dtype=torch.int64, device=t.device)",
        why="No label is not the first class.",
        caught_by="test_without_labels_the_last_row_of_the_table_is_used",
    ),
    Mistake(
        name="labels_passed_over_in_silence",
        find="            if labels is not None:\n"
        '                raise ValueError("labels were given, but the network was made without num_classes")\n',
        replace="",
        why="Labels that do nothing are found out when the pictures are wrong.",
        caught_by="test_a_network_without_classes_refuses_labels",
    ),
    Mistake(
        name="attention_after_the_last_block_only",
        find="if index in attention_levels:",
        replace="if index in attention_levels and block == blocks - 1:",
        why="Attention follows each block of the level.",
        caught_by="test_attention_is_where_it_was_asked_for",
    ),
    Mistake(
        name="statistics_over_the_batch",
        find="self.norm_out = nn.GroupNorm(groups, channels[0])",
        replace="self.norm_out = nn.BatchNorm2d(channels[0])",
        why="With batch statistics a sample depends on its neighbours, which have other timesteps.",
        caught_by="test_samples_do_not_see_each_other",
    ),
    Mistake(
        name="last_row_is_padding",
        find="nn.Embedding(num_classes + 1, width)",
        replace="nn.Embedding(num_classes + 1, width, padding_idx=num_classes)",
        why="A padding row is never learnt, and the row for no label is what guidance compares with.",
        caught_by="test_the_row_for_no_label_is_learnt_like_the_others",
    ),
    Mistake(
        name="fractional_timesteps_cut",
        find="timestep_embedding(t.to(dtype), self.time_channels)",
        replace="timestep_embedding(t.long().to(dtype), self.time_channels)",
        why="Samplers with their own spacing visit fractional timesteps; cut to whole ones they are told a lie.",
        caught_by="test_fractional_timesteps_are_no_whole_ones",
    ),
    Mistake(
        name="queries_detached",
        find="(q.mT @ k /",
        replace="(q.detach().mT @ k /",
        why="A detached query learns nothing from where the attention went.",
        caught_by="test_gradients_are_those_of_the_formula",
    ),
    Mistake(
        name="handed_across_detached",
        find="torch.cat((h, seen[i]), dim=1)",
        replace="torch.cat((h, seen[i].detach()), dim=1)",
        why="The way down would be trained through the middle alone.",
        caught_by="test_gradients_are_those_of_the_formula",
    ),
    Mistake(
        name="attention_at_the_other_end",
        find="                if index in attention_levels:\n",
        replace="                if len(channels) - 1 - index in attention_levels:\n",
        why="Level 0 is the full size; counted from the bottom, attention sits at the wrong sizes.",
        caught_by="test_blocks_and_attention_come_in_their_order",
    ),
    Mistake(
        name="first_block_handed_across",
        find="            h = _through(layers, self.shrink[i - 1](h) if i else h, embedding)\n            seen.append(h)\n",
        replace="            h = self.shrink[i - 1](h) if i else h\n            first = _through(layers[:1], h, embedding)\n            h = _through(layers[1:], first, embedding)\n            seen.append(first)\n",
        why="The later blocks of the level would be seen by the levels below alone.",
        caught_by="test_a_level_hands_across_what_its_last_block_gave",
    ),
]

EQUIVALENT = {
    "UNet.__init__: 4 * channels[0] → 5 * channels[0]": "The width of the embedding is not promised.",
    "UNet.forward: F.interpolate(h, size=seen[i - 1].shape[-2:], mode='nearest') → "
    "F.interpolate(h, size=seen[i - 1].shape[-2:])": "Nearest is the default.",
    "UNet.forward: seen[i - 1].shape[-2:] → seen[i - 1].shape[+2:]": "The last two of four are those from the third.",
    "UNet._embedding: torch.full(t.shape, self.null_label, device=t.device) → torch.full(t.shape, self.null_label)": (
        "Only a second device shows it."
    ),
}
