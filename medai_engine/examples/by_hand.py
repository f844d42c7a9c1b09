"""A diagnosis network as users of PyTorch write it: own Module, functional calls, own loop.

Three padded convolutions on 16 x 16 x 3 images, ReLU and pooling in between, 2 x 2 x 128 before the
dense layer (system 8). Channels come last here; everything else reads as there.

    python -m medai_engine.examples.by_hand
"""

from __future__ import annotations

import numpy as np

import medai_engine as me
from medai_engine import functional as F
from medai_engine import nn, optim
from medai_engine.data import ArrayDataset, DataLoader, datasets, split_by_group
from medai_engine.data.transforms import Resize
from medai_engine.training.metrics import roc_auc


class Net(nn.Module):
    """Three convolutions and a dense layer."""

    def __init__(self) -> None:
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1)
        self.fc = nn.Linear(2 * 2 * 128, 2)

    def forward(self, x: me.Tensor) -> me.Tensor:
        """Return logits (N, 2) for images (N, 16, 16, 3)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.max_pool2d(F.relu(self.conv3(x)), 2)
        return self.fc(x.reshape((x.shape[0], -1)))


def images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return patches of made-up slices, the size of a nodule's neighbourhood, in three colours."""
    x, y, patients = datasets.slices(n, size=32, seed=seed)
    small = Resize(16)
    colour = np.stack([small(image) for image in x]).repeat(3, axis=-1)
    return (colour - colour.mean()) / colour.std(), y, patients


def main(n: int = 2000, epochs: int = 12, seed: int = 0) -> float:
    """Train and return the area under the ROC curve on held-out patients."""
    me.manual_seed(seed)
    x, y, patients = images(n, seed)
    train, test = split_by_group(patients, 0.25, seed)
    loader = DataLoader(ArrayDataset(x[train], y[train]), batch_size=32, shuffle=True, seed=seed)
    model = Net()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    auc = 0.5
    for epoch in range(epochs):
        model.train()
        for images_, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images_), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        with me.no_grad():
            risk = F.softmax(model(me.asarray(x[test])))[:, 1]
        auc = roc_auc(y[test], risk)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, held-out AUC {auc:.3f}")
    return auc


if __name__ == "__main__":
    main()
