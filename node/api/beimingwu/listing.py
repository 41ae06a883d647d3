"""Where what was uploaded is listed, for whom, and which changes of words leave the rest as it is. No effects."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from atoll.engine.beimingwu.importing import CLASSIFICATION, MAX_CLASSES
from atoll.engine.beimingwu.semantic import Words
from atoll.engine.packages import Manifest
from atoll.engine.packages.runnable import why_not
from atoll.node.config import BeimingwuSection
from atoll.node.errors import RequestInvalid
from atoll.node.store.federations import Federation
from atoll.protocol.listings import Offers

HINT = "its administrator sets beimingwu.federation in atoll.toml, to the id of one"
CUT = "…"


def federation_of(federations: Sequence[Federation], configured: str) -> bytes:
    """The federation that is ``configured``, by id or name; without it the only private one, else the only one.
    RequestInvalid where that is none, or not one."""
    if configured:
        found = [each for each in federations if configured in (each.id.hex(), each.charter.name)]
        if len(found) != 1:
            what = "several federations" if found else "no federation"
            raise RequestInvalid(f"this node is in {what} {configured[:80]!r}, where uploads are listed", hint=HINT)
        return found[0].id
    private = [each for each in federations if not each.charter.open]
    found = private if len(private) == 1 else list(federations)
    if not found:
        raise RequestInvalid("this node is in no federation yet, so nothing can be listed", hint="create or join one")
    if len(found) > 1:
        raise RequestInvalid("this node is in several federations and does not know where to list uploads", hint=HINT)
    return found[0].id


def offers_of(section: BeimingwuSection, manifest: Manifest) -> Offers:
    """Beside matching what is configured, but no predictions with what is not run here."""
    offers = Offers(disclose=section.disclose, predict=section.predict, download=section.download)
    return msgspec.structs.replace(offers, predict="nobody") if why_not(manifest) else offers


def require_same_shape(words: Words, manifest: Manifest) -> None:
    """RequestInvalid where words speak of other inputs or outputs than the model has: these come with a file."""
    signature, inputs, outputs = manifest.signature, words.inputs, words.outputs
    if inputs not in (None, signature.inputs) or words.input_names not in ((), manifest.columns):
        raise _needs_file("Input")
    classes = manifest.class_names
    if outputs not in (None, signature.outputs):
        raise _needs_file("Output")
    if classes and not all(map(_names, words.output_names, classes)):
        raise _needs_file("Output")


def require_listable(words: Words) -> None:
    """RequestInvalid for more classes than a listing names, before anything is taken in."""
    if words.spec.task == CLASSIFICATION and (words.outputs or 0) > MAX_CLASSES:
        raise RequestInvalid(
            f"it has {words.outputs} classes, and of more than {MAX_CLASSES} nothing can be listed",
            hint="`atoll beimingwu import --add` takes it into the dock, for its own users",
        )


def _names(name: str, class_name: str) -> bool:
    """Whether a class that may have been cut short is called so; unnamed ones are called anything."""
    return not name or name.startswith(class_name.removesuffix(CUT))


def _needs_file(key: str) -> RequestInvalid:
    return RequestInvalid(
        f"{key} is not that of the learnware as it is", hint="send its zip too, or leave the dimensions as they are"
    )
