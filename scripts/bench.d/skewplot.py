"""A plot of how far apart the players were, as an SVG that can be read on white and on black."""
import math

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 750, 40, 310
INK = "#808080"
COLOURS = {"jam": "#2f81f7", "snapcast": "#e8710a"}
NAMES = {"jam": "Jam", "snapcast": "Snapcast"}
# No window is as exact, and a logarithm needs a floor.
LOWEST_US = 0.1


def words(x, y, text, anchor="middle", colour=INK, turn=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}"{turn}>{text}</text>'


def line(x1, y1, x2, y2, style):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}" {style}/>'


def size(us):
    return f"{us:g} µs" if us < 1000 else f"{us / 1000:g} ms"


def step(secs):
    return next(step for step in (5, 10, 20, 30, 60, 120, 300) if secs / step <= 10 or step == 300)


def strokes(curve):
    """The curve's points, in pieces: it is broken where the players did not play the same."""
    pieces = [[]]
    for secs, us in curve:
        if us is None:
            pieces.append([])
        else:
            pieces[-1].append((secs, max(us, LOWEST_US)))
    return [piece for piece in pieces if piece]


def plot(title, curves, mark_secs, mark):
    """`curves`: by system, (seconds, µs or None); `mark`: what happened then, if anything."""
    drawn = {system: strokes(curve) for system, curve in curves.items()}
    points = [point for pieces in drawn.values() for piece in pieces for point in piece] or [(1, 1)]
    low, high = (rounding(math.log10(pick(us for _, us in points))) for rounding, pick in ((math.floor, min), (math.ceil, max)))
    high, last = max(high, low + 1), max(secs for secs, _ in points)

    def x(secs):
        return LEFT + (RIGHT - LEFT) * secs / last

    def y(us):
        return BOTTOM - (BOTTOM - TOP) * (math.log10(us) - low) / (high - low)

    parts = [f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" '
             'font-family="sans-serif" font-size="12">', words(LEFT, 22, title, "start")]
    for power in range(low, high + 1):
        height = y(10**power)
        parts += [line(LEFT, height, RIGHT, height, 'opacity="0.3"'), words(LEFT - 6, height + 4, size(10.0**power), "end")]
    for secs in range(0, int(last) + 1, step(last)):
        parts += [line(x(secs), BOTTOM, x(secs), BOTTOM + 5, ""), words(x(secs), BOTTOM + 18, secs)]
    if mark:
        place = x(mark_secs)
        parts += [line(place, TOP, place, BOTTOM, 'stroke-dasharray="4 4"'), words(place + 4, BOTTOM - 6, mark, "start")]
    middle = (TOP + BOTTOM) / 2
    parts += [words((LEFT + RIGHT) / 2, HEIGHT - 10, "seconds from the start"),
              words(14, middle, "worst pair of three players", turn=f' transform="rotate(-90 14 {middle:.0f})"')]
    for place, (system, pieces) in enumerate(drawn.items()):
        parts.append(words(RIGHT - 70 * (len(drawn) - 1 - place), 22, NAMES[system], "end", COLOURS[system]))
        for piece in pieces:
            # A piece of one window would not be seen.
            path = " ".join(f"{x(secs):.1f},{y(us):.1f}" for secs, us in (piece if len(piece) > 1 else piece * 2))
            parts.append(f'<polyline fill="none" stroke="{COLOURS[system]}" stroke-width="1.5" stroke-linecap="round" points="{path}"/>')
    return "\n".join([*parts, "</svg>", ""])
