"""Channels of very different range before a depthwise convolution are divided, and the graph computes the same."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import image
from maker_heads import SIZE, Layers

from lib.graph.onnx_session import infer_image, open_session
from lib.graph.surgery.graph import Graph, attribute
from lib.graph.surgery.passes import group_channels
from lib.graph.surgery.passes.group_channels import divided

CHANNELS = 12
REACH = np.geomspace(0.01, 100, CHANNELS)
IMAGES = [image(0, *SIZE), image(1, *SIZE)]


class Block(Layers):
    """Convolution, activation, depthwise convolution, activation, 1x1 convolution; ranges as `reach` says."""

    def __init__(self, reach=REACH, activation="silu", behind="silu"):
        super().__init__(SIZE)
        shuffled = np.random.default_rng(1).permutation(reach)
        first = self.scaled("images", (CHANNELS, 3, 3, 3), "first", shuffled / 255, pads=[1] * 4)
        self.inner = self.act(first, activation)
        # Filters that bring every channel back to the same range, as folded batch normalization leaves them.
        depthwise = self.scaled(
            self.inner, (CHANNELS, 1, 3, 3), "depthwise", 1 / shuffled, group=CHANNELS, pads=[1] * 4
        )
        self.end = self.act(depthwise, behind)
        self.conv(self.end, (4, CHANNELS, 1, 1), "out")

    def scaled(self, source, shape, name, factors, **attributes):
        """A convolution of random weights, each filter by its factor."""
        weights = self.rng.normal(0, 1, shape) * factors.reshape(-1, 1, 1, 1)
        values = [weights.astype(np.float32), np.zeros(shape[0], np.float32)]
        return self.graph.add("Conv", [source, *values], name, kernel_shape=shape[2:], **attributes)

    def act(self, name, kind):
        """An activation behind a tensor."""
        if kind == "silu":
            return self.graph.add("Mul", [name, self.graph.add("Sigmoid", [name], f"{name}/sigmoid")], f"{name}/act")
        if kind == "hard swish":  # as PaddlePaddle writes it
            three, zero, six = (np.array(value, np.float32) for value in (3, 0, 6))
            moved = self.graph.add("Add", [name, three], f"{name}/moved")
            product = self.graph.add(
                "Mul", [name, self.graph.add("Clip", [moved, zero, six], f"{name}/clip")], f"{name}/x"
            )
            return self.graph.add("Div", [product, six], f"{name}/act")
        return self.graph.add(kind, [name], f"{name}/act") if kind else name

    def divided(self, *outputs):
        """The finished model before and after the pass."""
        before = Graph(self.finish(*(outputs or ("out",))))
        after = Graph(before.model)
        if group_channels.PASS.needed(after, None):
            group_channels.PASS.apply(after, None, IMAGES)
        return before, after


def depthwise(graph):
    """The channels of each depthwise convolution."""
    return sorted(group for node in graph.model.graph.node if (group := attribute(node, "group", 1)) > 1)


@pytest.mark.parametrize("behind", ["silu", "Relu", None])
@pytest.mark.parametrize("activation", ["silu", "HardSwish", "hard swish", "Relu", None])
def test_channels_are_divided_and_the_graph_computes_the_same(activation, behind):
    before, after = Block(activation=activation, behind=behind).divided()
    assert len(depthwise(after)) == 3 and sum(depthwise(after)) == CHANNELS
    for each in IMAGES:
        [expected], [found] = (infer_image(open_session(g.model.SerializeToString()), each) for g in (before, after))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_channels_of_like_range_stay_together():
    _, after = Block(reach=np.ones(CHANNELS)).divided()
    assert depthwise(after) == [CHANNELS]


@pytest.mark.parametrize("other", ["inner", "end"])
def test_a_feature_map_that_is_an_output_too_is_left_alone(other):
    block = Block()
    _, after = block.divided("out", getattr(block, other))
    assert depthwise(after) == [CHANNELS]


def test_a_feature_map_that_something_else_reads_is_left_alone():
    block = Block()
    block.graph.add("GlobalAveragePool", [block.inner], "mean")
    assert depthwise(block.divided("out", "mean")[1]) == [CHANNELS]


def test_a_reader_that_is_no_plain_convolution_stops_it():
    block = Block()
    block.graph.add("MaxPool", [block.end], "pool", kernel_shape=[2, 2])
    assert depthwise(block.divided("out", "pool")[1]) == [CHANNELS]


def test_two_blocks_one_behind_another():
    block = Block()
    second = block.scaled("out", (CHANNELS, 4, 1, 1), "second", np.random.default_rng(2).permutation(REACH))
    read = block.act(second, "silu")
    weights = (np.ones((CHANNELS, 1, 1, 1)) / REACH.reshape(-1, 1, 1, 1)).astype(np.float32)
    block.graph.add("Conv", [read, weights], "again", kernel_shape=[1, 1], group=CHANNELS)
    block.conv("again", (3, CHANNELS, 1, 1), "last")
    before, after = block.divided("last")
    assert len(depthwise(after)) >= 5
    [expected], [found] = (infer_image(open_session(g.model.SerializeToString()), IMAGES[0]) for g in (before, after))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


class Joined(Block):
    """As ESNet of PicoDet: a depthwise convolution that reads a Concat of two activations of very different range."""

    def __init__(self, others=""):
        Layers.__init__(self, SIZE)
        low, high = np.split(REACH, 2)
        parts = []
        for name, reach in (("low", low), ("high", high)):
            made = self.scaled("images", (len(reach), 3, 3, 3), name, reach / 255, pads=[1] * 4)
            parts.append(self.act(made, "hard swish"))
        read = self.graph.add("Concat", parts, "joined", axis=1)
        if others == "of a part":
            self.conv(parts[0], (3, len(low), 1, 1), "other")
        dw = self.scaled(read, (CHANNELS, 1, 3, 3), "depthwise", 1 / REACH, group=CHANNELS, pads=[1] * 4)
        self.conv(self.act(dw, "hard swish"), (4, CHANNELS, 1, 1), "out")
        if others == "of all":
            self.conv(read, (3, CHANNELS, 1, 1), "other")


class Pooled(Block):
    """As the first block of ESNet: a MaxPool, read by a depthwise convolution and by another one."""

    def __init__(self, other_first: bool):
        Layers.__init__(self, SIZE)
        first = self.act(self.scaled("images", (CHANNELS, 3, 3, 3), "first", REACH / 255, pads=[1] * 4), "hard swish")
        read = self.graph.add("MaxPool", [first], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        if other_first:
            self.conv(read, (5, CHANNELS, 1, 1), "other")
        dw = self.scaled(read, (CHANNELS, 1, 3, 3), "depthwise", 1 / REACH, group=CHANNELS, pads=[1] * 4)
        self.conv(dw, (4, CHANNELS, 1, 1), "out")
        if not other_first:
            self.conv(read, (5, CHANNELS, 1, 1), "other")


def same(before, after):
    """Both graphs compute the same, up to the order of sums."""
    for each in IMAGES:
        pairs = zip(*(infer_image(open_session(g.model.SerializeToString()), each) for g in (before, after)))
        for expected, found in pairs:
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_concat_of_activations_is_divided_by_its_parts():
    before, after = Joined().divided()
    assert len(depthwise(after)) > 2 and sum(depthwise(after)) == CHANNELS
    assert not any(node.output[0] == "joined" for node in after.model.graph.node)
    same(before, after)


@pytest.mark.parametrize("others", ["of a part", "of all"])
def test_a_concat_that_something_else_reads_is_left_alone(others):
    _, after = Joined(others=others).divided("out", "other")
    assert depthwise(after) == [CHANNELS]


@pytest.mark.parametrize("other_first", [True, False])
def test_another_convolution_may_read_what_is_pooled(other_first):
    before, after = Pooled(other_first).divided("out", "other")
    assert len(depthwise(after)) == 3 and sum(depthwise(after)) == CHANNELS
    same(before, after)


def test_division_is_the_best_of_all():
    """Against every division of seven channels into up to three groups."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        reach, amplification = rng.lognormal(0, 2, 7), rng.lognormal(0, 2, 7)
        order = np.argsort(reach)
        for count in (1, 2, 3):
            groups, share = divided(reach, amplification, count)
            assert sorted(np.concatenate(groups)) == list(range(7)) and len(groups) == count
            noise = sum(reach[group].max() ** 2 * amplification[group].sum() for group in groups)
            assert share == pytest.approx(noise / 255**2 / 12)
            cuts = [(0, 7)] if count == 1 else []
            cuts += [(0, a, 7) for a in range(1, 7)] if count == 2 else []
            cuts += [(0, a, b, 7) for a in range(1, 7) for b in range(a + 1, 7)] if count == 3 else []
            every = [
                sum(reach[order[a:b]].max() ** 2 * amplification[order[a:b]].sum() for a, b in pairwise(cut))
                for cut in cuts
            ]
            assert noise == pytest.approx(min(every))
