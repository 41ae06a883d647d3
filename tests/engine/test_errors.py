import importlib
import pkgutil

import atoll
from atoll.engine.errors import AtollError
from atoll.node.errors import OUTCOMES


def family(cls):
    return {cls}.union(*(family(child) for child in cls.__subclasses__()))


def everything():
    for module in pkgutil.walk_packages(atoll.__path__, "atoll."):
        if module.name.split(".")[1] in ("engine", "protocol", "node") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {cls for cls in family(AtollError) if cls.__module__.startswith("atoll.")}


def test_every_error_code_has_an_outcome_and_every_outcome_a_class():
    codes = {cls.__dict__["code"]: cls for cls in everything() if "code" in cls.__dict__}
    assert {code: cls for code, cls in codes.items() if code not in OUTCOMES} == {}
    assert set(OUTCOMES) - set(codes) == set()


def test_no_two_classes_share_a_code():
    own = [cls.__dict__["code"] for cls in everything() if "code" in cls.__dict__]
    assert len(own) == len(set(own))
