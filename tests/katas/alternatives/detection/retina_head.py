"""The RetinaNet head with one row written at a time, in plain loops over places and anchors."""

from collections import namedtuple

import torch
from torch import nn

RetinaHeadOutput = namedtuple("RetinaHeadOutput", ["cls_logits", "box_deltas"])


class RetinaHead(nn.Module):
    def __init__(self, in_channels, num_anchors, num_classes, *, num_convs=4, prior_probability=0.01):
        super().__init__()
        if prior_probability <= 0 or prior_probability >= 1:
            raise ValueError("prior_probability is a probability, neither 0 nor 1")
        self.num_anchors = num_anchors
        self.cls_subnet, self.box_subnet = nn.Sequential(), nn.Sequential()
        for subnet in (self.cls_subnet, self.box_subnet):
            for _ in range(num_convs):
                subnet.append(nn.Conv2d(in_channels, in_channels, kernel_size=3, padding=1))
                subnet.append(nn.ReLU(inplace=True))
                nn.init.zeros_(subnet[-2].bias)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors * num_classes, kernel_size=3, padding=1)
        self.box_deltas = nn.Conv2d(in_channels, num_anchors * 4, kernel_size=3, padding=1)
        with torch.no_grad():
            self.cls_logits.weight.normal_(0, 0.01)
            self.box_deltas.weight.normal_(0, 0.01)
            self.cls_logits.bias.fill_(torch.logit(torch.tensor(prior_probability)))
            self.box_deltas.bias.zero_()

    def forward(self, features):
        logits = [self.cls_logits(self.cls_subnet(feature)) for feature in features]
        deltas = [self.box_deltas(self.box_subnet(feature)) for feature in features]
        return RetinaHeadOutput([self.in_rows(m) for m in logits], [self.in_rows(m) for m in deltas])

    def in_rows(self, maps):
        rows = []
        for i in range(maps.shape[2]):
            for j in range(maps.shape[3]):
                rows.extend(maps[:, :, i, j].chunk(self.num_anchors, dim=1))
        return torch.stack(rows, dim=1)
