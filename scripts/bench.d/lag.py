"""lag.py FROM=TO … [--delay-ms MS] [--jitter-ms MS] [--stalls SHARE] [--stall-ms MS]: connections to port FROM of 127.0.0.1 are carried
to port TO over a poor path.

Each piece of data, in each direction, takes --delay-ms ± --jitter-ms, evenly drawn; so great a share of the pieces takes --stall-ms
more, as long as TCP waits at least before it sends again what was lost. Order is kept, so what follows a late piece is late too.
"""
import argparse, asyncio, random, signal

PIECE_BYTES = 16384
# What the path holds of one connection in one direction before it takes no more.
PIECES_MAX = 256


async def take(reader, pieces, options):
    loop, due = asyncio.get_running_loop(), 0.0
    while True:
        piece = await reader.read(PIECE_BYTES)
        delay_ms = random.uniform(options.delay_ms - options.jitter_ms, options.delay_ms + options.jitter_ms)
        if random.random() < options.stalls:
            delay_ms += options.stall_ms
        due = max(due, loop.time() + delay_ms / 1000)
        await pieces.put((due, piece))
        if not piece:
            return


async def give(pieces, writer):
    loop = asyncio.get_running_loop()
    while True:
        due, piece = await pieces.get()
        await asyncio.sleep(max(0.0, due - loop.time()))
        if not piece:
            return writer.write_eof()
        writer.write(piece)
        await writer.drain()


async def carry(near, target, options):
    try:
        far = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        return near[1].close()
    lanes = []
    for (reader, _), (_, writer) in ((near, far), (far, near)):
        pieces = asyncio.Queue(PIECES_MAX)
        lanes += [asyncio.create_task(take(reader, pieces, options)), asyncio.create_task(give(pieces, writer))]
    try:
        await asyncio.gather(*lanes)
    except OSError:
        pass  # an end has reset its connection
    finally:
        for lane in lanes:
            lane.cancel()
        for _, writer in (near, far):
            writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="+", metavar="FROM=TO")
    parser.add_argument("--delay-ms", type=float, default=20)
    parser.add_argument("--jitter-ms", type=float, default=10)
    parser.add_argument("--stalls", type=float, default=0.01)
    parser.add_argument("--stall-ms", type=float, default=200)
    options = parser.parse_args()
    random.seed(1)
    for way in options.ways:
        port, target = map(int, way.split("="))
        await asyncio.start_server(lambda reader, writer, target=target: carry((reader, writer), target, options), "127.0.0.1", port)
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await end.wait()


asyncio.run(main())
