"""Running models: in a sandbox of their own, behind frames, within limits. Importing this loads no runtime."""

from atoll.engine.runtime.ladder import Rung, rung
from atoll.engine.runtime.pool import ModelPool
from atoll.engine.runtime.process import ModelProcess
from atoll.engine.runtime.sandbox import Sandbox
from atoll.engine.runtime.signature import Limits, Signature

__all__ = ["Limits", "ModelPool", "ModelProcess", "Rung", "Sandbox", "Signature", "rung"]
