import hashlib
import importlib.util
import socket

import numpy as np
import pytest
from atoll.engine.encoders import languages, texts
from atoll.engine.encoders.texts import DIMENSION, ENCODER, FILES, GAMMA, encode
from atoll.engine.errors import IntegrityError, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.specs import fit_rkme, mmd2

needs_model = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("sentence_transformers", texts.PACKAGE))), reason="the extra text"
)
needs_langid = pytest.mark.skipif(not importlib.util.find_spec("py3langid"), reason="the extra text")

TOPICS = {
    "medicine": """
        The patient was discharged after three days without complications.
        Blood pressure and heart rate were measured every hour.
        The surgeon removed the tumour from the left lung.
        She takes insulin twice a day for her diabetes.
        The vaccine protects children against measles.
        An X-ray showed a fracture of the right wrist.
        The nurse changed the bandage and gave him a painkiller.
        Antibiotics do not help against a viral infection.
        The trial compares the new drug with a placebo.
        He was admitted to hospital with chest pain and fever.
        A transplant of the kidney requires a matching donor.
        The doctor listened to her breathing and prescribed rest.
    """,
    "space": """
        The rocket lifted off and reached orbit eight minutes later.
        Astronauts repaired the telescope during a spacewalk.
        The probe sent back pictures of the rings of Saturn.
        A lunar lander touched down near the south pole of the Moon.
        The satellite circles the Earth every ninety minutes.
        Astronomers found a planet around a nearby star.
        The space station is visible before sunrise.
        NASA plans a mission to bring samples back from Mars.
        The comet will pass the Sun in the spring.
        Its solar panels failed to unfold after launch.
        The galaxy is two million light years away.
        The shuttle carried a crew of seven and a laboratory.
    """,
    "cooking": """
        Fry the onions in butter until they are golden.
        Knead the dough for ten minutes and let it rise.
        The soup needs a little more salt and pepper.
        Roast the chicken with lemon and garlic for an hour.
        Whisk the eggs with sugar until the mixture is pale.
        Serve the pasta with tomato sauce and fresh basil.
        Simmer the lentils in stock with carrots and celery.
        Melt the chocolate slowly over hot water.
        Marinate the fish in lime juice before grilling.
        Bake the cake in a preheated oven at 180 degrees.
        Peel the potatoes and boil them until soft.
        She sprinkled cinnamon over the apple pie.
    """,
    "football": """
        The striker scored twice in the second half.
        The goalkeeper saved a penalty in extra time.
        They lost the final after a penalty shoot-out.
        The referee showed him a red card for the foul.
        The coach changed the line-up before the match.
        Fans cheered as the team lifted the trophy.
        A header from the corner made it two nil.
        The club signed a midfielder from the Spanish league.
        The defender was injured and left the pitch.
        The season ends with a home game on Saturday.
        Their captain missed a free kick in the last minute.
        The team were promoted to the first division.
    """,
}
CORPUS = {topic: [line.strip() for line in lines.strip().splitlines()] for topic, lines in TOPICS.items()}


def test_the_encoder_is_pinned_without_being_installed():
    listing = "".join(f"{digest}  {name}\n" for name, digest in FILES.items())
    assert hashlib.sha256(listing.encode()).digest() == ENCODER.sha256
    island = Island("text", DIMENSION, GAMMA, encoder=ENCODER)
    assert island.id == "fa69d21afcb82ddadef4121cd94a7d5b0bc6830af76bfe0aee85f81d13991607"


@pytest.mark.parametrize("missing", ["sentence_transformers", texts.PACKAGE])
def test_without_the_extra_encode_says_what_to_install(monkeypatch, missing):
    hide(monkeypatch, missing)
    texts._model.cache_clear()
    with pytest.raises(SpecificationError, match=rf"{missing}.*pip install 'atoll\[text\]'"):
        encode(["a text"])


def test_without_the_extra_detect_says_what_to_install(monkeypatch):
    hide(monkeypatch, "py3langid")
    languages._identifier.cache_clear()
    with pytest.raises(SpecificationError, match=r"py3langid.*pip install 'atoll\[text\]'"):
        languages.detect(["a text"])


def hide(monkeypatch, missing):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name) or SPEC)


SPEC = importlib.util.find_spec("atoll.engine")  # some package that is there


@pytest.mark.parametrize("take", [encode, languages.detect])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("one text", "one str"),
        (b"bytes", "one bytes"),
        (iter(["a"]), "sequence of texts"),
        (["a", ""], "text 1 is empty"),
        (["a", " \n\t"], "text 1 is empty"),
        (["a", None], "text 1 is of type NoneType"),
        ([b"a"], "text 0 is of type bytes"),
        (["ok", "half a pair: \ud800"], "text 1 is not valid Unicode at character 13"),
        (["a" * 100_001], "text 0 has 100001 characters"),
        (["a"] * 1_000_001, "1000001 texts are more than 1000000"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 50 else "",
)
def test_what_is_no_text_is_refused_by_its_place(take, bad, message):
    with pytest.raises(SpecificationError, match=message):
        take(bad)


def test_a_changed_or_missing_model_file_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="cannot be read"):
        texts._verify(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"config\.json is not the file of the text encoder all-MiniLM-L6-v2"):
        texts._verify(tmp_path)


@pytest.fixture(scope="module")
def vectors():
    """All sentences encoded at once, by topic; whoever asks the network for anything fails."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, lambda *_: pytest.fail("the encoder asked the network"))
        patch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("the encoder asked the network"))
        texts._model.cache_clear()
        rows = iter(encode([line for lines in CORPUS.values() for line in lines]))
    return {topic: np.array([next(rows) for _ in lines]) for topic, lines in CORPUS.items()}


@needs_model
def test_vectors_are_unit_float32(vectors):
    rows = np.concatenate(list(vectors.values()))
    assert (rows.shape, rows.dtype) == ((48, DIMENSION), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@needs_model
def test_the_vectors_do_not_change_with_the_versions_of_the_libraries():
    (row,) = encode(["This is an example sentence"])
    np.testing.assert_allclose(row[:4], [6.7657e-02, 6.3496e-02, 4.8713e-02, 7.9305e-02], atol=1e-5)


@needs_model
def test_row_i_is_text_i_and_progress_is_told(vectors, monkeypatch):
    monkeypatch.setattr(texts, "BATCH", 3)
    lines, told = CORPUS["space"][::-1], []
    rows = encode(lines[:8], progress=lambda done, total: told.append((done, total)))
    np.testing.assert_allclose(rows, vectors["space"][::-1][:8], atol=1e-5)
    assert told == [(3, 8), (6, 8), (8, 8)]


@needs_model
def test_what_comes_after_256_tokens_does_not_count():
    long = "word " * 254
    first, second, third = encode([long, long + "volcano", "volcano " + long])
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert not np.allclose(first, third, atol=1e-3)


@needs_model
def test_no_texts_are_no_rows():
    assert encode([]).shape == (0, DIMENSION)


@needs_model
def test_the_halves_of_a_topic_find_each_other(vectors):
    """RKMEs of one half of each topic rank the other half of their own topic first."""

    def fitted(part):
        return {topic: fit_rkme(rows[part], size=6, gamma=GAMMA) for topic, rows in vectors.items()}

    market, users = fitted(slice(0, None, 2)), fitted(slice(1, None, 2))
    for topic, user in users.items():
        assert min(market, key=lambda other: mmd2(user, market[other])) == topic


GERMAN = [
    "Der Patient wurde nach drei Tagen entlassen.",
    "Das Wetter in den Bergen war heute wieder sehr schlecht.",
    "Sie kaufte auf dem Markt frisches Brot und Gemüse.",
]


@needs_langid
def test_languages_come_by_their_share_and_rare_ones_are_left_out():
    english = [line for lines in CORPUS.values() for line in lines]
    assert languages.detect(english) == ("en",)
    assert languages.detect(english[:2] + GERMAN) == ("de", "en")
    assert languages.detect(english + GERMAN[:2]) == ("en",)  # 4 % German
    assert languages.detect(GERMAN[:1] + english[:1]) == ("de", "en")  # a tie: by code


@needs_langid
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("zh", "北京是中国的首都和中国的政治和文化中心。"),
        ("ja", "東京は日本の首都で、世界最大の都市の一つです。"),
        ("ru", "Сегодня утром в город приехали новые врачи."),
        ("fr", "Le patient est sorti de l'hôpital après trois jours."),
        ("ar", "غادر المريض المستشفى بعد ثلاثة أيام من العلاج."),
        ("pl", "Pacjent został wypisany ze szpitala po trzech dniach."),
    ],
)
def test_languages_are_iso_639_1(code, text):
    assert languages.detect([text]) == (code,)


@needs_langid
def test_what_is_in_no_language_has_none():
    assert languages.detect(["12345 !!!", "ok", "?"]) == ()
    assert languages.detect([]) == ()


@needs_langid
def test_a_large_collection_is_sampled_evenly_and_always_alike(monkeypatch):
    monkeypatch.setattr(languages, "SAMPLE", 10)
    many = CORPUS["space"] * 50 + GERMAN * 100
    assert languages.detect(many) == languages.detect(many) == ("en", "de")
