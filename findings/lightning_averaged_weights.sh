#!/usr/bin/env bash
# lightning 2.6.6: with EMAWeightAveraging a ModelCheckpoint of save_weights_only=True holds the weights that are not
# averaged.
#
# Seen: a small network, six epochs, EMAWeightAveraging(decay=0.9). The checkpoint that is the best by "loss" comes with
# the loss of the averaged weights, as validation runs with them. With save_weights_only=False the weights in its file
# have that loss. With save_weights_only=True they have another one, 0.0475 for 0.0311 here: they are the last ones of
# the training, for the callback exchanges the weights of a file in a hook that is not called for such a file. There is
# no message, and nothing else in the file has the averaged weights.
#
# Remedy: save_weights_only=False, or the weights of the module after `fit`, which are the averaged ones of the last
# step.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target packages \
    filelock==4.3.1 fsspec==2026.9.0 jinja2==3.1.6 lightning-utilities==0.15.3 lightning==2.6.6 markupsafe==3.0.4 \
    mpmath==1.3.0 networkx==3.6.1 numpy==2.2.6 packaging==26.4 pytorch-lightning==2.6.6 pyyaml==6.0.4 sympy==1.14.0 \
    torch==2.13.0 torchmetrics==1.9.0 tqdm==4.70.1 typing-extensions==4.16.0
PYTHONPATH=packages python3 - <<'PYTHON'
import logging
import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

warnings.simplefilter("ignore")
for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)
torch.set_num_threads(1)
inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
targets = inputs @ torch.tensor([[1.0], [-2.0], [3.0], [0.5]])


class Network(LightningModule):
    """A linear layer, trained in steps so large that its weights swing around their average."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def loss(self, batch):
        return (self.layer(batch[0]) - batch[1]).square().mean()

    def training_step(self, batch, index):
        return self.loss([batch[0], batch[1] + torch.randn_like(batch[1])])

    def validation_step(self, batch, index):
        self.log("loss", self.loss(batch), batch_size=len(batch[0]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def losses(weights_only):
    """Return the loss that chose the best checkpoint, and that of the weights in its file."""
    torch.manual_seed(0)
    best = ModelCheckpoint(dirpath=f"runs-{weights_only}", monitor="loss", save_weights_only=weights_only)
    trainer = Trainer(
        max_epochs=6, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[EMAWeightAveraging(decay=0.9), best],
    )
    data = torch.utils.data.TensorDataset(inputs, targets)
    trainer.fit(Network(), torch.utils.data.DataLoader(data, 8), torch.utils.data.DataLoader(data, 64))
    network = Network()
    network.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    return round(float(best.best_model_score), 4), round(float(network.loss([inputs, targets])), 4)


found = {weights_only: losses(weights_only) for weights_only in (False, True)}
print("save_weights_only: loss that chose the file, loss of its weights:", found)
assert found[False][0] == found[False][1] == found[True][0]
assert found[True][1] > 1.3 * found[True][0]
PYTHON
