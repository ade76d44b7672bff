"""The command line: `windlass …`, and the supervisor that keeps the local platform alive.

May use everything. One module per group of commands; ``render`` alone knows the terminal library. What belongs
to a program that uses Windlass without a terminal belongs into the SDK, not here.
"""
