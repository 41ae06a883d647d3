"""Does MMD^2 under the image encoder rank models by their true loss? python images.py [--seeds 3] [--nngp]

40 models of class mixtures, most settings with shifted images (inverted, turned, noisy, dim, blurred, tinted), and
24 users without labels. Beside it: PCA of raw pixels, fitted on all parties' pooled images (which no federation can)
or on other images (which it can), and with --nngp (a minute a setting) the published random convolutions, unreduced.
Fashion-MNIST from Debian's package dataset-fashion-mnist, scikit-learn's digits; downloads nothing.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
from atoll.engine.encoders.images import GAMMA, encode
from atoll.engine.specs import Rkme, fit_rkme, inner
from numpy.typing import NDArray
from reference import Row, cpu, package
from scipy.ndimage import uniform_filter, zoom
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

FASHION = Path("/usr/share/datasets/fashion-mnist")
SHIFTS = ("none", "none", "none", "none", "none", "inverted", "turned", "noisy", "dim", "blurred", "flipped", "tinted")
LEARNWARES, USERS, POINTS = 40, 24, 50
PATIENCE = 240.0  # seconds for the package's image specification
Images = NDArray[np.uint8]
Data = tuple[Images, NDArray[np.int64]]  # grey (n, 28, 28), classes 0 to 9
Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Party:
    """An owner or a user: images (n, H, W, 3) and their classes."""

    images: Images
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """Owners, users, images of neither, and ``losses`` (users, owners): error of each owner's model for each user."""

    name: str
    owners: Sequence[Party]
    users: Sequence[Party]
    others: Images
    losses: NDArray[np.float64]


def fashion() -> Data:
    """60 000 articles of clothing."""
    images = np.frombuffer(gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    classes = np.frombuffer(gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28), classes.astype(np.int64)


def digits() -> Data:
    """1797 handwritten digits of 8 x 8 pixels, enlarged to 28 x 28."""
    images, classes = load_digits(return_X_y=True)
    large = zoom(images.reshape(-1, 8, 8) / 16.0, (1, 3.5, 3.5), order=1, grid_mode=True, mode="nearest")
    return (large * 255).astype(np.uint8), classes.astype(np.int64)


def shifted(images: Images, shift: str, random: np.random.Generator) -> Images:
    """Grey images (n, H, W) as one party's camera sees them, (n, H, W, 3)."""
    grey = images / 255.0
    changes: dict[str, Callable[[], NDArray[np.float64]]] = {
        "inverted": lambda: 1.0 - grey,
        "turned": lambda: np.rot90(grey, axes=(1, 2)),
        "noisy": lambda: grey + random.normal(0, 0.2, grey.shape),
        "dim": lambda: 0.5 * grey + 0.1,
        "blurred": lambda: uniform_filter(grey, (0, 4, 4)),
        "flipped": lambda: grey[:, ::-1],
    }
    seen = changes[shift]() if shift in changes else grey
    tint = random.uniform(0.4, 1.0, 3) if shift == "tinted" else np.ones(3)
    return np.asarray(np.clip(seen[..., None] * tint, 0, 1) * 255, dtype=np.uint8)


def party(pool: Data, n: int, shift: str, random: np.random.Generator) -> Party:
    """``n`` images, mostly of two to five classes in uneven shares."""
    images, classes = pool
    shares = np.full(10, 0.005)
    favourites = random.choice(10, random.integers(2, 6), replace=False)
    shares[favourites] += 0.95 * random.dirichlet(np.full(len(favourites), 1.5))
    weights = (shares / np.bincount(classes, minlength=10))[classes]
    rows = random.choice(len(classes), n, p=weights / weights.sum())
    return Party(shifted(images[rows], shift, random), classes[rows])


def pixels(images: Images) -> NDArray[np.float64]:
    """Every second pixel of every second row, in [0, 1]: what the models see."""
    return np.asarray(images[:, ::2, ::2].reshape(len(images), -1) / 255.0)


def build(name: str, data: Data, others: Images, shifts: Sequence[str], seed: int) -> Setting:
    """Owners and users draw from different halves of the data."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(data[0]))
    first, second = ((data[0][half], data[1][half]) for half in np.array_split(order, 2))
    owners = [party(first, 400, shifts[place % len(shifts)], random) for place in range(LEARNWARES)]
    users = [party(second, 300, shifts[5 * place % len(shifts)], random) for place in range(USERS)]
    shown = np.concatenate([shifted(others[place::60], shift, random) for place, shift in enumerate(SHIFTS)])
    kinds = (
        lambda: LogisticRegression(C=0.1, max_iter=60),
        lambda: RandomForestClassifier(60, random_state=0),
        lambda: MLPClassifier((48,), max_iter=25, random_state=0),
    )
    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)  # some models are worse than others
        models = [kinds[place % 3]().fit(pixels(each.images), each.classes) for place, each in enumerate(owners)]
    losses = [[np.mean(model.predict(pixels(each.images)) != each.classes) for model in models] for each in users]
    return Setting(name, owners, users, shown, np.array(losses))


def by_encoder(setting: Setting) -> Distances:
    """MMD^2 (users, owners) between RKMEs under this project's encoder."""
    return between([encode(each.images) for each in (*setting.users, *setting.owners)], GAMMA, len(setting.users))


def by_pooled_pca(setting: Setting) -> Distances:
    """The same under 32 standardised principal components of everybody's pixels, gamma = 1/d."""
    return by_pca(setting, np.concatenate([each.images for each in (*setting.users, *setting.owners)])[::4])


def by_other_pca(setting: Setting) -> Distances:
    """The same, with the components of other images: digits for clothing, clothing for digits."""
    return by_pca(setting, setting.others)


def by_pca(setting: Setting, images: Images) -> Distances:
    pca = PCA(32, whiten=True, svd_solver="randomized", random_state=0).fit(flat(images))
    rows = [pca.transform(flat(each.images)) for each in (*setting.users, *setting.owners)]
    return between(rows, 1 / 32, len(setting.users))


def flat(images: Images) -> NDArray[np.float32]:
    return np.asarray(images.reshape(len(images), -1) / np.float32(255))


def between(rows: Sequence[NDArray[np.floating]], gamma: float, users: int) -> Distances:
    rkmes = [fit_rkme(each, POINTS, gamma) for each in rows]
    return np.array([[mmd2_of(user, owner) for owner in rkmes[users:]] for user in rkmes[:users]])


def mmd2_of(user: Rkme, owner: Rkme) -> float:
    return user.norm2 - 2.0 * inner(user, owner) + owner.norm2


def by_nngp(setting: Setting, sample: int = 100) -> Distances:
    """MMD^2 (unbiased) in the features of a random network: three of convolution to 256 channels, ReLU, 2 x 2 mean."""
    import torch
    from torch.nn import functional as nn

    random = torch.Generator().manual_seed(0)
    layers = [torch.randn(256, c, 3, 3, generator=random) * (2 / (9 * c)) ** 0.5 for c in (3, 256, 256)]

    def features(images: Images) -> torch.Tensor:
        seen = torch.from_numpy(images[:sample]).permute(0, 3, 1, 2).float() / 255
        seen = nn.interpolate(seen, (32, 32), mode="bilinear", antialias=True, align_corners=False)
        seen = (seen - 0.5) / 0.25
        for layer in layers:
            seen = nn.avg_pool2d(torch.relu(nn.conv2d(seen, layer, padding=1)), 2)
        return seen.flatten(1).double()

    with torch.inference_mode():
        seen = [features(each.images) for each in (*setting.users, *setting.owners)]
        means = torch.stack([each.mean(0) for each in seen]).numpy()
        surplus = np.array([float(each.var(0).sum()) / len(each) for each in seen])
    users = len(setting.users)
    squares = ((means[:users, None] - means[None, users:]) ** 2).sum(2)
    return np.asarray(squares - surplus[:users, None] - surplus[None, users:])


def ranking(distances: Distances, losses: NDArray[np.float64]) -> tuple[float, float, float]:
    """Means over users: Spearman of MMD^2 with the loss, loss of the first, mean loss of the first five."""
    rho = [spearmanr(row, loss).statistic for row, loss in zip(distances, losses, strict=True)]
    ranked = np.take_along_axis(losses, distances.argsort(1), 1)
    return float(np.mean(rho)), float(ranked[:, 0].mean()), float(ranked[:, :5].mean())


def settings(seed: int) -> list[Setting]:
    if not FASHION.is_dir():
        return [build("digits, shifted", digits(), digits()[0], SHIFTS, seed)]
    clothing, figures = fashion(), digits()
    return [
        build("fashion, shifted", clothing, figures[0], SHIFTS, seed),
        build("fashion, not shifted", clothing, figures[0], ("none",), seed),
        build("digits, shifted", figures, clothing[0], SHIFTS, seed),
    ]


def specification() -> list[Row]:
    """Time of a specification of 1000 images 3 x 32 x 32, beside the package's."""
    small = shifted(digits()[0][:1000], "tinted", np.random.default_rng(0))
    images = np.pad(small, ((0, 0), (2, 2), (2, 2), (0, 0)))  # to the 32 x 32 that the package takes
    encoding, _ = cpu(lambda: encode(images))
    seconds, _ = cpu(lambda: fit_rkme(encode(images), POINTS, GAMMA))
    quality: dict[str, object] = {"encoding, s": encoding}
    theirs: float | None = None
    try:
        found = package(None, "image", at_most=PATIENCE, images=np.moveaxis(images, 3, 1) / np.float32(255), repeats=1)
        theirs = None if found is None else float(found["seconds"][0])
    except subprocess.TimeoutExpired:
        theirs, quality["package"] = PATIENCE, "stopped unfinished"
    return [Row("image specification, n=1000, 3 x 32 x 32", seconds, theirs, quality)]


def main(seeds: int, nngp: bool) -> None:
    ways = {"this encoder": by_encoder, "pooled PCA": by_pooled_pca, "PCA of others": by_other_pca}
    if nngp:
        ways["NNGP"] = by_nngp
    if not FASHION.is_dir():
        print(f"{FASHION} is not there (apt install dataset-fashion-mnist): digits only, no images of others")
        del ways["PCA of others"]
    print(f"means of {seeds} seeds")
    print(f"{'setting':22} {'ranked by':14} {'Spearman':>8} {'top-1':>7} {'top 5':>7} {'best':>7}")
    drawn = [settings(seed) for seed in range(seeds)]
    for same in zip(*drawn, strict=True):
        best = np.mean([each.losses.min(1).mean() for each in same])
        for name, way in ways.items():
            rho, first, five = np.mean([ranking(way(each), each.losses) for each in same], axis=0)
            print(f"{same[0].name:22} {name:14} {rho:8.3f} {first:7.3f} {five:7.3f} {best:7.3f}", flush=True)
    for row in specification():
        print(row)


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--seeds") + 1]) if "--seeds" in sys.argv else 1, "--nngp" in sys.argv)
