"""The order of the images depends on nothing but the seed and the step; processes share them exactly."""

import pytest

from axial_deeplab.training.sample_stream import SampleStream, ValidationShare


def test_every_epoch_has_every_image_once_in_its_own_order() -> None:
    stream = SampleStream(10, batch_size=4, num_batches=5, seed=3)
    samples = [sample for batch in stream for sample in batch]
    assert len(samples) == 20
    first, second = samples[:10], samples[10:]
    assert {epoch for epoch, _ in first} == {0}
    assert {epoch for epoch, _ in second} == {1}
    assert sorted(i for _, i in first) == sorted(i for _, i in second) == list(range(10))
    assert [i for _, i in first] != [i for _, i in second]


def test_resumed_stream_goes_on() -> None:
    whole = list(SampleStream(7, batch_size=3, num_batches=9, seed=1))
    assert list(SampleStream(7, batch_size=3, num_batches=9, seed=1, start=4)) == whole[4:]
    assert len(SampleStream(7, batch_size=3, num_batches=9, seed=1, start=4)) == 9


def test_processes_share_the_batch_of_one_process() -> None:
    whole = list(SampleStream(7, batch_size=4, num_batches=5, seed=1))
    parts = [
        list(SampleStream(7, batch_size=2, num_batches=5, seed=1, rank=r, world_size=2)) for r in range(2)
    ]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_seed_changes_the_order() -> None:
    assert list(SampleStream(50, 5, 2, seed=0)) != list(SampleStream(50, 5, 2, seed=1))


def test_refuses_an_empty_data_set() -> None:
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        SampleStream(0, 1, 1, seed=0)


@pytest.mark.parametrize("num_samples", [1, 5, 8, 9])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_validation_has_every_image_once(num_samples: int, batch_size: int, world_size: int) -> None:
    shares = [
        list(ValidationShare(num_samples, batch_size, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1, "they wait for each other"
    assert len(shares[0]) == len(ValidationShare(num_samples, batch_size, world_size=world_size))
    indices = [index for share in shares for batch in share for index in batch]
    assert sorted(indices) == list(range(num_samples))
    assert all(len(batch) <= batch_size for share in shares for batch in share)
