from collections.abc import Mapping

from atoll.engine.matching import RkmeIndex, SketchIndex, nearest_in_stages
from atoll.engine.specs import sketch


class Shelf(Mapping):
    """RKMEs that are loaded one by one; remembers which."""

    def __init__(self, rkmes):
        self._rkmes, self.loaded = rkmes, set()

    def __getitem__(self, id_):
        self.loaded.add(id_)
        return self._rkmes[id_]

    def __contains__(self, id_):
        return id_ in self._rkmes

    def __iter__(self):
        return iter(self._rkmes)

    def __len__(self):
        return len(self._rkmes)


def test_the_two_stages_find_what_the_exact_search_finds(draw_rkmes, plane):
    rkmes = draw_rkmes(21, 1000)
    sketches = SketchIndex({id_: sketch(rkme, plane) for id_, rkme in rkmes.items()})
    exact, shelf = RkmeIndex(rkmes), Shelf(rkmes)
    for query in draw_rkmes(22, 10).values():
        ids, found = exact.nearest(query)
        for source in (exact, shelf):
            staged = nearest_in_stages(query, sketch(query, plane), sketches, source, shortlist=100)
            assert staged[0] == ids
            assert (staged[1] == found).all()
    assert len(shelf.loaded) < 1000


def test_what_has_a_sketch_but_no_rkme_is_left_out(draw_rkmes, plane):
    rkmes = draw_rkmes(23, 30)
    sketches = SketchIndex({id_: sketch(rkme, plane) for id_, rkme in rkmes.items()})
    query = rkmes["l00000"]
    del rkmes["l00000"]
    for source in (RkmeIndex(rkmes), rkmes):
        ids, _ = nearest_in_stages(query, sketch(query, plane), sketches, source, 30)
        assert ids == RkmeIndex(rkmes).nearest(query, 30)[0]


def test_nothing_is_found_in_nothing(draw_rkmes, plane):
    query = draw_rkmes(24, 1)["l00000"]
    assert nearest_in_stages(query, sketch(query, plane), SketchIndex(), {})[0] == []
