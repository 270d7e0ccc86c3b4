"""The results as a picture."""

from kmodels.bench.summary import OURS, median, ratios, reference_of
from kmodels.plots.bench import Bar, Panel, bench_bars


def chart(results):
    """A Figure of the images/s of every contender, a panel for each model and batch size.

    Args:
        results: what `kmodels bench` writes as JSON.

    Returns:
        The Figure; None where nothing was measured.
    """
    rows = [row for row in results["sections"].get("throughput", ()) if reference_of(row["contenders"])]
    if not rows:
        return None
    settings, side = results["settings"], results["settings"]["image_size"]
    title = (
        f"Training on {results['environment']['device']}: {side}x{side} pixels, {settings['precision']}, "
        f"{settings['optimizer']}; median of {settings['repeats']} rounds, least to most"
    )
    return bench_bars([_panel(row) for row in rows], title)


def _panel(row):
    contenders, bars = row["contenders"], []
    reference = reference_of(contenders)
    measured = {name: one["images_per_second"] for name, one in contenders.items() if one["images_per_second"]}
    # It trains nothing, and as a bar it would make all others short.
    alone = measured.pop("input", None)
    for name, rates in measured.items():
        compared = median(ratios(contenders[reference], contenders[name]))
        note = "" if name == reference else f"{reference} / it {compared:.2f}"
        kind = "ours" if name in OURS else "backend" if name.startswith("keras-") else "other"
        bars.append(Bar(name, min(rates), median(rates), max(rates), note, kind))
    note = f" (our input pipeline alone: {median(alone):,.0f})" if alone else ""
    return Panel(f"{row['model']}, batch {row['batch_size']}", f"images/s{note}", bars)
