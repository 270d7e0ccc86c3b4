"""What all figures share."""

# Colours that differ in lightness too, for colour-blind readers and grey prints (after Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D", "#B8A000")
# Two more, for ten classes.
CLASS_COLOURS = (*COLOURS, "#6A3D9A", "#8C4A2F")
SOFT = "#666666"


def plain(axes):
    """Removes the frame and adds a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
