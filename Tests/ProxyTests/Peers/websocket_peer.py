"""WebSocket by the websockets library. `websocket_peer.py serve` prints its port and echoes; `websocket_peer.py call PORT` talks to it."""
import asyncio
import sys

import websockets


async def serve():
    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, "127.0.0.1", 0, max_size=1 << 24) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


async def call(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/chat", max_size=1 << 24, proxy=None) as connection:
        for message in ("hello", "ü" * 1000, bytes(3_000_000), ""):
            await connection.send(message)
            assert await connection.recv() == message
        await connection.ping()


asyncio.run(serve() if sys.argv[1] == "serve" else call(int(sys.argv[2])))
