"""A gate worker of a race: asks with one key as fast as it can, from many tasks, and tells what was let in.

Reads a JSON line from stdin, prints `ready`, waits for another line, races, prints a JSON line.
"""

import asyncio
import json
import random
import sys
import time

from polyfleet.database import open_database
from polyfleet.gate.keys import Door, Estimate, Used
from polyfleet.gate.pool.refused import Refused


async def race(ask):
    door, chance = Door(open_database(ask["url"])), random.Random(ask["seed"])
    await door.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    until = time.monotonic() + ask["seconds"]
    told = {"used_nano": 0, "admitted": 0, "refused": {}, "at": []}

    async def client():
        left = ask.get("refusals", 10**9)
        while time.monotonic() < until and left:
            most = chance.uniform(0.001, ask["most_usd"])
            try:
                leave = await door.admit(ask["key"], "m", Estimate(10, ask.get("output", 10), most))
            except Refused as no:
                told["refused"][no.code] = told["refused"].get(no.code, 0) + 1
                left -= no.code == ask.get("until", no.code)
                await asyncio.sleep(0.01)
                continue
            told["admitted"] += 1
            told["at"].append(time.clock_gettime(time.CLOCK_MONOTONIC))
            await asyncio.sleep(chance.uniform(0, ask.get("lasts_s", 0.02)))
            usd = most if chance.random() < 0.3 else chance.uniform(0, most)
            told["used_nano"] += round(usd * 1e9)
            door.settle(leave, Used(leave.key, "r", "m", "local", 10, ask.get("output", 10), usd, "id", 200))

    await asyncio.gather(*(client() for _ in range(ask["clients"])))
    await door.close()
    print(json.dumps(told), flush=True)


asyncio.run(race(json.loads(sys.stdin.readline())))
