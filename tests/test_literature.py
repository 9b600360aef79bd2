"""Published figures: fractions, of sets that we know, with protocols to compare."""

import pytest

from irstd_jax import literature


def test_every_row_is_of_every_set_and_a_fraction():
    count = 0
    for source, table in literature.TABLES.items():
        assert source in literature.SOURCES
        for system, row in table.items():
            assert len(row) == len(literature.SETS), system
            for name in literature.SETS:
                for figure in literature.figures(system, name):
                    count += 1
                    assert 0 < figure.IoU < 1 and 0 < figure.Fa < 0.1
                    assert figure.Pd is None or 0 < figure.Pd <= 1
    assert count > 60


def test_a_figure_in_our_units():
    found = {f.source: f for f in literature.figures("irstd_diff", "nuaa_sirst")}
    assert found.keys() == {"irstd_diff"}
    iou, pd, fa = found["irstd_diff"][1:]
    assert (iou, pd, fa) == pytest.approx((0.7409, 0.9908, 1.46e-6))


def test_what_nobody_reports():
    assert literature.figures("realtime", "nuaa_sirst") == []
    assert literature.figures("acm", "synthetic") == []
    assert [f.source for f in literature.figures("cimd", "irstd1k")] == ["irstd_diff"]


def test_protocols_differ_where_they_do():
    assert literature.differences("basic_irstd", "nuaa_sirst", "50_50", 0) == []
    told = literature.differences("irstd_diff", "nuaa_sirst", "50_50", 0)
    assert told == ["split idx_427", "256 px", "best on test"]
    told = literature.differences("basic_irstd", "nudt_sirst", "random_80_20", 256)
    assert told == ["split 50_50", "native size"]
