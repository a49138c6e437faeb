"""The terms."""

import torch
from torch import nn

from bindspace import Term


class Base(Term):
    def __init__(self, config, context):
        super().__init__()
        self.config = config


class Product(Base):
    def forward(self, batch):
        rows = batch.aligned(*self.config.of)
        a, b = (rows[name].z for name in self.config.of)
        return -(a * b).sum(1).mean() if len(a) else self.zero(batch)


class Joined(Base):
    def forward(self, batch):
        first, second, third = self.config.of
        left, right = batch.aligned(first, second), batch.aligned(second, third)
        place = {name: i for i, name in enumerate(right[third].ids)}
        both = [(i, place[name]) for i, name in enumerate(left[first].ids) if name in place]
        if not both:
            return self.zero(batch)
        i, j = map(list, zip(*both))
        return -(left[first].z[i] * right[third].z.detach()[j]).sum(1).mean()


class Queue(Base):
    def __init__(self, config, context):
        super().__init__(config, context)
        self.kept = {}

    def forward(self, batch):
        first, second, third = self.config.of
        right = batch.aligned(second, third)[third]
        self.kept.update(zip(right.ids, right.z.detach()))
        left = batch.aligned(first, second)[first]
        terms = [z @ self.kept[name] for name, z in zip(left.ids, left.z) if name in self.kept]
        return -torch.stack(terms).mean() if terms else self.zero(batch)


class OwnMetric(Base):
    def __init__(self, config, context):
        super().__init__(config, context)
        self.map = nn.Linear(context.dim, context.dim, bias=False)

    def forward(self, batch):
        rows = batch.aligned(*self.config.of)
        a, b = (rows[name].z for name in self.config.of)
        return -(self.map(a.detach()) * b.detach()).sum(1).mean() if len(a) else self.zero(batch)
