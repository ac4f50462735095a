"""What the rig's sound cards wrote down: FILE.s16 and FILE.idx of each player, and the series that its skew.py makes of them."""
import csv, re
import numpy as np

RATE = 48000
LOUD = 30  # of 32768, as in skew.py
# The noise is never silent for so long.
BLOCK_NS = 5_000_000


def runs(base):
    """(first_ns, frames a second, samples) of each time the card ran, and the instants at which it ran dry."""
    samples, found, dry_ns = np.fromfile(base + ".s16", "<i2"), [], []
    for what, at, *words in map(str.split, open(base + ".idx")):
        if what == "start":
            found.append((int(at), float(words[0]), samples[int(words[1]) :]))
        elif found:
            # What was handed over and never sounded is left out.
            found[-1] = (*found[-1][:2], found[-1][2][: int(words[0])])
            if words[2] == "xrun":
                dry_ns.append(int(at))
    return found, dry_ns


def sounding(found):
    """The stretches (from_ns, to_ns) in which something sounded, in blocks of 5 ms."""
    stretches = []
    for at, rate, samples in found:
        block = round(rate * BLOCK_NS / 1e9)
        whole = len(samples) // block
        loud = np.abs(samples[: whole * block].astype(np.int32)).reshape(whole, block).max(axis=1, initial=0) > LOUD
        edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]])))
        for begin, end in edges.reshape(-1, 2):
            stretches.append((at + int(begin * block * 1e9 / rate), at + int(end * block * 1e9 / rate)))
    return stretches


def longest_gap_ms(stretches, from_ns, to_ns):
    """The longest time without sound between two instants; what a block of 5 ms hides counts as none."""
    heard = [(max(a, from_ns), min(b, to_ns)) for a, b in stretches if b > from_ns and a < to_ns]
    ends = [from_ns, *(b for _, b in heard)]
    starts = [*(a for a, _ in heard), to_ns]
    gap_ms = max((start - end) / 1e6 for start, end in zip(starts, ends))
    return gap_ms if gap_ms > 2 * BLOCK_NS / 1e6 else 0.0


def series(file):
    """Each window of skew.py: its middle, ns, and by pair the skew in µs, where the two played the same."""
    with open(file) as lines:
        rows = list(csv.reader(lines))
    return [(int(row[0]), {pair: float(cell) for pair, cell in zip(rows[0][2:], row[2:]) if cell}) for row in rows[1:]]


def figures(values):
    if not len(values):
        return None
    sizes = np.abs(values)
    return {"median_us": float(np.median(sizes)), "p99_us": float(np.percentile(sizes, 99)), "max_us": float(sizes.max())}


def spreads(windows, pairs):
    """(instant, the worst pair's skew) of each window in which all played the same; None where they did not."""
    return [(at, max(map(abs, found.values())) if len(found) == pairs else None) for at, found in windows]


def events(folder):
    """(instant, what, player) of all that rig.py did so far."""
    try:
        lines = open(f"{folder}/events.txt").read().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [(int(at), what, int(player)) for at, what, player in map(str.split, lines)]


def back_within_100_us(told, what):
    """After how many seconds the player was within 0.1 ms of the others for good, as skew.py tells it; None: never."""
    for line in told.split("\n"):
        found = re.match(rf"{what} of p3: .* 0\.1 ms of the others for good after: (?:([\d.]+) s|(at once)|never)", line)
        if found:
            return float(found[1]) if found[1] else 0.0 if found[2] else None
    return None


def place_song(raw, folder):
    """Writes the song itself down as a player p0 who hears it about where p1 does, and exactly evenly, for skew.py to compare with."""
    song = np.fromfile(raw, "<i2")[::2]
    found, _ = runs(f"{folder}/p1")
    at, rate, samples = max(found, key=lambda run: len(run[2]))
    middle = len(samples) // 2
    piece = samples[middle : middle + RATE].astype(np.float32)
    size = 1 << int(len(song) + len(piece)).bit_length()
    match = np.fft.irfft(np.fft.rfft(song.astype(np.float32), size) * np.conj(np.fft.rfft(piece, size)), size)
    frame = int(np.argmax(match[: len(song)]))
    start_ns = at + int(middle * 1e9 / rate - frame * 1e9 / RATE)
    song.tofile(f"{folder}/p0.s16")
    with open(f"{folder}/p0.idx", "w") as index:
        index.write(f"start {start_ns} {RATE} 0\n")


def phase_changes(windows, at_ns):
    """By player: how far its place in the song moved after an instant, of what it was in the five seconds before: at most, and at
    the end; µs."""
    changes = {}
    for pair in sorted({pair for _, found in windows for pair in found if pair.startswith("p0-")}):
        phase = [(at, found[pair]) for at, found in windows if pair in found]
        before = [us for at, us in phase if at_ns - 5e9 <= at <= at_ns - 0.2e9]
        after = [us - np.median(before) for at, us in phase if at > at_ns] if before else []
        if after:
            changes[pair[3:]] = {"max_us": float(np.max(np.abs(after))), "last_us": float(np.median(after[-40:]))}
    return changes
