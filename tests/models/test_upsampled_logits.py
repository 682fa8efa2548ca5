"""Logits read at a low resolution against PyTorch's resized tensor."""

import pytest
import torch

from axial_deeplab.models.upsampled_logits import UpsampledLogits
from axial_deeplab.post_processing import PostProcessing

SIZES = {  # classes, low resolution, padded size, size of the image
    "stride_4": (133, (41, 33), (161, 129), (160, 115)),
    "one_class": (1, (5, 9), (17, 33), (17, 33)),
    "no_resize": (4, (7, 6), (7, 6), (5, 6)),
    "one_row": (3, (1, 9), (1, 33), (1, 30)),
    "one_pixel_grows": (3, (1, 1), (5, 5), (5, 4)),
    "any_ratio": (19, (23, 50), (101, 307), (90, 300)),
    "smaller": (5, (40, 40), (13, 7), (13, 7)),
}


def example(name, dtype=torch.float32):
    num_classes, low, padded, size = SIZES[name]
    generator = torch.Generator().manual_seed(0)
    maps = 6 * torch.randn(2, num_classes, *low, generator=generator)
    return UpsampledLogits(maps.to(dtype), padded, size)


@pytest.mark.parametrize("name", SIZES)
def test_equals_the_resized_tensor(name):
    logits = example(name)
    tensor = logits.tensor()
    assert logits.shape == tensor.shape
    assert (logits.ndim, len(logits)) == (4, 2)
    for one, full in zip([logits[0], logits[1]], tensor, strict=True):
        index, log_partition = one.classify()
        assert torch.equal(index, full.argmax(dim=0))
        torch.testing.assert_close(log_partition, full.logsumexp(dim=0), rtol=0, atol=1e-5)
        torch.testing.assert_close(one.at(index), full.gather(0, index[None])[0], rtol=0, atol=1e-5)
        assert torch.equal(one.tensor(), full)


def test_any_order_in_memory():
    logits = example("stride_4")
    other = UpsampledLogits(
        logits.maps.contiguous(memory_format=torch.channels_last), logits.padded_size, logits.size
    )
    for ours, expected in zip(other[1].classify(), logits[1].classify(), strict=True):
        assert torch.equal(ours, expected)


def test_some_classes():
    logits = example("any_ratio")[0]
    index, log_partition = logits.classify([3, 11, 4])
    full = logits.tensor()[[3, 11, 4]]
    assert torch.equal(index, full.argmax(dim=0))
    torch.testing.assert_close(log_partition, full.logsumexp(dim=0), rtol=0, atol=1e-5)


def test_first_of_equal_classes():
    logits = UpsampledLogits(torch.zeros(3, 4, 4), (13, 13), (13, 13))
    index, log_partition = logits.classify()
    assert not index.any()
    torch.testing.assert_close(log_partition, torch.full((13, 13), 3.0).log())


def test_far_logits_do_not_overflow():
    maps = torch.tensor([1e4, -1e4, 88.0]).view(3, 1, 1).expand(3, 2, 2)
    assert torch.equal(UpsampledLogits(maps, (5, 5), (5, 5)).classify()[1], torch.full((5, 5), 1e4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(value):
    maps = torch.zeros(1, 2, 5, 5)
    maps[0, 1, 2, 3] = value
    outputs = {
        "semantic_logits": UpsampledLogits(maps, (17, 17), (17, 17)),
        "center_heatmap": torch.zeros(1, 1, 17, 17),
        "offsets": torch.zeros(1, 2, 17, 17),
    }
    with pytest.raises(ValueError, match="semantic_logits must be finite"):
        PostProcessing([1])(outputs)


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="maps must be float32 on the CPU, got torch"):
        example("one_class", torch.float64)


@pytest.mark.parametrize(
    "knobs",
    [{}, {"thing_threshold": 0.4}, {"fill_void": True}, {"grouping": "watershed"}, {"thing_area": 30}],
    ids=str,
)
def test_segments_are_those_of_the_tensor(knobs):
    generator = torch.Generator().manual_seed(1)
    logits = example("any_ratio")
    outputs = {
        "semantic_logits": logits,
        "center_heatmap": torch.rand(2, 1, 90, 300, generator=generator),
        "offsets": 9 * torch.randn(2, 2, 90, 300, generator=generator),
    }
    post_processing = PostProcessing(range(8, 19), stuff_area=400, **knobs)
    expected = post_processing({**outputs, "semantic_logits": logits.tensor()})
    for ours, reference in zip(post_processing(outputs), expected, strict=True):
        assert torch.equal(ours.panoptic, reference.panoptic)
        assert torch.equal(ours.semantic, reference.semantic)
        assert len(ours.segments) > 10
        for segment, other in zip(ours.segments, reference.segments, strict=True):
            assert segment.score == pytest.approx(other.score, abs=1e-5)
            assert (segment.id, segment.area, segment.bbox) == (other.id, other.area, other.bbox)
