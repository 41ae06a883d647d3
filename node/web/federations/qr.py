"""A line of text as a QR code: an inline SVG, dark on white in either colour scheme, as phones read it."""

from __future__ import annotations

import io

import segno
from markupsafe import Markup

MODULES = 117  # a side; of more, phones make nothing on a screen (measured: 8 addresses in an invite take 113)
QUIET = 4  # modules of white around


def qr(text: str, title: str) -> Markup | None:
    """None if the text is too long for one that phones read."""
    try:
        code = segno.make(text, error="l", micro=False, boost_error=False)
    except segno.DataOverflowError:
        return None
    if code.symbol_size(border=0)[0] > MODULES:
        return None
    drawn = io.BytesIO()
    code.save(
        drawn, kind="svg", xmldecl=False, svgclass="qr", lineclass=None, omitsize=True, border=QUIET, dark="#000",
        light="#fff", title=title, nl=False,
    )  # fmt: skip
    return Markup(drawn.getvalue().decode().replace("<svg ", '<svg role="img" ', 1))
