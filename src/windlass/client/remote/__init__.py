"""The way to a platform on another machine: where it is, how it is reached, and a stream that outlives connections.

Only the standard library, and of it what every system has: laptops run this.
"""
