"""The rows are networks that differ as they say, at the M-Adds that the rule gives them."""

import pytest
import torch

from axial_deeplab.config.parse import read_config
from axial_deeplab.experiments.reproduction import equal_madds
from axial_deeplab.experiments.reproduction.networks import (
    BASE,
    NETWORKS,
    PS_ATTENTION,
    RESNET,
    SASA,
    SPANS,
    TABLES,
    TERMS,
)
from axial_deeplab.experiments.reproduction.schedule import Job, jobs
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.registry import create_model

SIZE = (128, 192)


def test_every_row_of_every_table_is_a_network_of_its_own() -> None:
    rows = {key for table in TABLES.values() for key in table.networks}
    assert rows == set(NETWORKS)
    assert all(network.key == key for key, network in NETWORKS.items())
    settings = {(n.name, n.span, tuple(sorted(n.options.items()))) for n in NETWORKS.values()}
    assert len(settings) == len(NETWORKS)


def test_networks_have_equal_madds_and_the_same_decoders() -> None:
    target = equal_madds.madds(BASE, {}, 18, SIZE)
    with torch.device("meta"):
        base = create_model(BASE.name, num_classes=18)
    for network in (RESNET, SASA):
        options = equal_madds.model_arguments(network, 18, SIZE)
        assert equal_madds.madds(network, options, 18, SIZE) == pytest.approx(target, rel=0.03)
        with torch.device("meta"):
            model = create_model(network.name, num_classes=18, span=network.span, **options)
        for head in ("semantic_head", "center_head", "offset_head"):
            shapes = [p.shape for p in getattr(model, head).parameters()]
            assert shapes == [p.shape for p in getattr(base, head).parameters()]
    assert equal_madds.model_arguments(SPANS[5], 18, SIZE) == {}


def test_widths_come_first_and_the_stem_fills_up() -> None:
    # Nearest with the stem's 16 channels is a width of 8: 656 of 690; 17 channels give 673 and are enough.
    assert equal_madds.equal_widths(lambda width, stem: 6 * width**2 + 17 * stem, 690, 4) == (8, 17)
    assert equal_madds.equal_widths(lambda width, stem: 6 * width**2 + 17 * stem, 640, 4) == (8, 16)
    assert equal_madds.equal_widths(lambda width, stem: 6 * width**2 + 17 * stem, 625, 4) == (8, 15)
    with pytest.raises(ValueError, match=r"target must be M-Adds that a stem can reach within 3%, got 550"):
        equal_madds.equal_widths(lambda width, stem: 100 * width + 300 * stem, 550, 4)


def test_terms_are_switched_off_in_every_layer() -> None:
    for switched_off, network in TERMS.items():
        with torch.device("meta"):
            model = create_model(network.name, num_classes=2, depths=(1, 1, 1, 1), **network.options)
        layers = [layer for layer in model.modules() if isinstance(layer, AxialAttention)]
        assert len(layers) == 8
        for layer in layers:
            tables = {"q": layer.rel_q, "k": layer.rel_k, "v": layer.rel_v}
            assert {name for name, table in tables.items() if table is None} == (
                set("qkv") if switched_off == "all" else {switched_off}
            )


def test_all_of_a_seed_comes_before_the_next_and_squares_last() -> None:
    wanted = jobs(list(TABLES), [0, 1])
    assert len(wanted) == len({str(job) for job in wanted}) == 2 * (18 + 3)
    assert [job.seed for job in wanted] == sorted(job.seed for job in wanted)
    assert wanted[0] == Job(BASE, 0)
    assert [job.network for job in wanted if job.seed == 0 and not job.stress][-2:] == [PS_ATTENTION, SASA]
    assert jobs(["spans"], [3])[0] == Job(BASE, 3)


def test_the_recipe_trains_at_the_size_at_which_madds_are_counted() -> None:
    recipe = read_config("reproduction/scenes")
    assert recipe.augmentation.crop_size == (SIZE[0] + 1, SIZE[1] + 1)
