"""The chart shows what was measured."""

from kmodels.bench.chart import chart


def result(*rates):
    return {"images_per_second": list(rates), "error": None if rates else "failed"}


def test_contenders_are_bars_and_the_input_a_note():
    contenders = {"ours": result(90, 100, 120), "jax": result(200, 210, 260), "torch": result(), "input": result(9e5)}
    results = {
        "environment": {"device": "cpu (2 cores)"},
        "settings": {"image_size": 32, "precision": "float32", "optimizer": "adam", "repeats": 3},
        "sections": {"throughput": [{"model": "model4", "batch_size": 128, "contenders": contenders}]},
    }
    (axes,) = chart(results).axes
    assert [text.get_text() for text in axes.texts] == ["100", "210   ours / it 0.46"]
    assert axes.get_title() == "model4, batch 128"
    assert axes.get_xlabel() == "images a second (our input pipeline alone: 900,000)"


def test_without_a_measurement_there_is_no_chart():
    row = {"model": "model4", "batch_size": 128, "contenders": {"torch": result()}}
    assert chart({"sections": {"throughput": [row]}}) is None
    assert chart({"sections": {"startup": []}}) is None
