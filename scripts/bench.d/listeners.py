"""listeners.py --card PCM_RIG_C --bin DIR --song FILE: one listener of Jam, Snapcast and mpv each, on the same sound card.

How long a start takes until sound leaves the card, and what playing takes of the machine, as a Markdown table. The card is an
ALSA plugin that is not part of this repository: it records FILE.s16 and says in FILE.idx when which frame sounded; what it takes is
in all the figures. Jam and Snapcast play what somebody else plays already, on loopback; mpv, which shares nothing, the file.
Needs: gcc, libasound2-dev, ffmpeg, snapserver, snapclient, mpv, and release builds of jamd and jam in DIR.
"""
import argparse, array, glob, json, os, signal, socket, statistics, subprocess, tempfile, time

LOUD = 16  # of 32768
WARM = "jam-with-the-songs-in-its-cache"
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
ALSA_CONF = "/usr/share/alsa/alsa.conf"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def quiet(command, **options):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def serve_jam(options, folder):
    ports = [free_port() for _ in range(3)]
    peers = ",".join(f"{n + 1}=127.0.0.1:{port}" for n, port in enumerate(ports))
    nodes = [quiet([f"{options.bin}/jamd", "--id", str(n + 1), "--data", f"{folder}/node{n + 1}", "--listen", f"127.0.0.1:{port}",
                    "--peers", peers]) for n, port in enumerate(ports)]
    jam = [f"{options.bin}/jam", "--servers", ",".join(f"127.0.0.1:{port}" for port in ports), "--state-dir", f"{folder}/host"]

    def command(*words):
        done = subprocess.run([*jam, "--deadline", "30", "--json", *words], stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    room = command("create", "Bench")["room"]
    for _ in range(options.laps):
        command("add", room, options.song)
    command("play", room)
    # Each start finds an empty cache, or one that holds the songs already.
    return nodes, lambda turn, cache=None: [*jam, "--cache-dir", f"{folder}/cache{cache or turn}", "join", room, "--headless"]


def serve_snapcast(options, folder):
    port, fifo = free_port(), f"{folder}/fifo"
    with open(f"{folder}/conf", "w") as conf:
        conf.write(f"[server]\ndatadir = {folder}\n[http]\nenabled = false\n[tcp]\nenabled = false\n[stream]\nbind_to_address = 127.0.0.1\n"
                   f"port = {port}\nsource = pipe://{fifo}?name=default&sampleformat=48000:16:2&mode=create\ncodec = flac\n")
    server = quiet(["snapserver", "-c", f"{folder}/conf"])
    time.sleep(1)
    subprocess.run(["ffmpeg", "-loglevel", "error", "-nostdin", "-stream_loop", str(options.laps - 1), "-i", options.song, "-f", "s16le",
                    "-ar", "48000", "-ac", "2", f"{folder}/raw"], check=True)
    # The server reads at the rate of the music.
    source = quiet(["sh", "-c", 'exec cat "$0" > "$1"', f"{folder}/raw", fifo])
    return [source, server], lambda turn: ["snapclient", "-h", "127.0.0.1", "-p", str(port), "--hostID", f"bench{turn}", "--player", "alsa"]


def serve_mpv(options, folder):
    return [], lambda turn: ["mpv", "--no-config", "--no-video", "--ao=alsa", "--really-quiet", "--loop", options.song]


def start(command, card, folder):
    """A listener on a card of its own, and when it was started."""
    # In memory, where there is such a folder: the card writes in the listener's own sound thread.
    record = (f"/dev/shm/bench-listeners-{os.getpid()}" if os.path.isdir("/dev/shm") else f"{folder}/card")
    for end in (".s16", ".idx"):
        if os.path.exists(record + end):
            os.unlink(record + end)
    with open(f"{folder}/asound.conf", "w") as conf:
        conf.write(f'<{ALSA_CONF}>\npcm_type.rig {{ lib "{card}" }}\n'
                   f'pcm.!default {{ type rig file "{record}" ppm 30 gran 0 latency 0 hidden 0 }}\nctl.!default {{ type hw card 0 }}\n')
    begun_ns = time.monotonic_ns()
    return quiet(command, env=dict(os.environ, ALSA_CONFIG_PATH=f"{folder}/asound.conf")), begun_ns, record


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def recorded(record):
    frames = array.array("h")
    with open(record + ".s16", "rb") as file:
        sound = file.read()
    frames.frombytes(sound[: len(sound) // 2 * 2])
    return frames


def first_sound_ns(record):
    frames = recorded(record)
    loud = next(n for n, sample in enumerate(frames) if abs(sample) >= LOUD)
    starts = [line.split() for line in open(record + ".idx") if line.startswith("start")]
    _, at_ns, rate, base = [line for line in starts if int(line[3]) <= loud][-1][:4]
    return int(at_ns) + (loud - int(base)) * 1e9 / float(rate)


def cost(pid, secs):
    def ticks():
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
    before, begun = ticks(), time.monotonic()
    time.sleep(secs)
    spent = (ticks() - before) * TICK_MS / (time.monotonic() - begun)
    resident = next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS"))
    return spent / 10, resident / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card", required=True, help="the card's source, pcm_rig.c")
    parser.add_argument("--bin", default="target/release")
    parser.add_argument("--song", required=True)
    parser.add_argument("--laps", type=int, default=8, help="how often the song is queued (8)")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--secs", type=float, default=30, help="how long playing is measured (30)")
    options = parser.parse_args()
    servers, figures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        card = f"{folder}/libasound_module_pcm_rig.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-DPIC", "-o", card, options.card, "-lasound", "-lm"], check=True)
        try:
            commands = {}
            for name, serve in (("jam", serve_jam), ("snapcast", serve_snapcast), ("mpv", serve_mpv)):
                os.mkdir(f"{folder}/{name}")
                started, commands[name] = serve(options, f"{folder}/{name}")
                servers += started
            os.mkdir(f"{folder}/{WARM}")
            commands[WARM] = lambda turn, join=commands["jam"]: join(turn, cache="warm")
            filling, _, _ = start(commands[WARM](0), card, f"{folder}/{WARM}")
            time.sleep(6)
            stop(filling)
            # In turn, so that whatever else the machine does meets all of them.
            for turn in range(options.starts):
                for name, command in commands.items():
                    process, begun_ns, record = start(command(turn), card, f"{folder}/{name}")
                    time.sleep(3)
                    stop(process)
                    figures.setdefault(name, []).append((first_sound_ns(record) - begun_ns) / 1e6)
            print("| | start to sound, ms: median | highest | CPU, % of a core | memory, MB |\n| --- | --- | --- | --- | --- |")
            for name, command in commands.items():
                process, _, record = start(command(options.starts), card, f"{folder}/{name}")
                time.sleep(6)
                cpu, memory = cost(process.pid, options.secs)
                stop(process)
                if max(map(abs, recorded(record)[-48000:])) < LOUD:
                    raise SystemExit(f"{name} fell silent while it was measured")
                starts = figures[name]
                print(f"| {name} | {statistics.median(starts):.0f} | {max(starts):.0f} | {cpu:.2f} | {memory:.1f} |", flush=True)
        finally:
            for server in servers:
                stop(server)
            for left in glob.glob(f"/dev/shm/bench-listeners-{os.getpid()}.*"):
                os.unlink(left)


main()
