from atoll.node.gauges import Weight


def test_a_folder_is_added_up_anew_once_its_size_is_old(tmp_path):
    weight = Weight(tmp_path, 60.0)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_bytes(b"123")
    assert weight.bytes(1000.0) == 3
    (tmp_path / "two").write_bytes(b"45")
    assert [weight.bytes(1059.0), weight.bytes(1060.0), weight.bytes(1061.0)] == [3, 5, 5]
