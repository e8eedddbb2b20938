"""A program that asks its database once a second, as long as it is left alone. It knows nothing of tracing."""

import os
import sqlite3
import time


def ask_the_database():
    connection = sqlite3.connect(":memory:")
    connection.cursor().execute("select 1").fetchall()
    connection.close()


def work_for_a_moment():
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        sum(range(1000))


print("started with", os.environ.get("PYTHONPATH"), flush=True)
while True:
    ask_the_database()
    work_for_a_moment()
    time.sleep(0.8)
