"""ingest.py --peers DIR --bin DIR [--runs N] [--secs S] [--clients N,…]: writes beside a cluster that takes songs in and renders them,
against writes to the same cluster at rest; and how soon a node has a song again that its disk lost.

Prints a Markdown table. DIR is the harness's folder. The songs are three minutes of noise each, as WAV, made on the spot. Needs
release builds of jamd, jam and jam-chaos in --bin.
"""
import argparse, os, random, statistics, subprocess, sys, threading, time, urllib.request, wave

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--peers", required=True)
parser.add_argument("--bin", required=True)
parser.add_argument("--runs", type=int, default=3)
parser.add_argument("--secs", type=float, default=10)
parser.add_argument("--clients", default="1,16,64")
parser.add_argument("--dir", help="parent of the scratch folder")
options = parser.parse_args()
sys.path.insert(0, options.peers)
from common import Target, run_loader

RATE, SONG_SECS = 44_100, 180


def make_song(path, seed):
    with wave.open(path, "wb") as song:
        song.setparams((2, 2, RATE, 0, "NONE", ""))
        song.writeframes(random.Random(seed).randbytes(RATE * SONG_SECS * 4))


class Adding:
    """Adds one new song after the other for as long as it lives."""

    def __init__(self, jam):
        self.command = [jam.fill(word) for word in ("{bin}/jam", "--servers", "{servers}", "--state-dir", "{dir}/host", "add", "{room}")]
        self.dir, self.added, self.ends = jam.dir, 0, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ends:
            path = f"{self.dir}/song{self.added}.wav"
            make_song(path, time.monotonic_ns())
            subprocess.run([*self.command, path], stdout=subprocess.DEVNULL, check=True)
            os.unlink(path)
            self.added += 1

    def stop(self):
        self.ends = True
        self.thread.join()
        if not self.added:
            raise SystemExit("ingest: no song was taken in while writes were measured; see what jam says above, or take longer --secs")
        return self.added


def write(jam, clients):
    return run_loader(["grpc-unary", *jam.unary(), "--clients", clients, "--warmup", 1, "--secs", options.secs, "--salt", write.calls], jam.pids(), options.secs)


def metric(jam, node, name):
    page = urllib.request.urlopen(f"http://{jam.addrs[node]}/metrics").read().decode()
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(name + " "))


def repair_secs(jam):
    """From a song's file being gone to its being there again, whole; and its size."""
    node = (jam.leader() + 1) % 3
    def songs():
        return [os.path.join(folder, name) for folder, _, names in os.walk(f"{jam.dir}/n{node}/songs") for name in names]
    while not songs():
        time.sleep(0.1)  # it may be the one that is not in the majority
    song = max(songs(), key=os.path.getsize)
    size, before = os.path.getsize(song), metric(jam, node, "jam_songs_repaired_total")
    os.unlink(song)
    began = time.monotonic()
    while metric(jam, node, "jam_songs_repaired_total") == before:
        time.sleep(0.01)
    assert os.path.getsize(song) == size
    return time.monotonic() - began, size


def words(values):
    return f"{statistics.median(values):.3g} [{min(values):.3g}–{max(values):.3g}]"


jam = Target(f"{os.path.dirname(os.path.abspath(__file__))}/jam.json", {"bin": os.path.abspath(options.bin)})
figures, repairs, added = {}, [], 0
try:
    # The nodes have another working directory.
    jam.start(options.dir and os.path.abspath(options.dir))
    # Each loader's clients have numbers of their own, for which jam.json opens sessions.
    write.calls = 0
    for _ in range(options.runs):
        for clients in options.clients.split(","):
            for what in ("at rest", "taking songs in"):
                adding = Adding(jam) if what != "at rest" else None
                try:
                    run = write(jam, clients)
                finally:
                    added += adding.stop() if adding else 0
                figures.setdefault(clients, {}).setdefault(what, []).append(run)
                print(clients, what, run["ms"], run["cpu"], file=sys.stderr, flush=True)
    repairs = [repair_secs(jam) for _ in range(options.runs)]
finally:
    jam.close()
print("| clients | | at rest | while songs are taken in and rendered | ratio |\n| --- | --- | --- | --- | --- |")
for clients, by_state in figures.items():
    for name, pick in (("writes/s", lambda run: run["ops_s"]), ("p50, ms", lambda run: run["ms"]["p50"]), ("p99, ms", lambda run: run["ms"]["p99"])):
        rest, busy = ([pick(run) for run in by_state[what]] for what in ("at rest", "taking songs in"))
        print(f"| {clients} | {name} | {words(rest)} | {words(busy)} | {statistics.median(busy) / statistics.median(rest):.2f} |")
print(f"\n{added} songs of three minutes taken in meanwhile. A song of {repairs[0][1] / 1e6:.0f} MB whose file was gone was back after "
      f"{words([secs for secs, _ in repairs])} s, of which up to 5 s pass until it is noticed.")
