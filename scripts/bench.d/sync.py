"""sync.py --rig DIR --bin DIR [--rows steady,late,…] [--secs S] [--runs N] [--out DIR]: how far apart three players sound, of Jam and
of Snapcast in turn, as a Markdown table.

The players play on ALSA's default device, which the rig makes a sound card in software that records what it gets and when it
sounded. The rig (rig.py, skew.py, make-signal.py) is not part of this repository; --rig is its folder. A figure is of the worst
pair in each quarter of a second. --out gets figures.json, a plot of each row, and what each run left.
Needs: gcc, libasound2-dev, snapserver, snapclient, a python3 with numpy to run it, and release builds of jamd and jam in --bin.
"""
import argparse, dataclasses, json, os, shutil, signal, statistics, subprocess, sys, tempfile, time

from players import Jam, Snapcast, quiet, stop
import heard
import skewplot

EVENT_SECS = 20
PAUSED_SECS = 2
# From then on a player that was stopped is judged like the others; how soon it is back is a figure of its own.
AFTER_PAUSE_SECS = 3
RESTART_SECS = 3
WINDOW_SECS, HOP_SECS = 0.25, 0.125
HANDLED = (signal.SIGINT, signal.SIGTERM)


@dataclasses.dataclass
class Row:
    title: str
    # What comes earlier, counted from when all players are heard, is not judged.
    settle_secs: float = 10
    # What happens at EVENT_SECS.
    mark: str = ""
    ppm: str = "0"
    delays: str = "0,0.4,0.8"
    signals: tuple = ()
    # What happens to the servers: after how many seconds, and what.
    steps: tuple = ()
    is_long: bool = False
    poor_path: bool = False
    loops: int = 0


ROWS = {
    "steady": Row("steady", is_long=True),
    "late": Row("one joins late", settle_secs=3, mark="the third starts", delays=f"0,0.4,{EVENT_SECS}"),
    "pause": Row("one stopped for 2 s", mark="SIGSTOP for 2 s", signals=(f"{EVENT_SECS}:STOP:3", f"{EVENT_SECS + PAUSED_SECS}:CONT:3")),
    "failover": Row("kill -9 of the leader", mark="kill -9", steps=((EVENT_SECS, "kill_one"), (EVENT_SECS, "mend"))),
    "restart": Row("kill -9 of all servers", mark="kill -9", steps=((EVENT_SECS, "kill_all"), (EVENT_SECS + RESTART_SECS, "mend"))),
    "ppm": Row("clocks +80, −80, 0 ppm", settle_secs=20, ppm="80,-80,0", is_long=True),
    "jitter": Row("20 ± 10 ms, 1 % stalls", settle_secs=40, poor_path=True),
    "load": Row("beside 3 busy loops", loops=3),
}


def measure(row, system, secs, options, work):
    """Plays one row to one system, in `work`; what rig.py told, and what happened to the servers when."""
    rig, loops = None, []
    try:
        command = system.serve(row.poor_path)
        for _ in range(row.loops):
            loops.append(quiet(["sh", "-c", "while :; do :; done"]))
        flags = ["--secs", str(secs), "--ppm", row.ppm, "--delay", row.delays, "--skip", "0", "--out", work]
        for event in row.signals:
            flags += ["--event", event]
        with open(f"{work}/rig.txt", "w") as told:
            rig = quiet([sys.executable, f"{options.rig}/rig.py", *flags, *[command] * 3], told)
        happened = perform(row, system, rig, work)
    except BaseException:
        # It stops its players on Ctrl-C alone.
        if rig is not None:
            rig.send_signal(signal.SIGINT)
        raise
    finally:
        for loop in loops:
            stop(loop)
        if rig is not None:
            rig.wait()
        system.close()
    return open(f"{work}/rig.txt").read(), happened


def perform(row, system, rig, work):
    def until(ready):
        while rig.poll() is None and not ready():
            time.sleep(0.01)
    until(lambda: heard.events(work))
    if rig.poll() is not None:
        raise SystemExit(f"sync: the rig failed: {open(f'{work}/rig.txt').read()}")
    begun_ns, happened = heard.events(work)[0][0], []
    for at_secs, what in row.steps:
        late_secs = system.mended_after_secs if what == "mend" and row.steps[0][1] == "kill_one" else 0
        until(lambda: time.monotonic_ns() >= begun_ns + (at_secs + late_secs) * 1e9)
        getattr(system, what)()
        happened.append((time.monotonic_ns(), what))
    until(lambda: heard.events(work)[-1][1] == "END")
    return happened


def judge(row, system, work, told, happened, options):
    """The figures of one run, and its curve: (seconds from the start, µs or None)."""
    events = heard.events(work)
    windows = heard.series(f"{work}/series.csv") if os.path.exists(f"{work}/series.csv") else []
    spreads = heard.spreads(windows, 3)
    if not any(us is not None for _, us in spreads):
        return {"told": told}, []
    begun_ns, end_ns = events[0][0], events[-1][0]
    heard_ns = spreads[0][0] - WINDOW_SECS / 2 * 1e9
    from_ns = heard_ns + row.settle_secs * 1e9
    signals = {what: at for at, what, _ in events}
    half_ns = WINDOW_SECS / 2 * 1e9
    out_ns, in_ns = (signals["STOP"], signals["CONT"] + AFTER_PAUSE_SECS * 1e9) if row.signals else (0, 0)
    judged = [(at, found) for at, found in windows if at - half_ns >= from_ns and not out_ns - half_ns < at < in_ns + half_ns]
    worst = [us for _, us in heard.spreads(judged, 3)]
    together = [us for us in worst if us is not None]
    result = {
        "spread": heard.figures(together),
        "pairs": {pair: heard.figures([found[pair] for _, found in judged if pair in found]) for pair in ("p1-p2", "p1-p3", "p2-p3")},
        "apart_secs": (len(worst) - len(together)) * HOP_SECS,
        "players": [player(f"{work}/p{k}", from_ns, end_ns) for k in (1, 2, 3)],
        "counted": system.counted(),
        "told": told,
    }
    if row.signals:
        result["players"][2].pop("longest_gap_ms")
        result["back_within_100_us_secs"] = heard.back_within_100_us(told, "CONT")
    if row is ROWS["late"]:
        started_ns = next(at for at, what, k in events if (what, k) == ("START", 3))
        result["heard_after_secs"] = (result["players"][2]["heard_ns"] - started_ns) / 1e9
        first = [us for at, us in spreads if at + half_ns <= heard_ns + 1e9]
        result["first_second_max_us"] = None if None in first else max(first)
    if happened and system.keeps_place:
        result["phase"] = phase(work, happened[0][0], system.raw, options)
    return result, [((at - begun_ns) / 1e9, us) for at, us in spreads]


def player(base, from_ns, end_ns):
    found, dry_ns = heard.runs(base)
    stretches = heard.sounding(found)
    # In its last moments the players are being stopped.
    end_ns -= 2e8
    gap_ms = heard.longest_gap_ms(stretches, from_ns, end_ns)
    return {"heard_ns": stretches[0][0], "longest_gap_ms": gap_ms, "underruns": sum(from_ns <= at < end_ns for at in dry_ns)}


def phase(work, at_ns, raw, options):
    """How far each player's place in the song moved, of which the others know nothing if they moved as well."""
    heard.place_song(raw, work)
    command = [sys.executable, f"{options.rig}/skew.py", work, "--skip", "0", "--series", f"{work}/phase.csv"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return heard.phase_changes(heard.series(f"{work}/phase.csv"), at_ns)


def number(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def medians(results, *path):
    """The median of one figure over the runs, with the lowest and highest if there are more; and the median alone."""
    values = [result[path[0]] if len(path) == 1 else result[path[0]][path[1]] for result in results if result.get(path[0]) is not None]
    if not values:
        return "—", None
    median = statistics.median(values)
    ranged = f" [{number(min(values))}–{number(max(values))}]" if len(values) > 1 else ""
    return number(median) + ranged, median


def remarks(results):
    """What else is to be said of a row's runs of one system: the worst of them."""
    silent = sum("spread" not in result for result in results)
    if silent:
        yield f"nothing heard together in {silent} of {len(results)} runs"
    results = [result for result in results if "spread" in result]
    if any("heard_after_secs" in result for result in results):
        yield f"heard after {max(result['heard_after_secs'] for result in results):.2f} s"
        first = [result["first_second_max_us"] for result in results]
        yield "not in step in the first second" if None in first else f"first second ≤ {number(max(first))} µs"
    if any("back_within_100_us_secs" in result for result in results):
        back = [result["back_within_100_us_secs"] for result in results]
        yield "not back within 0.1 ms" if None in back else f"back within 0.1 ms in {max(back):.2f} s"
    moved = [change["max_us"] for result in results for change in result.get("phase", {}).values()]
    if moved:
        yield f"phase change ≤ {number(max(moved))} µs"
    # Whoever is stopped runs dry.
    dry = sum(player["underruns"] for result in results for player in result["players"] if "longest_gap_ms" in player)
    if dry:
        yield f"{dry} underruns"
    gap_ms = max((player.get("longest_gap_ms", 0) for result in results for player in result["players"]), default=0)
    yield f"longest gap {number(gap_ms)} ms" if gap_ms else "no gap"
    apart = max((result["apart_secs"] for result in results), default=0)
    if apart:
        yield f"not together for {number(apart)} s"


def table(figures, secs):
    yield "| row | Jam: median / p99 / max, µs | Snapcast: median / p99 / max, µs | p99: Snapcast / Jam | Jam besides | Snapcast besides |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, by_system in figures.items():
        cells, p99, notes = [], {}, []
        for system, results in by_system.items():
            spreads = [result["spread"] for result in results if "spread" in result]
            median, (p99_words, p99[system]), most = (medians(spreads, f"{what}_us") for what in ("median", "p99", "max"))
            cells.append(f"{median[0]} / {p99_words} / {most[0]}")
            notes.append("; ".join(remarks(results)))
        ratio = number(p99["snapcast"] / p99["jam"]) if p99["jam"] and p99["snapcast"] else ""
        title = f"{ROWS[name].title}: {secs[name]} s, after {ROWS[name].settle_secs:g} s"
        yield f"| {title} | {cells[0]} | {cells[1]} | {ratio} | {notes[0]} | {notes[1]} |"


def keep(work, system, out):
    """What a run left, but for the sound."""
    os.makedirs(out, exist_ok=True)
    for name in os.listdir(work):
        if name.endswith((".txt", ".log", ".csv")):
            shutil.copy(f"{work}/{name}", out)
    for trace in system.left_over():
        shutil.copy(trace, out)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rig", required=True, help="the rig's folder")
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--rows", default=",".join(ROWS), help="of " + ", ".join(ROWS))
    parser.add_argument("--secs", type=int, default=300, help="how long the steady rows last, of which ppm is one (300)")
    parser.add_argument("--brief-secs", type=int, default=90, help="how long the others last, from 40 on (90)")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--out", default="target/bench/sync")
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    if set(options.rows) - set(ROWS):
        parser.error(f"--rows: of {', '.join(ROWS)}")
    if options.brief_secs < 40 or options.secs < 40:
        parser.error("a row lasts 40 s at least")
    for folder, file in ((options.rig, "rig.py"), (options.bin, "jamd")):
        if not os.path.exists(f"{folder}/{file}"):
            parser.error(f"there is no {file} in {folder}")
    return options


def leave(number, _frame):
    for handled in HANDLED:
        signal.signal(handled, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main():
    options = arguments()
    for handled in HANDLED:
        signal.signal(handled, leave)
    secs = {name: options.secs if ROWS[name].is_long else options.brief_secs for name in options.rows}
    figures, curves = {name: {"jam": [], "snapcast": []} for name in options.rows}, {}
    # The cards write in the players' own sound threads: into memory, where there is such a folder.
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="sync-") as folder, tempfile.TemporaryDirectory(prefix="sync-", dir=memory) as cards:
        os.environ["TMPDIR"] = folder
        raw = f"{folder}/song.raw"
        subprocess.run([sys.executable, f"{options.rig}/make-signal.py", raw, str(max(secs.values()) + 60)], check=True)
        systems = {}
        for name, system in (("jam", Jam), ("snapcast", Snapcast)):
            os.mkdir(f"{folder}/{name}")
            systems[name] = system(options, f"{folder}/{name}", raw)
        for run in range(options.runs):
            for name in options.rows:
                for system in systems:
                    work = f"{cards}/{name}-{system}-{run + 1}"
                    os.mkdir(work)
                    told, happened = measure(ROWS[name], systems[system], secs[name], options, work)
                    result, curve = judge(ROWS[name], systems[system], work, told, happened, options)
                    figures[name][system].append(result)
                    curves.setdefault(name, {}).setdefault(system, curve)
                    keep(work, systems[system], f"{options.out}/{name}-{system}-{run + 1}")
                    shutil.rmtree(work)
                    print(name, system, run + 1, result.get("spread"), *remarks([result]), file=sys.stderr, sep="; ", flush=True)
    os.makedirs(options.out, exist_ok=True)
    with open(f"{options.out}/figures.json", "w") as file:
        json.dump(figures, file, indent=1)
    for name, by_system in curves.items():
        with open(f"{options.out}/{name}.svg", "w") as file:
            file.write(skewplot.plot(ROWS[name].title, by_system, EVENT_SECS, ROWS[name].mark))
    print("\n".join(table(figures, secs)))


main()
