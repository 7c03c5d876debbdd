"""In place of SkyPilot's process: the same lines there and back. `say` answers, `die` ends, `hang` does not answer."""

from __future__ import annotations

import json
import os
import sys
import threading
import time


def main() -> None:
    if os.environ.get("TOY_HAS_NO_SKY"):
        print(json.dumps({"error": {"kind": "ImportError", "message": "No module named 'sky'"}}), flush=True)
        return
    print(json.dumps({"ok": "toy"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        threading.Thread(target=answer, args=(asked,), daemon=True).start()


def answer(asked: dict[str, object]) -> None:
    told = asked["with"]
    assert isinstance(told, dict)
    if asked["call"] == "die":
        os._exit(3)
    if asked["call"] == "hang":
        return
    if asked["call"] == "refuse":
        said = {
            "error": {"kind": "ResourcesUnavailableError", "message": "no", "history": [{"message": told["words"]}]}
        }
    elif asked["call"] == "secret":
        said = {
            "ok": [os.environ.get("POLYFLEET_SECRET_KEY"), os.environ.get("KEY"), os.environ.get("POLYFLEET_STATE")]
        }
    else:
        time.sleep(told.get("after_s", 0))
        said = {"ok": told.get("word")}
    print("not an answer\n" + json.dumps({"id": asked["id"], **said}), flush=True)


if __name__ == "__main__":
    main()
