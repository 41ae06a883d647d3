"""What can go wrong in the engine. Every error carries a stable ``code``; callers branch on it, never on text.

AtollError                    internal
├── EncodingError             encoding.invalid      bytes that are not what they should be
├── TableError                table.invalid         rows that cannot be read as numbers
├── IslandError               island.invalid        an island definition that is malformed
│   └── FeatureMismatch       island.features       rows and island do not speak of the same features
├── SpecificationError        spec.invalid
│   ├── NotFinite             spec.not_finite       NaN or infinity in data or specification
│   ├── DimensionMismatch     spec.dimension        points, weights and island disagree in shape
│   ├── PrivacyRefusal        spec.privacy          too few rows to publish a specification of
│   └── QueryTooNarrow        query.too_narrow      a probe, not a distribution: not answered about what is undisclosed
├── PackageError              package.invalid
├── IntegrityError            integrity.mismatch    a hash or a signed promise does not hold
└── ModelError                model.failed          the model ran and its answer is not usable
    ├── ModelRefused          model.refused         a format or construct that is not run
    ├── SandboxLimit          sandbox.limit         time, memory or size limit of the sandbox reached
    └── SandboxBusy           sandbox.busy          too many calls wait for a model; try again
"""

from __future__ import annotations


class AtollError(Exception):
    """Base of every error Atoll raises on purpose: what was wrong, where, and in ``hint`` what to do."""

    code = "internal"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class EncodingError(AtollError):
    code = "encoding.invalid"


class TableError(AtollError):
    code = "table.invalid"


class IslandError(AtollError):
    code = "island.invalid"


class FeatureMismatch(IslandError):
    code = "island.features"


class SpecificationError(AtollError):
    code = "spec.invalid"


class NotFinite(SpecificationError):
    code = "spec.not_finite"


class DimensionMismatch(SpecificationError):
    code = "spec.dimension"


class PrivacyRefusal(SpecificationError):
    code = "spec.privacy"


class QueryTooNarrow(SpecificationError):
    code = "query.too_narrow"


class PackageError(AtollError):
    code = "package.invalid"


class IntegrityError(AtollError):
    code = "integrity.mismatch"


class ModelError(AtollError):
    code = "model.failed"


class ModelRefused(ModelError):
    code = "model.refused"


class SandboxLimit(ModelError):
    code = "sandbox.limit"


class SandboxBusy(ModelError):
    code = "sandbox.busy"
